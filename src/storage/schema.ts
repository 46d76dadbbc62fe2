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

const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => 'bytea' });
const xid8 = customType<{ data: string; driverData: string }>({ dataType: () => 'xid8' });
const instant = (name: string) => timestamp(name, { withTimezone: true, mode: 'date', precision: 6 });

/** Principals. `revision` changes with every change of the row, so that a guarded write can require "as it was read". */
export const agents = pgTable(
  'agents',
  {
    id: uuid('id').primaryKey(),
    name: text('name').notNull(),
    role: text('role', { enum: ['admin', 'approver', 'agent'] }).notNull(),
    email: text('email'),
    description: text('description'),
    allowedScopes: text('allowed_scopes').array(),
    allowedNamespaces: text('allowed_namespaces').array(),
    /** Canonical JSON of the operator's policy. */
    policy: text('policy'),
    revision: integer('revision').notNull().default(1),
    createdAt: instant('created_at').notNull().default(sql`clock_timestamp()`),
    revokedAt: instant('revoked_at'),
  },
  (table) => [
    uniqueIndex('agents_active_name').on(table.name).where(sql`revoked_at is null`),
    check('agents_role', sql`role in ('admin', 'approver', 'agent')`),
  ],
);

export const apiKeys = pgTable(
  'api_keys',
  {
    /** The public half: the 16 hex characters behind the prefix. */
    keyId: text('key_id').primaryKey(),
    agentId: uuid('agent_id')
      .notNull()
      .references(() => agents.id),
    name: text('name'),
    /** The first 24 characters of the key, for people. */
    prefix: text('prefix').notNull(),
    hash: text('hash').notNull(),
    createdAt: instant('created_at').notNull().default(sql`clock_timestamp()`),
    expiresAt: instant('expires_at'),
    lastUsedAt: instant('last_used_at'),
    revokedAt: instant('revoked_at'),
  },
  (table) => [index('api_keys_agent').on(table.agentId, table.createdAt)],
);

/** Ed25519 pairs; the private half is wrapped by the key-encryption key with the kid as additional data. */
export const signingKeys = pgTable(
  'signing_keys',
  {
    kid: text('kid').primaryKey(),
    publicKey: bytea('public_key').notNull(),
    wrappedPrivateKey: bytea('wrapped_private_key').notNull(),
    kekId: text('kek_id').notNull(),
    state: text('state', { enum: ['next', 'active', 'retiring'] }).notNull(),
    createdAt: instant('created_at').notNull().default(sql`clock_timestamp()`),
  },
  (table) => [
    uniqueIndex('signing_keys_one_active').on(table.state).where(sql`state = 'active'`),
    check('signing_keys_state', sql`state in ('next', 'active', 'retiring')`),
  ],
);

/** One row for the key-encryption key in use; a start with another key is refused by its check value. */
export const kekCheck = pgTable(
  'kek_check',
  {
    oneRow: boolean('one_row').primaryKey().default(true),
    kekId: text('kek_id').notNull(),
    checkValue: bytea('check_value').notNull(),
    createdAt: instant('created_at').notNull().default(sql`clock_timestamp()`),
  },
  () => [check('kek_check_one_row', sql`one_row`)],
);

/** What must be the same on every replica: `issuer_url` and `token_audience` of the first start. */
export const settings = pgTable('settings', {
  name: text('name').primaryKey(),
  value: text('value').notNull(),
  updatedAt: instant('updated_at').notNull().default(sql`clock_timestamp()`),
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
export const intentTokens = pgTable('intent_tokens', {
  jti: uuid('jti').primaryKey(),
  planId: uuid('plan_id').notNull(),
  agentId: uuid('agent_id').notNull(),
  keyId: text('key_id').notNull(),
  kid: text('kid').notNull(),
  planHash: text('plan_hash').notNull(),
  merkleRoot: text('merkle_root').notNull(),
  treeSize: integer('tree_size').notNull(),
  /** Canonical JSON. */
  policy: text('policy').notNull(),
  /** Canonical JSON: a list of `[mcp | null, action]`. */
  actions: text('actions').notNull(),
  issuedAt: instant('issued_at').notNull(),
  expiresAt: instant('expires_at').notNull(),
  revokedAt: instant('revoked_at'),
  rootJti: uuid('root_jti').notNull(),
  ancestors: uuid('ancestors').array().notNull().default(sql`'{}'`),
});

/**
 * What a repeated request needs to be answered again for 10 minutes. The token itself is not kept: it is rebuilt
 * from the same body and compared by its hash.
 */
export const idempotencyKeys = pgTable(
  'idempotency_keys',
  {
    agentId: uuid('agent_id').notNull(),
    path: text('path').notNull(),
    key: text('key').notNull(),
    bodySha256: text('body_sha256').notNull(),
    jwtSha256: text('jwt_sha256').notNull(),
    jti: uuid('jti').notNull(),
    planId: uuid('plan_id').notNull(),
    keyId: text('key_id').notNull(),
    kid: text('kid').notNull(),
    iss: text('iss').notNull(),
    aud: text('aud').notNull(),
    issuedAt: instant('issued_at').notNull(),
    expiresAt: instant('expires_at').notNull(),
    createdAt: instant('created_at').notNull().default(sql`clock_timestamp()`),
  },
  (table) => [
    primaryKey({ columns: [table.agentId, table.path, table.key] }),
    index('idempotency_keys_age').on(table.createdAt),
  ],
);

/**
 * The audit trail, partitioned by month of `created_at`. Rows are only ever added: triggers refuse the rest.
 * `xact` orders events by transaction, so that a reader can tell which are certainly complete.
 */
export const auditEvents = pgTable(
  'audit_events',
  {
    id: uuid('id').notNull(),
    eventType: text('event_type').notNull(),
    actorId: text('actor_id').notNull(),
    actorType: text('actor_type').notNull(),
    resourceType: text('resource_type').notNull(),
    resourceId: text('resource_id').notNull(),
    metadata: jsonb('metadata').notNull(),
    ipAddress: text('ip_address'),
    requestId: text('request_id'),
    createdAt: instant('created_at').notNull().default(sql`clock_timestamp()`),
    xact: xid8('xact').notNull().default(sql`pg_current_xact_id()`),
  },
  (table) => [primaryKey({ columns: [table.createdAt, table.id] })],
);
