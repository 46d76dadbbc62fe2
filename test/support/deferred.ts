/** A promise that the test itself settles: what waits for it waits as long as the test wants, without sleeping. */

export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: Error): void;
}

export function deferred<T = void>(): Deferred<T> {
  const settle: Partial<Deferred<T>> = {};
  const promise = new Promise<T>((resolve, reject) => Object.assign(settle, { resolve, reject }));
  return { promise, ...(settle as Pick<Deferred<T>, 'resolve' | 'reject'>) };
}

/** Everything that can go on without outside help has gone on. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
