/** What stopping and resuming ask of the outside: types only. */

import type { AuditEvent } from '../audit/ports.ts';
import type { Notice } from '../notices/ports.ts';

/** A stop that is in force. */
export interface EmergencyStop {
  readonly id: string;
  /** Null: everybody but administrators. */
  readonly agent: { readonly id: string; readonly name: string } | null;
  readonly reason: string;
  /** As in the audit trail: the id of a principal, or `system`. */
  readonly actorId: string;
  readonly stoppedAt: Date;
}

/** What ends a stop: 32 bytes, of which the row keeps the hash, and the bytes wrapped under the master key. */
export interface KeptProof {
  /** SHA-256. */
  readonly resumeHash: Uint8Array;
  readonly wrappedProof: Uint8Array;
  readonly kekId: string;
}

export interface ResumeProofs {
  make(stopId: string): KeptProof;
  /** Undefined: Writ did not write that row, or under another master key. */
  open(stopId: string, kept: KeptProof): Uint8Array | undefined;
  /** Under the active master key. */
  rewrap(stopId: string, kept: KeptProof): KeptProof | undefined;
}

/** Who acts, and what is written with the effect. */
export interface EmergencyWrite {
  /** Of an administrator; null: the operator at the command line. */
  readonly actorKeyId: string | null;
  readonly event: AuditEvent;
  readonly notice: Notice | undefined;
}

export interface EmergencyStore {
  /** In force, oldest first. */
  list(): Promise<readonly EmergencyStop[]>;
  /** Of this agent (null: of everybody), in force. */
  find(agentId: string | null): Promise<{ readonly id: string; readonly kept: KeptProof } | undefined>;
  /** One guarded write. `'unchanged'`: it is stopped already. `'absent'`: there is no such agent (any more). */
  stop(
    stop: {
      readonly id: string;
      readonly agentId: string | null;
      readonly reason: string;
      readonly kept: KeptProof;
    },
    write: EmergencyWrite,
  ): Promise<'stopped' | 'unchanged' | 'absent' | 'actor_not_live'>;
  /** One guarded write. `'unchanged'`: it is not in force any more. */
  resume(
    stop: { readonly id: string; readonly proof: Uint8Array },
    write: EmergencyWrite,
  ): Promise<'resumed' | 'unchanged' | 'actor_not_live'>;
  /**
   * Resolves when whatever read the stops before this call has ended, on every process, with true; with false after
   * about two seconds, when something has not.
   */
  settle(): Promise<boolean>;
}
