/** What the use cases of signing keys ask of the outside: types only. */

import type { KeyInRotation } from '../../domain/signing-keys/key-rotation.ts';
import type { SigningKeyState } from '../../domain/signing-keys/signing-key-state.ts';
import type { AuditEvent } from '../audit/ports.ts';
import type { Notice } from '../notices/ports.ts';

/** A key pair, its private half wrapped. */
export interface NewSigningKey {
  /** RFC 7638 thumbprint. */
  readonly kid: string;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly wrappedPrivateKey: Uint8Array;
  readonly kekId: string;
}

/** What is written with a change: its event, and what the webhook is told. */
export interface KeyChange {
  readonly event: AuditEvent;
  readonly notice: Notice | undefined;
}

/** As the list shows it. */
export interface SigningKeyEntry {
  readonly kid: string;
  readonly state: SigningKeyState;
  readonly createdAt: Date;
  /** When it took its state. */
  readonly since: Date;
  /** Why the row is not what Writ wrote; undefined for one that is, and for one that has ended. */
  readonly why: string | undefined;
}

/**
 * The row that says it is active, or the next one, is not what Writ wrote. Nothing goes on from it: another seal would
 * make it good.
 */
export type UnfitKey = 'unfit';

/**
 * Each change is one guarded write with its events, and judges the time by the database's clock. Of several processes
 * that attempt the same one makes it.
 */
export interface SigningKeyStore {
  list(): Promise<readonly SigningKeyEntry[]>;
  /**
   * What has not ended and is what Writ wrote; the rest is reported. The time is the database's. `foreignNext`: the kid
   * of a row that says it is next and is not what Writ wrote, where it stands in the way of a key of Writ.
   */
  readRotation(): Promise<{
    readonly keys: readonly KeyInRotation[];
    readonly foreignNext: string | undefined;
    readonly nowMs: number;
  }>;
  /**
   * Makes the next key. With `activeForDays`: only once the active one has signed for so long. Undefined: there is a next
   * one, or it has not; nothing was written.
   */
  addNext(
    key: NewSigningKey,
    write: KeyChange & { readonly activeForDays: number | undefined },
  ): Promise<{ readonly createdAt: Date } | undefined>;
  /** The next key signs, the active one retires. `unchanged`: it is not next, or its time has not come. */
  activate(
    kid: string,
    changeOf: (retiringKid: string | null) => KeyChange,
  ): Promise<{ readonly at: Date; readonly retiringKid: string | null } | 'unchanged' | UnfitKey>;
  /** It loses its private half. False: its time has not come, or it is not retiring. */
  retire(kid: string, change: KeyChange): Promise<boolean>;
  /**
   * That key ends, whatever its row is otherwise; undefined: the active and the next one, if the active one is still
   * `activeSeen`. Where none is active then, `fresh` is. Undefined: no live key is called so; nothing was written.
   */
  compromise(
    which: { readonly kid: string } | { readonly activeSeen: string | undefined },
    fresh: NewSigningKey,
    changesOf: (ended: CompromisedKeys) => readonly KeyChange[],
  ): Promise<CompromisedKeys | undefined>;
}

export interface CompromisedKeys {
  readonly ended: readonly { readonly kid: string; readonly was: SigningKeyState }[];
  /** Whether the fresh key signs now. */
  readonly isReplaced: boolean;
}
