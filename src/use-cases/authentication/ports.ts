/** What authentication asks of the outside: types only. */

import type { Policy } from '../../domain/policies/policy.ts';
import type { Role } from '../../domain/principals/role.ts';
import type { Scope } from '../../domain/scopes/scope.ts';

/** Who an API key speaks for, as read with `revision`. */
export interface Principal {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** The operator's policy for this agent (contract section 4.4), beside which every plan's own is decided. */
  readonly policy: Policy | null;
  readonly effectiveScopes: readonly Scope[];
  readonly revision: number;
}

/** A principal together with the key that spoke for it. */
export interface Caller {
  readonly principal: Principal;
  /** 16 hex characters, public. */
  readonly keyId: string;
  readonly keyPrefix: string;
  /** Null: it does not end. */
  readonly keyExpiresAt: Date | null;
  /** The opaque name under which this process remembers the key. */
  readonly fingerprint: string;
}

/** An API key's row joined with its agent's, judged by the database clock. */
export interface StoredKey {
  readonly caller: Omit<Caller, 'fingerprint'>;
  /** bcrypt, `$2b$`. */
  readonly hash: string;
  /** Revoked itself, or its agent is. */
  readonly revoked: boolean;
  readonly expired: boolean;
  /** Its agent is stopped, by name or with everybody (contract section 2). */
  readonly stopped: boolean;
  /** Until it expires; null: it does not. */
  readonly livesMs: number | null;
  /** False: the row, or its agent's, is not what Writ wrote, and grants nothing. It has been reported. */
  readonly isWhole: boolean;
}

export interface CredentialStore {
  findKey(keyId: string): Promise<StoredKey | undefined>;
  /** Writes when, and from where, each key was last used, where that is later than what is stored. */
  noteUses(uses: readonly KeyUse[]): Promise<void>;
}

/** The latest use of a key that this process knows of. */
export interface KeyUse {
  readonly keyId: string;
  readonly at: Date;
  readonly ipAddress: string | null;
}
