/**
 * The tables, as drizzle sees them; migrations are generated from this file. Columns carry the names that the
 * wire uses. Canonical text is `text`, never `jsonb`: what was hashed is kept byte by byte.
 */

import { sql } from 'drizzle-orm';
import {
  boolean,
  check,
  customType,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  timestamp,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import { MAX_PLAN_STEPS } from '../domain/intent-tokens/plan.ts';
import { ROLES } from '../domain/principals/role.ts';
import { ACCESS_TIERS } from '../domain/secrets/access-tier.ts';
import type { TokenRestrictions } from '../domain/secrets/token-restrictions.ts';
import { MASTER_KEY_STATES } from '../domain/signing-keys/master-key-state.ts';
import { SIGNING_KEY_STATES } from '../domain/signing-keys/signing-key-state.ts';

const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => 'bytea' });
const xid8 = customType<{ data: string; driverData: string }>({ dataType: () => 'xid8' });
/**
 * Text that stands for itself and is looked up: compared byte by byte. By the rules of a language a comparison costs
 * several times as much, and what comes first would depend on how the database was made.
 */
const code = customType<{ data: string; driverData: string }>({ dataType: () => 'text COLLATE "C"' });
/** One bit for each step of a plan, the first one leftmost. */
const stepBits = customType<{ data: string; driverData: string }>({
  dataType: () => `bit varying(${MAX_PLAN_STEPS})`,
});
const instant = (name: string) => timestamp(name, { withTimezone: true, mode: 'date', precision: 6 });

/**
 * What proves that Writ wrote the row as it is (`storage/engine/sealed-rows.ts`). Null of a row that grants nothing any
 * more.
 */
const seal = () => bytea('seal');

/** Kept of a scoped token, and of an approval that asks for one. */
const restrictions = () =>
  ({
    maxUses: integer('max_uses'),
    allowedIps: text('allowed_ips').array(),
  }) satisfies Record<keyof TokenRestrictions, unknown>;

/** The condition of a column whose values are listed in the code. */
const oneOf = (column: string, values: readonly string[]) =>
  sql.raw(`${column} in (${values.map((value) => `'${value}'`).join(', ')})`);

/**
 * Principals. `revision` changes with every change of the row, whoever makes it, so that a guarded write can require "as
 * it was read". A trigger gives the new one by chance: a number that counts would be given again after a failover.
 */
export const agents = pgTable(
  'agents',
  {
    id: uuid('id').primaryKey(),
    name: text('name').notNull(),
    role: text('role', { enum: ROLES }).notNull(),
    email: text('email'),
    description: text('description'),
    allowedScopes: text('allowed_scopes').array(),
    allowedNamespaces: text('allowed_namespaces').array(),
    /** Canonical JSON of the operator's policy. */
    policy: text('policy'),
    revision: integer('revision').notNull().default(1),
    createdAt: instant('created_at').notNull().default(sql`clock_timestamp()`),
    revokedAt: instant('revoked_at'),
    seal: seal(),
  },
  (table) => [
    uniqueIndex('agents_active_name').on(table.name).where(sql`revoked_at is null`),
    check('agents_role', oneOf('role', ROLES)),
  ],
);

export const apiKeys = pgTable(
  'api_keys',
  {
    /** The public half: the 16 hex characters behind the prefix. */
    keyId: code('key_id').primaryKey(),
    agentId: uuid('agent_id')
      .notNull()
      .references(() => agents.id),
    name: text('name'),
    /** The beginning of the key, which is public: for people. */
    prefix: text('prefix').notNull(),
    hash: text('hash').notNull(),
    createdAt: instant('created_at').notNull().default(sql`clock_timestamp()`),
    expiresAt: instant('expires_at'),
    lastUsedAt: instant('last_used_at'),
    /** The address of that use, as the audit trail has it. */
    lastUsedIp: text('last_used_ip'),
    /** When it was last told that the key ends soon. */
    endToldAt: instant('end_told_at'),
    revokedAt: instant('revoked_at'),
    seal: seal(),
  },
  (table) => [
    index('api_keys_agent').on(table.agentId, table.createdAt),
    index('api_keys_end').on(table.expiresAt).where(sql`revoked_at is null and expires_at is not null`),
  ],
);

/**
 * Ed25519 pairs; the private half is wrapped by the key-encryption key with the kid as additional data. A key that has
 * ended keeps its row, without the private half and without a seal.
 */
export const signingKeys = pgTable(
  'signing_keys',
  {
    kid: text('kid').primaryKey(),
    publicKey: bytea('public_key').notNull(),
    wrappedPrivateKey: bytea('wrapped_private_key'),
    kekId: text('kek_id'),
    state: text('state', { enum: SIGNING_KEY_STATES }).notNull(),
    createdAt: instant('created_at').notNull().default(sql`clock_timestamp()`),
    /** When it took its state. */
    stateSince: instant('state_since').notNull().default(sql`clock_timestamp()`),
    seal: seal(),
  },
  (table) => [
    uniqueIndex('signing_keys_one_active').on(table.state).where(sql`state = 'active'`),
    uniqueIndex('signing_keys_one_next').on(table.state).where(sql`state = 'next'`),
    check('signing_keys_state', oneOf('state', SIGNING_KEY_STATES)),
    check(
      'signing_keys_private_half',
      sql`(wrapped_private_key is null) = (state in ('retired', 'compromised')) and (wrapped_private_key is null) = (kek_id is null)`,
    ),
  ],
);

/**
 * The master keys that the database has, or had, rows of, by the ids of their key-encryption keys. A start without one that
 * is not retired is refused by its check value. A trigger refuses every seal and every wrap under another key than the
 * active one, or one that left this state in the last 10 s.
 */
export const masterKeys = pgTable(
  'master_keys',
  {
    kekId: text('kek_id').primaryKey(),
    checkValue: bytea('check_value').notNull(),
    state: text('state', { enum: MASTER_KEY_STATES }).notNull(),
    /** When it came into this state. */
    since: instant('since').notNull().default(sql`clock_timestamp()`),
    /** The master key as a key service wrapped it; null of one that comes from the environment or a file. */
    wrappedRoot: bytea('wrapped_root'),
  },
  (table) => [
    uniqueIndex('master_keys_one_active').on(table.state).where(sql`state = 'active'`),
    check('master_keys_state', oneOf('state', MASTER_KEY_STATES)),
  ],
);

/** What must be the same on every replica: `issuer_url` and `token_audience` of the first start. */
export const settings = pgTable('settings', {
  name: text('name').primaryKey(),
  value: text('value').notNull(),
  updatedAt: instant('updated_at').notNull().default(sql`clock_timestamp()`),
  seal: seal(),
});

/** One row that readiness writes, to prove that the database takes writes. */
export const heartbeat = pgTable(
  'heartbeat',
  {
    oneRow: boolean('one_row').primaryKey().default(true),
    at: instant('at').notNull(),
  },
  () => [check('heartbeat_one_row', sql`one_row`)],
);

/** Signed plans. The plan itself is not kept: only its hashes and its distinct (mcp, action) pairs. */
export const intentTokens = pgTable(
  'intent_tokens',
  {
    jti: uuid('jti').primaryKey(),
    planId: uuid('plan_id').notNull(),
    agentId: uuid('agent_id').notNull(),
    keyId: text('key_id').notNull(),
    kid: text('kid').notNull(),
    planHashHex: text('plan_hash').notNull(),
    merkleRootHex: text('merkle_root').notNull(),
    treeSize: integer('tree_size').notNull(),
    /** Canonical JSON. */
    policyText: text('policy').notNull(),
    /** Canonical JSON: a list of `[mcp | null, action]`. */
    actionsText: text('actions').notNull(),
    issuedAt: instant('issued_at').notNull(),
    expiresAt: instant('expires_at').notNull(),
    revokedAt: instant('revoked_at'),
    rootJti: uuid('root_jti').notNull(),
    ancestors: uuid('ancestors').array().notNull().default(sql`'{}'`),
  },
  (table) => [
    // For the sweep, at next to no cost for issuing: see scoped_tokens_expiry.
    index('intent_tokens_expiry').using('brin', table.expiresAt).with({ autosummarize: true }),
    // Only delegations: whether a token is still an ancestor.
    index('intent_tokens_delegated').on(table.rootJti).where(sql`root_jti <> jti`),
    // Of an agent's own, newest first: the ids are made in the order of time.
    index('intent_tokens_agent').on(table.agentId, table.jti),
  ],
);

/**
 * What was used of a token and of all that was delegated from it, counted in one row: written first when a step is
 * consumed or a limited verification granted, and gone with the row of the token at the root. Small and without an
 * index on what changes, so that an update stays in its page.
 */
export const intentTokenUses = pgTable('intent_token_uses', {
  rootJti: uuid('root_jti')
    .primaryKey()
    .references(() => intentTokens.jti, { onDelete: 'cascade' }),
  consumedSteps: stepBits('consumed_steps').notNull(),
  /** Of the hour that `windowCount` counts in; null before the first verification that counts. */
  windowStart: instant('window_start'),
  windowCount: integer('window_count').notNull().default(0),
});

/**
 * What a repeated request needs to be answered again for 10 minutes. The token itself is not kept: it is rebuilt
 * from the same body and compared by its hash.
 */
export const idempotencyKeys = pgTable(
  'idempotency_keys',
  {
    agentId: uuid('agent_id').notNull(),
    path: code('path').notNull(),
    key: code('key').notNull(),
    bodySha256Hex: text('body_sha256').notNull(),
    jwtSha256Hex: text('jwt_sha256').notNull(),
    jti: uuid('jti').notNull(),
    planId: uuid('plan_id').notNull(),
    keyId: text('key_id').notNull(),
    kid: text('kid').notNull(),
    issuer: text('iss').notNull(),
    audience: text('aud').notNull(),
    issuedAt: instant('issued_at').notNull(),
    expiresAt: instant('expires_at').notNull(),
    createdAt: instant('created_at').notNull().default(sql`clock_timestamp()`),
  },
  (table) => [
    primaryKey({ columns: [table.agentId, table.path, table.key] }),
    index('idempotency_keys_age').on(table.createdAt),
  ],
);

/** Opaque bearer strings that open some secrets. Only the SHA-256 of one is kept. */
export const scopedTokens = pgTable(
  'scoped_tokens',
  {
    id: uuid('id').primaryKey(),
    tokenHash: bytea('token_hash').notNull(),
    agentId: uuid('agent_id').notNull(),
    /** The key it was asked for with; the token does not end with it. */
    keyId: text('key_id').notNull(),
    scopes: text('scopes').array().notNull(),
    ...restrictions(),
    uses: integer('uses').notNull().default(0),
    /** Opens secrets up to this tier. */
    tier: text('access_tier', { enum: ACCESS_TIERS }).notNull().default('standard'),
    /** The approval it was claimed by. */
    approvalId: text('approval_id'),
    /** Of that approval; null where there is none. */
    boundSecrets: text('bound_secrets').array(),
    description: text('description'),
    createdAt: instant('created_at').notNull(),
    expiresAt: instant('expires_at').notNull(),
    revokedAt: instant('revoked_at'),
    seal: seal(),
  },
  (table) => [
    uniqueIndex('scoped_tokens_hash').on(table.tokenHash),
    index('scoped_tokens_agent').on(table.agentId, table.id),
    // Tokens end about in the order in which they begin: a block range index finds the dead ones at next to no cost.
    index('scoped_tokens_expiry').using('brin', table.expiresAt).with({ autosummarize: true }),
    check('scoped_tokens_hash_length', sql`octet_length(token_hash) = 32`),
    check('scoped_tokens_uses', sql`uses >= 0 and uses <= coalesce(max_uses, uses)`),
    check('scoped_tokens_tier', oneOf('access_tier', ACCESS_TIERS)),
  ],
);

/** `revision` changes with every change of the row, a tier's too. An expired secret keeps its row. */
export const secrets = pgTable(
  'secrets',
  {
    id: uuid('id').primaryKey(),
    path: code('path').notNull(),
    namespace: code('namespace').notNull(),
    key: code('key').notNull(),
    secretType: text('secret_type').notNull(),
    tier: text('access_tier', { enum: ACCESS_TIERS }).notNull(),
    /** JSON as it was sent. */
    metadata: text('metadata'),
    description: text('description'),
    tags: text('tags').array().notNull(),
    /** The newest. */
    version: integer('version').notNull().default(1),
    /** Versions before it were written before the secret expired, and stay unreadable. */
    firstReadableVersion: integer('first_readable_version').notNull().default(1),
    /** Versions before it were removed with their keys. */
    oldestVersion: integer('oldest_version').notNull().default(1),
    revision: integer('revision').notNull().default(1),
    createdAt: instant('created_at').notNull().default(sql`clock_timestamp()`),
    updatedAt: instant('updated_at').notNull().default(sql`clock_timestamp()`),
    expiresAt: instant('expires_at'),
    /** Whoever touches it sets off an alarm. */
    canary: boolean('canary').notNull().default(false),
    /** How long a version may live; null: for ever. */
    rotateAfterDays: integer('rotate_after_days'),
    /** So long after the newest version was written, to the millisecond, which is what a cursor holds. */
    rotationDueAt: instant('rotation_due_at'),
    /** Of the version that this was last told of. */
    rotationToldVersion: integer('rotation_told_version'),
    seal: seal(),
  },
  (table) => [
    uniqueIndex('secrets_path').on(table.path),
    index('secrets_namespace').on(table.namespace, table.key),
    index('secrets_expiry').on(table.expiresAt).where(sql`expires_at is not null`),
    // Finds those with more versions than stay, however many were written.
    index('secrets_versions').on(sql`(version - oldest_version)`),
    index('secrets_rotation').on(table.rotationDueAt, table.path).where(sql`rotation_due_at is not null`),
    check('secrets_whole_path', sql`path = namespace || '/' || key`),
    check('secrets_tier', oneOf('access_tier', ACCESS_TIERS)),
    check('secrets_rotation_due', sql`(rotate_after_days is null) = (rotation_due_at is null)`),
  ],
);

/** One row per value that was ever written: encrypted under a key of its own, which is wrapped. */
export const secretVersions = pgTable(
  'secret_versions',
  {
    secretId: uuid('secret_id')
      .notNull()
      .references(() => secrets.id, { onDelete: 'cascade' }),
    version: integer('version').notNull(),
    wrappedKey: bytea('wrapped_key').notNull(),
    kekId: text('kek_id').notNull(),
    /** Under which its data key was made; null of a row from before that was kept. Re-wrapping leaves it as it is. */
    madeUnder: text('made_under'),
    nonce: bytea('nonce').notNull(),
    /** With its tag. */
    ciphertext: bytea('ciphertext').notNull(),
    createdAt: instant('created_at').notNull().default(sql`clock_timestamp()`),
  },
  (table) => [primaryKey({ columns: [table.secretId, table.version] })],
);

/** How many secrets each namespace holds, the expired ones included: counting them would cost as many reads. */
export const namespaces = pgTable(
  'namespaces',
  {
    namespace: code('namespace').primaryKey(),
    secretCount: integer('secret_count').notNull(),
  },
  () => [check('namespaces_count', sql`secret_count >= 0`)],
);

/**
 * What an agent asked for that takes a human. What was asked, and how many must agree, is frozen when it is opened and
 * bound by `request_digest`; whether it is approved or expired follows from the times, and is never written.
 */
export const approvals = pgTable(
  'approvals',
  {
    id: code('id').primaryKey(),
    agentId: uuid('agent_id').notNull(),
    scopes: text('scopes').array().notNull(),
    ttlSeconds: integer('ttl_seconds').notNull(),
    ...restrictions(),
    description: text('description'),
    tier: text('access_tier', { enum: ACCESS_TIERS }).notNull(),
    /** The secrets above standard that the scopes named when it was opened: `<tier> <id> <path>` each. */
    boundSecrets: text('bound_secrets').array().notNull().default(sql`'{}'`),
    approvalsRequired: integer('approvals_required').notNull(),
    /** Between the last vote and the moment from which it can be claimed. */
    delaySeconds: integer('delay_seconds').notNull(),
    /** How long it can be decided, and then how long it can be claimed. */
    windowSeconds: integer('window_seconds').notNull(),
    /** The id of a key-encryption key and HMAC-SHA256 under a key of that master key, in hex; of older rows without the id. */
    requestDigest: text('request_digest').notNull(),
    createdAt: instant('created_at').notNull(),
    /** Of the time in which it can be decided. */
    expiresAt: instant('expires_at').notNull(),
    /** From then on it can be claimed; set by the last vote that it takes. */
    effectiveAt: instant('effective_at'),
    deniedAt: instant('denied_at'),
    reason: text('reason'),
    claimedAt: instant('claimed_at'),
    tokenId: uuid('token_id'),
    seal: seal(),
  },
  (table) => [
    index('approvals_agent').on(table.agentId, table.createdAt),
    index('approvals_newest').on(table.createdAt, table.id),
  ],
);

/** One row per approver who agreed. */
export const approvalVotes = pgTable(
  'approval_votes',
  {
    approvalId: code('approval_id')
      .notNull()
      .references(() => approvals.id, { onDelete: 'cascade' }),
    approverId: uuid('approver_id').notNull(),
    /** The key it was cast with; null in rows from before keys were kept. */
    keyId: code('key_id'),
    reason: text('reason'),
    at: instant('at').notNull().default(sql`clock_timestamp()`),
    seal: seal(),
  },
  (table) => [primaryKey({ columns: [table.approvalId, table.approverId] })],
);

/** Notices that are owed to the webhook: written with what they tell of, sent later, at least once. */
export const webhookOutbox = pgTable(
  'webhook_outbox',
  {
    id: uuid('id').primaryKey(),
    /** The body as it is signed and sent. */
    payload: text('payload').notNull(),
    createdAt: instant('created_at').notNull().default(sql`clock_timestamp()`),
    attempts: integer('attempts').notNull().default(0),
    /** Nobody else sends it before. */
    nextAttemptAt: instant('next_attempt_at').notNull().default(sql`clock_timestamp()`),
    deliveredAt: instant('delivered_at'),
    givenUpAt: instant('given_up_at'),
    lastFailure: text('last_failure'),
    seal: seal(),
  },
  (table) => [
    index('webhook_outbox_due')
      .on(table.nextAttemptAt)
      .where(sql`delivered_at is null and given_up_at is null`),
  ],
);

/**
 * Who is stopped, and who was. A row that is in force is ended by the 32 bytes behind `resume_hash`, which are wrapped by
 * the key-encryption key: a check of the table holds them together, and a trigger refuses every other change. Nobody
 * removes a row.
 */
export const emergencyStops = pgTable(
  'emergency_stops',
  {
    id: uuid('id').primaryKey(),
    /** All zeros for everybody but administrators. */
    agentId: uuid('agent_id').notNull(),
    reason: text('reason').notNull(),
    /** As in the audit trail. */
    actorId: code('actor_id').notNull(),
    stoppedAt: instant('stopped_at').notNull().default(sql`clock_timestamp()`),
    /** SHA-256. */
    resumeHash: bytea('resume_hash').notNull(),
    wrappedProof: bytea('wrapped_proof').notNull(),
    kekId: text('kek_id').notNull(),
    resumeProof: bytea('resume_proof'),
    resumedAt: instant('resumed_at'),
  },
  (table) => [
    // What every guarded statement reads: an empty index is next to nothing.
    uniqueIndex('emergency_stops_in_force').on(table.agentId).where(sql`resumed_at is null`),
    check(
      'emergency_stops_resumed_by_proof',
      sql`resumed_at is null or (resume_proof is not null and sha256(resume_proof) = resume_hash)`,
    ),
  ],
);

/**
 * The epochs of the audit trail, in their order: each begins where another run of a database server is found, or another
 * database. Rows are only ever added. `epoch` is the start of that server, which every event of it carries; an event from
 * before there were epochs carries `-infinity`.
 */
export const auditEpochs = pgTable('audit_epochs', {
  position: integer('position').primaryKey(),
  /** Cursors name it: a history that went another way has another. */
  id: uuid('id').notNull().default(sql`gen_random_uuid()`),
  epoch: instant('epoch').notNull(),
  /** The server's start and the database's number, as `src/storage/engine/history.ts` tells them. */
  history: text('history').notNull(),
  beganAt: instant('began_at').notNull().default(sql`clock_timestamp()`),
});

/**
 * The audit trail, partitioned by month of `created_at`. Rows are only ever added: triggers refuse the rest.
 * `xact` orders the events of one epoch by transaction, so that a reader can tell which are certainly complete.
 */
export const auditEvents = pgTable(
  'audit_events',
  {
    id: uuid('id').notNull(),
    eventType: code('event_type').notNull(),
    actorId: code('actor_id').notNull(),
    actorType: text('actor_type').notNull(),
    resourceType: code('resource_type').notNull(),
    resourceId: code('resource_id').notNull(),
    metadata: jsonb('metadata').notNull(),
    ipAddress: text('ip_address'),
    requestId: text('request_id'),
    createdAt: instant('created_at').notNull().default(sql`clock_timestamp()`),
    xact: xid8('xact').notNull().default(sql`pg_current_xact_id()`),
    /** See `auditEpochs`. The database gives it, as it gives `xact`, so that the two are of one server. */
    epoch: instant('epoch').notNull().default(sql`pg_postmaster_start_time()`),
  },
  (table) => [
    primaryKey({ columns: [table.createdAt, table.id] }),
    index('audit_events_type').on(table.eventType, table.createdAt, table.id),
    index('audit_events_actor').on(table.actorId, table.createdAt, table.id),
    index('audit_events_resource').on(table.resourceId, table.createdAt, table.id),
    index('audit_events_resource_type').on(table.resourceType, table.createdAt, table.id),
  ],
);
