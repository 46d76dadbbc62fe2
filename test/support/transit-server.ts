/** Guarantees what the tests ask of a transit engine, of the stand-in and of a real OpenBao alike. */

export interface TransitServer {
  /** Without a slash at the end. */
  readonly url: string;
  /** It may wrap and unwrap with every key, and nothing else. */
  readonly token: string;
  /** At the mount `transit`; `type` is aes256-gcm96 where none is given. */
  addKey(name: string, options?: { readonly type?: string; readonly derived?: boolean }): Promise<void>;
  /** Under the key, with other additional data than Writ's, or none. */
  encrypt(name: string, plaintext: Uint8Array, associatedData?: string): Promise<string>;
  seal(): Promise<void>;
  /** Nothing listens any more. */
  stop(): Promise<void>;
}
