/**
 * A gate in front of costly work: so many at once, so many waiting, so many waiting per origin; the preferred
 * wait in front of the others. bcrypt behind it cannot starve the process, whoever sends keys.
 */

export interface BoundedWork {
  /** Resolves with the work's result, or to `'busy'` at once when there is no room to wait. */
  run<T>(task: { origin: string; preferred: boolean; work: () => Promise<T> }): Promise<T | 'busy'>;
}

interface Waiting {
  readonly origin: string;
  readonly preferred: boolean;
  readonly start: () => void;
  readonly giveUp: () => void;
}

export function createBoundedWork(limits: {
  atOnce: number;
  waiting: number;
  waitingPerOrigin: number;
}): BoundedWork {
  const queue: Waiting[] = [];
  let running = 0;

  const enter = (task: { origin: string; preferred: boolean }): Promise<boolean> => {
    if (running < limits.atOnce) {
      running += 1;
      return Promise.resolve(true);
    }
    if (queue.filter((entry) => entry.origin === task.origin).length >= limits.waitingPerOrigin) {
      return Promise.resolve(false);
    }
    if (queue.length >= limits.waiting && !makeRoom(task.preferred)) return Promise.resolve(false);
    return new Promise((resolve) => {
      const entry = { ...task, start: () => resolve(true), giveUp: () => resolve(false) };
      const behind = task.preferred ? queue.findIndex((other) => !other.preferred) : -1;
      if (behind === -1) queue.push(entry);
      else queue.splice(behind, 0, entry);
    });
  };

  /** The preferred are not turned away for the sake of others: the last of those gives up its place. */
  const makeRoom = (preferred: boolean): boolean => {
    const last = queue.at(-1);
    if (!preferred || last === undefined || last.preferred) return false;
    queue.pop();
    last.giveUp();
    return true;
  };

  const leave = (): void => {
    const next = queue.shift();
    if (next === undefined) running -= 1;
    else next.start();
  };

  return {
    run: async (task) => {
      if (!(await enter(task))) return 'busy';
      try {
        return await task.work();
      } finally {
        leave();
      }
    },
  };
}
