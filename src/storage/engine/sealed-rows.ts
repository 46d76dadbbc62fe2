/**
 * Which columns of which tables the seal of a row covers, and in which form. Every column of these tables is either
 * sealed or named with the reason why not; a test over the schema holds the two together. A row is sealed while it may
 * grant: revoking it takes the seal away, so that clearing `revoked_at` revives nothing.
 */

import { getTableColumns } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import { sha256 } from '../../domain/crypto/sha256.ts';
import { rowMessage, type SealedValue } from '../../domain/formats/row-message.ts';
import type { SealedRow } from '../../use-cases/ports.ts';
import {
  agents,
  apiKeys,
  approvals,
  approvalVotes,
  scopedTokens,
  secrets,
  settings,
  signingKeys,
  webhookOutbox,
} from '../schema.ts';
import { columns, type Expressions } from './table-columns.ts';

const TOLD = 'told, and decides nothing';
const REMINDS = 'people are reminded by it, and nothing is opened or shut; every list shows it';
const REVOKED = 'a row that says it is revoked is refused as such, and has no seal';

/** The first sealed member is the primary key, or begins it. */
export const SEALED_TABLES = {
  agents: {
    table: agents,
    sealed: ['id', 'name', 'role', 'allowedScopes', 'allowedNamespaces', 'policy'],
    /** A text of any length, whose SHA-256 stands for it: a read that does not need it does not carry it. */
    hashed: ['policy'],
    open: {
      email: TOLD,
      description: TOLD,
      revision: 'a trigger draws it anew with every change, whoever makes it',
      createdAt: TOLD,
      revokedAt: REVOKED,
    },
  },
  api_keys: {
    table: apiKeys,
    sealed: ['keyId', 'agentId', 'hash', 'expiresAt'],
    hashed: [],
    open: {
      name: TOLD,
      prefix: TOLD,
      createdAt: TOLD,
      lastUsedAt: TOLD,
      lastUsedIp: TOLD,
      endToldAt: 'cleared, it is told once more that the key ends',
      revokedAt: REVOKED,
    },
  },
  scoped_tokens: {
    table: scopedTokens,
    sealed: [
      'id',
      'tokenHash',
      'agentId',
      'scopes',
      'maxUses',
      'allowedIps',
      'tier',
      'boundSecrets',
      'expiresAt',
    ],
    hashed: [],
    open: {
      uses: 'SQL alone counts it, so it can be set back; the trail has an event for each use, and `writ doctor` compares',
      keyId: TOLD,
      approvalId: TOLD,
      description: TOLD,
      createdAt: TOLD,
      revokedAt: REVOKED,
    },
  },
  secrets: {
    table: secrets,
    sealed: ['id', 'path', 'tier', 'version', 'firstReadableVersion', 'expiresAt', 'canary'],
    hashed: [],
    open: {
      namespace: 'a constraint: `path` is made of it; lists show names only',
      key: 'a constraint: `path` is made of it; lists show names only',
      secretType: TOLD,
      metadata: TOLD,
      description: TOLD,
      tags: TOLD,
      oldestVersion: 'where the removal of old versions goes on; which may go is judged by what is sealed',
      revision: 'SQL alone counts it, and nothing is decided by it',
      createdAt: TOLD,
      updatedAt: TOLD,
      rotateAfterDays: REMINDS,
      rotationDueAt: REMINDS,
      rotationToldVersion: REMINDS,
    },
  },
  signing_keys: {
    table: signingKeys,
    sealed: ['kid', 'publicKey', 'wrappedPrivateKey', 'kekId', 'state'],
    hashed: [],
    open: { createdAt: 'the order in the JWKS', stateSince: 'when it goes on, never to what' },
  },
  settings: {
    table: settings,
    sealed: ['name', 'value'],
    hashed: [],
    open: { updatedAt: TOLD },
  },
  approvals: {
    table: approvals,
    sealed: [
      'id',
      'agentId',
      'scopes',
      'ttlSeconds',
      'maxUses',
      'allowedIps',
      'description',
      'tier',
      'boundSecrets',
      'approvalsRequired',
      'delaySeconds',
      'windowSeconds',
      'requestDigest',
      'expiresAt',
      'effectiveAt',
    ],
    hashed: [],
    open: {
      createdAt: TOLD,
      deniedAt: 'a row that says it is denied is refused as such, and has no seal',
      reason: TOLD,
      claimedAt: 'a row that says it is claimed is refused as such, and has no seal',
      tokenId: TOLD,
    },
  },
  approval_votes: {
    table: approvalVotes,
    sealed: ['approvalId', 'approverId', 'keyId', 'at'],
    hashed: [],
    open: { reason: TOLD },
  },
  webhook_outbox: {
    table: webhookOutbox,
    sealed: ['id', 'payload'],
    hashed: [],
    open: {
      createdAt: TOLD,
      attempts: 'SQL alone counts it; set back, a notice of Writ is sent again, which it may be anyway',
      nextAttemptAt: 'when a notice of Writ is sent, never what it says',
      deliveredAt: 'cleared, a notice of Writ is sent again, which it may be anyway',
      givenUpAt: 'cleared, a notice of Writ is sent again, which it may be anyway',
      lastFailure: TOLD,
    },
  },
} as const satisfies Record<
  string,
  {
    readonly table: PgTable;
    readonly sealed: readonly string[];
    readonly hashed: readonly string[];
    readonly open: Readonly<Record<string, string>>;
  }
>;

export type SealedTable = keyof typeof SEALED_TABLES;
export type SealedMember<Table extends SealedTable> = (typeof SEALED_TABLES)[Table]['sealed'][number];

/** As a column is kept by JavaScript, or as `sealedColumns` reads it. */
type Given = SealedValue | Date | readonly string[] | Uint8Array | boolean;

/** A column in the form that is sealed, in SQL: the same as `formOf` has. */
function sqlForm(column: string, type: string, isHashed: boolean, member: string): string {
  if (type === 'boolean') return `case when ${column} then '${member}' end`;
  if (isHashed) return `encode(sha256(convert_to(${column}, 'UTF8')), 'hex')`;
  if (type === 'text[]') return `to_json(${column})::text`;
  if (type === 'bytea') return `encode(${column}, 'hex')`;
  if (type.startsWith('timestamp')) return epochMs(column);
  return column;
}

/** Of a time: to the millisecond, which is what JavaScript gives. */
export const epochMs = (column: string): string => `trunc(extract(epoch from ${column}) * 1000)::float8`;

function formOf(value: Given, member: string): SealedValue {
  if (typeof value === 'boolean') return value ? member : null;
  if (value === null || typeof value !== 'object') return value;
  if (value instanceof Date) return value.getTime();
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return JSON.stringify(value);
}

/** The SHA-256 of a text that is sealed by it, in hex. */
export const hashOf = (text: string | null): string | null =>
  text === null ? null : Buffer.from(sha256(new TextEncoder().encode(text))).toString('hex');

/** The sealed columns of `row`, an alias of the table, in the form that is sealed. */
export function sealedColumns<Table extends SealedTable>(
  name: Table,
  row: string,
): Expressions<SealedMember<Table>> {
  const { table, sealed, hashed } = SEALED_TABLES[name];
  const known = getTableColumns(table as PgTable);
  const forms = sealed.map((member) => {
    const [column = ''] = Object.values(columns(table as PgTable, row, [member]));
    const isHashed = (hashed as readonly string[]).includes(member);
    return [member, sqlForm(column, known[member]?.getSQLType() ?? '', isHashed, member)];
  });
  return Object.fromEntries(forms) as Expressions<SealedMember<Table>>;
}

/** How many of the last sealed members are flags: in the message of a row from before there was one, it is absent. */
const flagsOf = (name: SealedTable): number => (name === 'secrets' ? 1 : 0);

/** What the seal of a row covers. A member that is hashed is given as `hashOf` it. */
export function messageOf<Table extends SealedTable>(
  name: Table,
  row: Readonly<Record<SealedMember<Table>, Given>>,
): string {
  const sealed = SEALED_TABLES[name].sealed as readonly SealedMember<Table>[];
  const values = sealed.map((member) => formOf(row[member], member));
  return rowMessage(name, values, flagsOf(name));
}

/** A row to be judged. */
export function sealedRow<Table extends SealedTable>(
  name: Table,
  row: Readonly<Record<SealedMember<Table>, Given>>,
  seal: Uint8Array | null,
): SealedRow {
  const id = String(row[SEALED_TABLES[name].sealed[0] as SealedMember<Table>]);
  return { table: name, id, message: messageOf(name, row), seal };
}

/** For a `select`: what `judgedRow` reads of `row`, an alias of the table. */
export function sealList(name: SealedTable, row: string): string {
  const list = Object.entries(sealedColumns(name, row)).map(([own, sql]) => `${sql} as "${name}.${own}"`);
  return [...list, `${row}.seal as "${name}.seal"`].join(', ');
}

/** The row of a table that was read by `sealList`, to be judged. */
export function judgedRow(name: SealedTable, row: object): SealedRow {
  const read = row as Readonly<Record<string, SealedValue>>;
  const values = READ_AS[name].map((column) => read[column] ?? null);
  const seal = (row as Readonly<Record<string, Uint8Array | null>>)[`${name}.seal`] ?? null;
  return { table: name, id: String(values[0]), message: rowMessage(name, values, flagsOf(name)), seal };
}

/** The columns of `sealList`, in the order in which they are sealed. */
const READ_AS = Object.fromEntries(
  Object.entries(SEALED_TABLES).map(([name, { sealed }]) => [name, sealed.map((own) => `${name}.${own}`)]),
) as unknown as Readonly<Record<SealedTable, readonly string[]>>;
