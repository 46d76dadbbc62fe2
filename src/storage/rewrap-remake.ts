/** How a row that is under another master key is asked for, and how what it holds is made anew: types only. */

import type { ApprovalRequest } from '../use-cases/approvals/ports.ts';
import type { KeptProof } from '../use-cases/emergency/ports.ts';
import type { RowSeals } from '../use-cases/ports.ts';
import type { SealBinding, SealedValue } from '../use-cases/secrets/ports.ts';

/** How what a row holds is made anew. Undefined: it does not open, or does not fit. */
export interface Remake {
  readonly activeKekId: string;
  readonly seals: RowSeals;
  signingKey(row: {
    readonly kid: string;
    readonly wrappedPrivateKey: Uint8Array;
    readonly kekId: string;
  }): { readonly wrappedPrivateKey: Uint8Array; readonly kekId: string } | undefined;
  resumeProof(stop: KeptProof & { readonly id: string }): KeptProof | undefined;
  digest(approval: ApprovalRequest & { readonly requestDigest: string }): string | undefined;
  wrap(sealed: Pick<SealedValue, 'wrappedKey' | 'kekId'>, binding: SealBinding): Uint8Array | undefined;
  /** After a leak: values under new data keys. Undefined: data keys stay as they are. */
  readonly renew: ((sealed: SealedValue, binding: SealBinding) => SealedValue | undefined) | undefined;
}

/** A row that is under another key than the active one, as it is held or read. */
export interface FoundRow {
  readonly primaryKey: readonly string[];
  /** What is to be written, as a list of values; undefined: it is left. */
  readonly made: readonly unknown[] | undefined;
  readonly why: string;
}

export interface Asked {
  readonly after: readonly string[] | undefined;
  readonly limit: number;
  /** Undefined: they are read and not held. */
  readonly hold: 'skip locked' | 'wait' | undefined;
}
