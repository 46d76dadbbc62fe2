/** What the use cases of secrets ask of the outside: types only. */

import type { JsonObject } from '../../domain/json/strict-json.ts';
import type { Role } from '../../domain/principals/role.ts';
import type { Scope } from '../../domain/scopes/scope.ts';
import type { AccessTier, TierGrant } from '../../domain/secrets/access-tier.ts';
import type { PresentedState } from '../../domain/secrets/secret-authorization.ts';
import type { AccessRestrictions } from '../../domain/secrets/token-restrictions.ts';
import type { Alarm, AuditEvent } from '../audit/ports.ts';

/** What a guarded write judges again of whoever presents a credential. */
export type CredentialGuard =
  | {
      readonly kind: 'api_key';
      readonly keyId: string;
      readonly agentId: string;
      readonly agentRevision: number;
    }
  | {
      readonly kind: 'scoped_token';
      readonly tokenId: string;
      readonly agentId: string;
      readonly agentRevision: number;
      /** Whether a use has to be taken from `max_uses`. */
      readonly limited: boolean;
      readonly tokenAsRead: string;
    };

/** A scoped token and its owner as a use of it reads them. */
export interface PresentedToken {
  readonly id: string;
  readonly agentId: string;
  readonly agentRole: Role;
  readonly agentRevision: number;
  readonly scopes: readonly Scope[];
  readonly ownerScopes: readonly Scope[];
  readonly restrictions: AccessRestrictions;
  readonly limited: boolean;
  /** All that the row says of what the token may do: another text where anybody has changed it. */
  readonly asRead: string;
  /** Until it expires. */
  readonly livesMs: number;
  readonly state: PresentedState;
  readonly opens: TierGrant;
}

/** One secret version under its own data key (AES-256-GCM), and that key wrapped. */
export interface SealedValue {
  readonly wrappedKey: Uint8Array;
  readonly kekId: string;
  /** 12 bytes. */
  readonly nonce: Uint8Array;
  /** With its 16-byte tag. */
  readonly ciphertext: Uint8Array;
}

/** What a sealed value is bound to. */
export interface SealBinding {
  readonly secretId: string;
  readonly path: string;
  readonly version: number;
}

export interface SecretCipher {
  seal(value: Uint8Array, binding: SealBinding): SealedValue;
  /** Undefined when it does not open: changed, swapped, or another key's. */
  open(sealed: SealedValue, binding: SealBinding): Uint8Array | undefined;
}

/** What is said of a secret, and may be said otherwise with every version. */
export interface SecretAttributes {
  readonly secretType: string;
  readonly tier: AccessTier;
  readonly metadata: JsonObject | null;
  readonly description: string | null;
  readonly tags: readonly string[];
  readonly expiresAt: Date | null;
  /** Whole days that a version may live; null: for ever. */
  readonly rotateAfterDays: number | null;
  /** Whoever touches it sets off an alarm; shown to administrators alone. */
  readonly canary: boolean;
}

/** A secret without its value. */
export interface SecretRecord extends SecretAttributes {
  readonly id: string;
  readonly path: string;
  readonly namespace: string;
  readonly key: string;
  /** The newest. */
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** `rotateAfterDays` after the newest version was written; null: never. */
  readonly rotationDueAt: Date | null;
}

/** Where a secret stands among those that are due. */
export interface DuePosition {
  readonly dueAt: Date;
  readonly path: string;
}

/** A secret that has not expired, and the version asked for. */
export interface FoundSecret {
  readonly secret: SecretRecord;
  readonly version: number;
  /** Undefined where that version does not exist or may not be read any more. */
  readonly sealed: SealedValue | undefined;
  /** Says which rows were read: another text after every write of them, whoever wrote. */
  readonly rowsRead: string;
  /** False: the row of the secret is not what Writ wrote, and gives nothing out. It has been reported. */
  readonly isWhole: boolean;
}

export interface CanaryReader {
  /** The canaries among the secrets at these paths, expired ones too; without rows that Writ did not write. */
  among(paths: readonly string[]): Promise<readonly Pick<SecretRecord, 'id' | 'path'>[]>;
}

export interface NamespaceCount {
  readonly namespace: string;
  readonly secretCount: number;
}

export interface SecretReader {
  /** `path` undefined: only the token. `version` undefined: the newest. */
  findByToken(asked: {
    readonly tokenHashHex: string;
    readonly path: string | undefined;
    readonly version: number | undefined;
  }): Promise<{ readonly token: PresentedToken; readonly found: FoundSecret | undefined } | undefined>;
  find(asked: {
    readonly path: string;
    readonly version: number | undefined;
  }): Promise<FoundSecret | undefined>;
  /** Of one namespace, not of those below it, in the order of their keys; without the expired. */
  list(query: {
    readonly namespace: string;
    readonly limit: number;
    readonly after: string | undefined;
  }): Promise<readonly SecretRecord[]>;
  /** Those whose rotation is due now, the longest due first; of one namespace or, undefined, of all; without the expired. */
  listDue(query: {
    readonly namespace: string | undefined;
    readonly limit: number;
    readonly after: DuePosition | undefined;
  }): Promise<readonly SecretRecord[]>;
  /** That hold at least one secret that has not expired, in the order of their names. */
  listNamespaces(query: {
    readonly limit: number;
    readonly after: string | undefined;
  }): Promise<readonly NamespaceCount[]>;
}

/** What was read and is about to be released: it must still be so. */
export interface ReleasedVersion {
  readonly secretId: string;
  readonly version: number;
  readonly rowsRead: string;
}

export interface SecretUses {
  /**
   * The one guarded write of everything that only reads: takes a use of a limited token and writes the event, if the
   * credential, its owner and the version are still what was read. False: they are not, and nothing was written.
   */
  record(use: {
    readonly guard: CredentialGuard;
    readonly released: ReleasedVersion | undefined;
    readonly event: AuditEvent;
    /** Written with the event. */
    readonly alarm?: Alarm | undefined;
  }): Promise<boolean>;
}

/** A secret row under lock; an expired one is still there. */
export interface LockedSecret extends SecretRecord {
  readonly expired: boolean;
}

export type SecretChange =
  | {
      readonly kind: 'create';
      readonly id: string;
      readonly path: string;
      readonly namespace: string;
      readonly key: string;
      readonly attributes: SecretAttributes;
      readonly sealed: SealedValue;
    }
  | {
      /** Adds version `version`. */
      readonly kind: 'add-version';
      readonly id: string;
      readonly version: number;
      readonly attributes: SecretAttributes;
      /** The versions before it can be read no more. */
      readonly hidesEarlier: boolean;
      readonly sealed: SealedValue;
    }
  | { readonly kind: 'delete'; readonly id: string; readonly namespace: string };

export interface SecretStore {
  /**
   * One transaction: the credential is judged and a use of a limited token taken, the secrets at `paths` are locked,
   * `decide` says what changes (what it throws undoes everything), then changes and event are written. Resolves with
   * the records of what was created or got a version, in the order of the changes; `'not_granted'` when the
   * credential or its owner is not what was read, or when a path came into being meanwhile: nothing was written.
   */
  change(
    request: { readonly guard: CredentialGuard; readonly paths: readonly string[] },
    decide: (stored: ReadonlyMap<string, LockedSecret>) => {
      readonly changes: readonly SecretChange[];
      readonly event: AuditEvent;
      /** Written with the event. */
      readonly alarms?: readonly Alarm[];
    },
  ): Promise<readonly SecretRecord[] | 'not_granted'>;
}
