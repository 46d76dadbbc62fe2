/**
 * What is asked of a key management service: to wrap the 32 bytes of a root key, which the database then keeps, and to
 * unwrap them at a start. What was wrapped opens only under the same key, and only as a root key of Writ.
 */

export const ROOT_KEY_BYTES = 32;

/** Names what is wrapped, for the service's own trail and for the conditions of its policies. Never to be changed. */
export const ROOT_KEY_CONTEXT = { application: 'writ', purpose: 'root-key' } as const;

export interface RootKeyKms {
  /** The key as the setting names it. */
  readonly keyName: string;
  /** `root` is 32 bytes. Rejects with `KmsError`. */
  wrap(root: Uint8Array): Promise<Uint8Array>;
  /** 32 bytes. Rejects with `KmsError`. */
  unwrap(wrapped: Uint8Array): Promise<Uint8Array>;
}

/**
 * `'other-key'`: what is to be unwrapped was not wrapped by this key, or was changed. `'failed'`: all else.
 * It holds one sentence for the operator, and nothing of what the service said: that may quote what it was sent.
 */
export class KmsError extends Error {
  override readonly name = 'KmsError';
  readonly kind: 'other-key' | 'failed';
  /** What does not work, and what to do. */
  readonly sentence: string;

  constructor(kind: 'other-key' | 'failed', sentence: string) {
    super(sentence);
    this.kind = kind;
    this.sentence = sentence;
  }
}

export const otherKey = (keyName: string): KmsError =>
  new KmsError('other-key', `${keyName} does not open the root key that the database keeps.`);

/** Throws `KmsError` for an answer that is no root key. */
export function requireRootKey(root: Uint8Array | undefined, keyName: string): Uint8Array {
  if (root?.length === ROOT_KEY_BYTES) return root;
  throw new KmsError('other-key', `${keyName} opens what is wrapped, and it is no root key of Writ.`);
}
