/** Requests and answers about secrets (contract section 6). */

import Type from 'typebox';
import { formatTimestamp, instantOrNull } from '../../domain/formats/rfc3339.ts';
import { ACCESS_TIERS } from '../../domain/secrets/access-tier.ts';
import type { SecretRecord } from '../../use-cases/secrets/ports.ts';
import { SECRET_TYPES, type SecretInput } from '../../use-cases/secrets/secret-rules.ts';
import {
  freeObject,
  instant,
  listOf,
  nullable,
  oneOf,
  sameIfBoth,
  strictObject,
  text,
  uuid,
} from '../routing/schemas.ts';

/** Ten years. */
const MAX_ROTATE_AFTER_DAYS = 3650;

const value = Type.String({ description: '0 to 65,536 bytes of UTF-8, kept byte by byte' });
const metadata = nullable(freeObject('at most 8 KiB'));

/** What a new key has besides its value. */
const kindOfSecret = {
  secret_type: Type.Optional(oneOf(SECRET_TYPES, '`custom` where absent')),
  access_tier: Type.Optional(oneOf(ACCESS_TIERS, '`standard` where absent')),
  tier: Type.Optional(oneOf(ACCESS_TIERS, 'the same as `access_tier`')),
  metadata: Type.Optional(metadata),
  rotate_after_days: Type.Optional(
    nullable(
      Type.Integer({
        minimum: 1,
        maximum: MAX_ROTATE_AFTER_DAYS,
        description: 'days of 24 hours that a version may live; for ever where null or absent',
      }),
    ),
  ),
};

const attributes = {
  ...kindOfSecret,
  description: Type.Optional(nullable(text({ max: 500 }))),
  tags: Type.Optional(Type.Array(text({ min: 1, max: 64 }), { maxItems: 32 })),
  expires_at: Type.Optional(nullable(instant('from then on it reads as absent'))),
  canary: Type.Optional(
    Type.Boolean({ description: 'by an administrator only: every touch sets off an alarm' }),
  ),
};

export const SecretBody = strictObject({ value, ...attributes });
export const NewSecretBody = strictObject({
  path: Type.String({ description: '`namespace/key`' }),
  value,
  ...attributes,
});
export const RotateBody = strictObject({
  new_value: Type.Optional(Type.String({ description: '32 random bytes as base64url where absent' })),
});
export const ImportBody = strictObject({
  namespace: Type.String(),
  content: Type.String({ description: '`.env` text of 1 to 1000 entries' }),
  ...kindOfSecret,
});

const record = {
  id: uuid(),
  namespace: Type.String(),
  key: Type.String(),
  path: Type.String(),
  version: Type.Integer(),
  secret_type: oneOf(SECRET_TYPES),
  access_tier: oneOf(ACCESS_TIERS),
  tier: oneOf(ACCESS_TIERS, 'the same as `access_tier`'),
  metadata: nullable(freeObject('as stored')),
  description: nullable(Type.String()),
  tags: Type.Array(Type.String()),
  created_at: instant(),
  updated_at: instant(),
  expires_at: nullable(instant()),
  rotate_after_days: nullable(Type.Integer()),
  rotation_due_at: nullable(instant('`rotate_after_days` after the newest version was written')),
  canary: Type.Optional(Type.Boolean({ description: 'to an administrator only' })),
};

export const Secret = strictObject(record, 'a secret without its value');
export const SecretWithValue = strictObject({ ...record, value }, 'a secret');
export const SecretListing = strictObject(
  {
    namespace: Type.String(),
    items: Type.Array(Secret),
    next_cursor: nullable(Type.String()),
  },
  'the names in a namespace',
);

export const DueListing = listOf(Secret);

type Attributes = Type.Static<ReturnType<typeof strictObject<typeof attributes>>>;
type KindOfSecret = Type.Static<ReturnType<typeof strictObject<typeof kindOfSecret>>>;

export function parseInput(body: Attributes): Omit<SecretInput, 'value'> {
  return {
    ...parseKind(body),
    ...(body.description === undefined ? {} : { description: body.description }),
    ...(body.tags === undefined ? {} : { tags: body.tags }),
    ...(body.canary === undefined ? {} : { canary: body.canary }),
    ...(body.expires_at === undefined
      ? {}
      : { expiresAt: body.expires_at === null ? null : new Date(body.expires_at) }),
  };
}

export function parseKind(body: KindOfSecret): Omit<SecretInput, 'value'> {
  const tier = sameIfBoth(['access_tier', body.access_tier], ['tier', body.tier]);
  return {
    ...(body.secret_type === undefined ? {} : { secretType: body.secret_type }),
    ...(tier === undefined ? {} : { tier }),
    ...(body.metadata === undefined ? {} : { metadata: body.metadata }),
    ...(body.rotate_after_days === undefined ? {} : { rotateAfterDays: body.rotate_after_days }),
  };
}

/** `version`: of the value beside it, where there is one; else the newest. */
export function secretView(
  secret: SecretRecord,
  { administers }: { readonly administers: boolean },
  version = secret.version,
) {
  const view = {
    id: secret.id,
    namespace: secret.namespace,
    key: secret.key,
    path: secret.path,
    version,
    secret_type: secret.secretType,
    access_tier: secret.tier,
    tier: secret.tier,
    metadata: secret.metadata,
    description: secret.description,
    tags: secret.tags,
    created_at: formatTimestamp(secret.createdAt),
    updated_at: formatTimestamp(secret.updatedAt),
    expires_at: instantOrNull(secret.expiresAt),
    rotate_after_days: secret.rotateAfterDays,
    rotation_due_at: instantOrNull(secret.rotationDueAt),
  };
  return administers ? { ...view, canary: secret.canary } : view;
}
