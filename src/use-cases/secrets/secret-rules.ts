/** The rules of contract section 6 for one secret: what it may become, given what is stored and who asks. */

import { textToBytes } from '../../domain/crypto/hashing.ts';
import { validateMetadata } from '../../domain/formats/metadata.ts';
import { FIRST_INSTANT_MS, LAST_INSTANT_MS } from '../../domain/formats/rfc3339.ts';
import type { JsonObject } from '../../domain/json/strict-json.ts';
import type { SecretPath } from '../../domain/scopes/secret-path.ts';
import {
  type AccessTier,
  isLowerTier,
  type TierDenial,
  tierDenial,
} from '../../domain/secrets/access-tier.ts';
import { WritError } from '../../errors.ts';
import type { SecretRequester } from './authorized-request.ts';
import type { LockedSecret, SecretChange, SecretCipher, SecretRecord } from './ports.ts';

export const SECRET_TYPES = [
  'api_key',
  'oauth_token',
  'db_credential',
  'ssh_key',
  'certificate',
  'payment_credential',
  'custom',
] as const;
export type SecretType = (typeof SECRET_TYPES)[number];

const MAX_VALUE_BYTES = 65_536;

/** Members that are absent stay as stored, or have their defaults in a new secret; null clears. */
export interface SecretInput {
  readonly value: string;
  readonly secretType?: SecretType;
  readonly tier?: AccessTier;
  readonly metadata?: JsonObject | null;
  readonly description?: string | null;
  readonly tags?: readonly string[];
  readonly expiresAt?: Date | null;
  readonly rotateAfterDays?: number | null;
  readonly canary?: boolean;
}

export interface SealingDeps {
  readonly cipher: SecretCipher;
  readonly newId: () => string;
}

export type Creation = Extract<SecretChange, { kind: 'create' }>;
export type NewVersion = Extract<SecretChange, { kind: 'add-version' }>;

/** `PAYLOAD_TOO_LARGE` for the value, `VALIDATION_ERROR` for metadata or a time that cannot be kept. */
export function validateInput({ value, metadata, expiresAt }: SecretInput): void {
  if (textToBytes(value).length > MAX_VALUE_BYTES) {
    throw new WritError('PAYLOAD_TOO_LARGE', `A value may have at most ${MAX_VALUE_BYTES} bytes.`);
  }
  const fault = metadata === undefined || metadata === null ? undefined : validateMetadata(metadata);
  if (fault !== undefined) {
    throw new WritError('VALIDATION_ERROR', `metadata ${fault}.`, { details: { pointer: '/metadata' } });
  }
  const ms = expiresAt?.getTime() ?? FIRST_INSTANT_MS;
  if (ms >= FIRST_INSTANT_MS && ms <= LAST_INSTANT_MS) return;
  throw new WritError('VALIDATION_ERROR', 'expires_at must be between the years 1970 and 9999.', {
    details: { pointer: '/expires_at' },
  });
}

export const noSuchSecret = (): WritError => new WritError('SECRET_NOT_FOUND', 'There is no such secret.');

type StoredTier = Pick<SecretRecord, 'id' | 'tier'>;

/** The stored tier binds every action. Undefined when the requester's opens it. */
export function validateTier({ opens }: SecretRequester, there: StoredTier): WritError | undefined {
  const denial = tierDenial(opens, there);
  if (denial === undefined) return undefined;
  return new WritError('APPROVAL_REQUIRED', `This secret is ${there.tier}${WHY_NOT[denial]}`);
}

const WHY_NOT: Readonly<Record<TierDenial, string>> = {
  TIER_TOO_HIGH: ': it takes a human’s approval.',
  NOT_IN_APPROVAL:
    ', and was not, or did not exist, when this token’s approval was asked for: it takes an approval that names it.',
  RAISED_SINCE_APPROVAL:
    ', and was less when this token’s approval was asked for: it takes another approval.',
};

export function requireTier(requester: SecretRequester, there: StoredTier): void {
  const fault = validateTier(requester, there);
  if (fault !== undefined) throw fault;
}

/** An expired secret reads as absent, and no version is the newest of what is absent. */
export function requireVersion(there: LockedSecret | undefined, expected: number | undefined): void {
  const newest = there === undefined || there.expired ? undefined : there.version;
  if (expected === undefined || expected === newest) return;
  const what = newest === undefined ? 'there is no such secret' : `the newest version is ${newest}`;
  throw new WritError('VERSION_CONFLICT', `If-Match names version ${expected}, and ${what}.`);
}

export function requireNoLowerTier(
  { tier: stored }: LockedSecret,
  { tier: asked }: SecretInput,
  { administers }: SecretRequester,
): void {
  if (asked === undefined || administers || !isLowerTier({ asked, stored })) return;
  throw new WritError(
    'FORBIDDEN',
    `This secret is ${stored}, and only an administrator's key lowers a tier: name access_tier ${stored} to keep it.`,
  );
}

/** Whatever is stored: the answer tells nobody which secrets are canaries. */
export function requireMayPlace({ canary }: SecretInput, { administers }: SecretRequester): void {
  if (canary === undefined || administers) return;
  throw new WritError('FORBIDDEN', "Only an administrator's key names canary.");
}

export function buildCreate(deps: SealingDeps, secret: SecretPath, input: SecretInput): Creation {
  const { path, namespace, key } = secret;
  const id = deps.newId();
  return {
    kind: 'create',
    id,
    path,
    namespace,
    key,
    attributes: {
      secretType: input.secretType ?? 'custom',
      tier: input.tier ?? 'standard',
      metadata: input.metadata ?? null,
      description: input.description ?? null,
      tags: input.tags ?? [],
      expiresAt: input.expiresAt ?? null,
      rotateAfterDays: input.rotateAfterDays ?? null,
      canary: input.canary ?? false,
    },
    sealed: deps.cipher.seal(textToBytes(input.value), { secretId: id, path, version: 1 }),
  };
}

/**
 * The next version. Over an expired secret it begins anew: the versions before stay unreadable, and the expiry that
 * has passed does not hold for it.
 */
export function buildVersion(
  deps: Pick<SealingDeps, 'cipher'>,
  there: LockedSecret,
  input: SecretInput,
): NewVersion {
  const version = there.version + 1;
  const storedExpiry = there.expired ? null : there.expiresAt;
  return {
    kind: 'add-version',
    id: there.id,
    version,
    attributes: {
      secretType: input.secretType ?? there.secretType,
      tier: input.tier ?? there.tier,
      metadata: input.metadata === undefined ? there.metadata : input.metadata,
      description: input.description === undefined ? there.description : input.description,
      tags: input.tags ?? there.tags,
      expiresAt: input.expiresAt === undefined ? storedExpiry : input.expiresAt,
      rotateAfterDays: input.rotateAfterDays === undefined ? there.rotateAfterDays : input.rotateAfterDays,
      canary: input.canary ?? there.canary,
    },
    hidesEarlier: there.expired,
    sealed: deps.cipher.seal(textToBytes(input.value), { secretId: there.id, path: there.path, version }),
  };
}
