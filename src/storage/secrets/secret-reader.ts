/** What a request reads of tokens and secrets before its guarded write, many requests in one statement. */

import type { RowSeals } from '../../use-cases/ports.ts';
import type { FoundSecret, SecretReader } from '../../use-cases/secrets/ports.ts';
import { createBatcher } from '../engine/batcher.ts';
import type { Database, Statement } from '../engine/database.ts';
import { SERVER_START } from '../engine/history.ts';
import { SECRET_HAD_EXPIRED, SECRET_IS_LIVE, SECRET_ROTATION_IS_DUE } from '../engine/liveness-sql.ts';
import { judgedRow, sealList } from '../engine/sealed-rows.ts';
import { columns, recordset, selectList } from '../engine/table-columns.ts';
import { secretVersions } from '../schema.ts';
import { createPresentedTokens, TOKEN_COLUMNS, type TokenRow } from './presented-tokens.ts';
import { type SecretRow, secretColumns, secretRecordOf } from './secret-rows.ts';

/**
 * Another text as soon as either row is written, and on another server: `xmin` is the transaction that wrote a row as it
 * is, and a server that took over gives numbers of transactions again that the one before it gave.
 */
export const ROWS_READ = `secret.xmin::text || ' ' || held.xmin::text || ' ' || ${SERVER_START}`;

/**
 * The secret at a path and the version asked for: `asked` has `path` and `version`. Each row asks its index: a group is
 * planned as a hundred rows, for which a join would read a table of some thousand whole.
 */
const JOIN_SECRET = (kind: 'join' | 'left join') => `
    ${kind} lateral (
      select *, xmin from secrets secret where secret.path = asked.path and ${SECRET_IS_LIVE} limit 1
    ) as secret on true
    left join lateral (
      select *, xmin from secret_versions held
      where held.secret_id = secret.id and held.version = coalesce(asked.version, secret.version)
        and held.version >= secret.first_readable_version
      limit 1
    ) as held on true`;

const SEALED_COLUMNS = `${selectList<SealedRow>({
  ...columns(secretVersions, 'held', ['wrappedKey', 'kekId', 'nonce', 'ciphertext']),
  heldVersion: 'held.version',
  rowsRead: ROWS_READ,
})}, ${sealList('secrets', 'secret')}`;

const FIND_BY_TOKENS: Statement = {
  name: 'find_secrets_by_tokens',
  effect: 'read',
  text: `
    select asked.position, ${TOKEN_COLUMNS}, ${secretColumns('secret')}, ${SEALED_COLUMNS}
    from ${recordset('$1', 'asked', { position: 'int', tokenHashHex: 'text', path: 'text', version: 'int' })}
    cross join lateral (
      select * from scoped_tokens where token_hash = decode(asked."tokenHashHex", 'hex') limit 1
    ) as token
    join agents agent on agent.id = token.agent_id
    ${JOIN_SECRET('left join')}`,
};

const FIND: Statement = {
  name: 'find_secret',
  effect: 'read',
  text: `
    select ${secretColumns('secret')}, ${SEALED_COLUMNS}
    from (select $1::text as path, $2::int as version) as asked
    ${JOIN_SECRET('join')}`,
};

const LIST: Statement = {
  name: 'list_secrets',
  effect: 'read',
  text: `
    select ${secretColumns('secret')} from secrets secret
    where secret.namespace = $1 and secret.key > $2 and ${SECRET_IS_LIVE}
    order by secret.key limit $3`,
};

/** Longest due first. */
const LIST_DUE: Statement = {
  name: 'list_due_secrets',
  effect: 'read',
  text: `
    select ${secretColumns('secret')} from secrets secret
    where (secret.rotation_due_at, secret.path) > ($1::timestamptz, $2)
      and ${SECRET_ROTATION_IS_DUE} and ${SECRET_IS_LIVE} and ($3::text is null or secret.namespace = $3)
    order by secret.rotation_due_at, secret.path limit $4`,
};

/** A namespace's count holds the expired ones, which are few and have an index of their own. */
const LIST_NAMESPACES: Statement = {
  name: 'list_namespaces',
  effect: 'read',
  text: `
    select present.namespace, present.secret_count - coalesce(expired.count, 0)::int as "secretCount"
    from namespaces present
    left join (
      select namespace, count(*) as count from secrets secret where ${SECRET_HAD_EXPIRED} group by namespace
    ) as expired on expired.namespace = present.namespace
    where present.namespace > $1 and present.secret_count > coalesce(expired.count, 0)
    order by present.namespace limit $2`,
};

interface SealedRow {
  /** Null where that version does not exist or may not be read any more. */
  readonly heldVersion: number | null;
  readonly wrappedKey: Uint8Array;
  readonly kekId: string;
  readonly nonce: Uint8Array;
  readonly ciphertext: Uint8Array;
  readonly rowsRead: string;
}

type HeldRow = SecretRow & SealedRow;
/** A left join: every column of the secret is null where there is none. */
type AskedRow = { readonly position: number } & TokenRow & (HeldRow | { readonly id: null });

interface Asked {
  readonly tokenHashHex: string;
  readonly path: string | undefined;
  readonly version: number | undefined;
}

export function createSecretReader(database: Database, seals: RowSeals): SecretReader {
  const presented = createPresentedTokens(database.memories, seals);
  const questions = createBatcher<Asked, { row: AskedRow | undefined }>({
    // Nothing is locked, so any order will do.
    orderKey: () => '',
    run: async (asked) => {
      const rows = await database.query<AskedRow>(FIND_BY_TOKENS, [JSON.stringify(asked.map(rowOf))]);
      const byPosition = new Map(rows.map((row) => [row.position, row]));
      return asked.map((_, position) => ({ row: byPosition.get(position) }));
    },
  });
  return {
    findByToken: async (asked) => {
      const { row } = await questions.submit(asked);
      // Not in the group: a row that cannot be read is the fault of one request, not of all.
      if (row === undefined) return undefined;
      return {
        token: presented(row),
        found: row.id === null ? undefined : foundOf(row, asked.version, seals),
      };
    },
    find: async ({ path, version }) => {
      const [row] = await database.query<HeldRow>(FIND, [path, version ?? null]);
      return row === undefined ? undefined : foundOf(row, version, seals);
    },
    list: async ({ namespace, limit, after }) =>
      (await database.query<SecretRow>(LIST, [namespace, after ?? '', limit])).map(secretRecordOf),
    listDue: async ({ namespace, limit, after }) => {
      const from = after === undefined ? ['-infinity', ''] : [after.dueAt.toISOString(), after.path];
      const rows = await database.query<SecretRow>(LIST_DUE, [...from, namespace ?? null, limit]);
      return rows.map(secretRecordOf);
    },
    listNamespaces: ({ limit, after }) => database.query(LIST_NAMESPACES, [after ?? '', limit]),
  };
}

function rowOf({ tokenHashHex, path, version }: Asked, position: number) {
  return { position, tokenHashHex, path, version };
}

function foundOf(row: HeldRow, asked: number | undefined, seals: RowSeals): FoundSecret {
  const { wrappedKey, kekId, nonce, ciphertext, rowsRead } = row;
  const sealed = row.heldVersion === null ? undefined : { wrappedKey, kekId, nonce, ciphertext };
  const isWhole = seals.fits(judgedRow('secrets', row));
  return { secret: secretRecordOf(row), version: asked ?? row.version, sealed, rowsRead, isWhole };
}
