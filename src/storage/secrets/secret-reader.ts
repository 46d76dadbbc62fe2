/** What a request reads of tokens and secrets before its guarded write, many requests in one statement. */

import type { JsonObject } from '../../domain/json/strict-json.ts';
import { type AddressBlock, parseAddressBlocks } from '../../domain/network/ip-address.ts';
import type { Role } from '../../domain/principals/role.ts';
import { grantedScopes } from '../../domain/scopes/granted-scopes.ts';
import { parseGrantedScope, type Scope } from '../../domain/scopes/scope.ts';
import type { AccessTier } from '../../domain/secrets/access-tier.ts';
import type { TokenState } from '../../domain/secrets/secret-authorization.ts';
import type {
  FoundSecret,
  PresentedToken,
  SecretReader,
  SecretRecord,
} from '../../use-cases/secrets/ports.ts';
import { createBatcher } from '../engine/batcher.ts';
import { createBoundedMemo } from '../engine/bounded-memo.ts';
import type { Database, Statement } from '../engine/database.ts';
import { SECRET_HAD_EXPIRED, SECRET_IS_LIVE, TOKEN_STATE } from '../engine/liveness-sql.ts';

const SECRET_COLUMNS = `
      secret.id as secret_id, secret.path, secret.namespace, secret.key, secret.version, secret.secret_type,
      secret.access_tier, secret.metadata, secret.description, secret.tags,
      secret.created_at, secret.updated_at, secret.expires_at`;

/** Another text as soon as either row is written: `xmin` is the transaction that wrote a row as it is. */
export const ROWS_READ = `secret.xmin::text || ' ' || held.xmin::text`;

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

const SEALED_COLUMNS = `
      held.version as held_version, held.wrapped_key, held.kek_id, held.nonce, held.ciphertext,
      ${ROWS_READ} as rows_read`;

const FIND_BY_TOKENS: Statement = {
  name: 'find_secrets_by_tokens',
  effect: 'read',
  text: `
    select asked.position, token.id as token_id, token.agent_id, array_to_string(token.scopes, ' ') as scopes,
      array_to_string(token.allowed_ips, ' ') as allowed_ips, token.max_uses is not null as limited,
      token.access_tier as token_tier, ${TOKEN_STATE} as state,
      agent.role as agent_role, agent.revision as agent_revision, agent.allowed_scopes, agent.allowed_namespaces,
      ${SECRET_COLUMNS}, ${SEALED_COLUMNS}
    from json_to_recordset($1::json) as asked (position int, token_hash text, path text, version int)
    cross join lateral (
      select * from scoped_tokens where token_hash = decode(asked.token_hash, 'hex') limit 1
    ) as token
    join agents agent on agent.id = token.agent_id
    ${JOIN_SECRET('left join')}`,
};

const FIND: Statement = {
  name: 'find_secret',
  effect: 'read',
  text: `
    select ${SECRET_COLUMNS}, ${SEALED_COLUMNS}
    from (select $1::text as path, $2::int as version) as asked
    ${JOIN_SECRET('join')}`,
};

const LIST: Statement = {
  name: 'list_secrets',
  effect: 'read',
  text: `
    select ${SECRET_COLUMNS} from secrets secret
    where secret.namespace = $1 and secret.key > $2 and ${SECRET_IS_LIVE}
    order by secret.key limit $3`,
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

export interface SecretRow {
  secret_id: string;
  path: string;
  namespace: string;
  key: string;
  version: number;
  secret_type: string;
  access_tier: AccessTier;
  metadata: string | null;
  description: string | null;
  tags: string[];
  created_at: Date;
  updated_at: Date;
  expires_at: Date | null;
}

interface HeldRow extends SecretRow {
  held_version: number | null;
  wrapped_key: Uint8Array;
  kek_id: string;
  nonce: Uint8Array;
  ciphertext: Uint8Array;
  rows_read: string;
}

interface TokenRow {
  position: number;
  token_id: string;
  agent_id: string;
  scopes: string;
  allowed_ips: string | null;
  limited: boolean;
  token_tier: AccessTier;
  state: TokenState;
  agent_role: Role;
  agent_revision: number;
  allowed_scopes: string[] | null;
  allowed_namespaces: string[] | null;
}

interface Asked {
  readonly tokenHashHex: string;
  readonly path: string | undefined;
  readonly version: number | undefined;
}

const REMEMBERED = 10_000;

export function createSecretReader(database: Database): SecretReader {
  const presented = createPresentedTokens();
  const questions = createBatcher<Asked, { row: (TokenRow & HeldRow) | undefined }>({
    // Nothing is locked, so any order will do.
    orderKey: () => '',
    run: async (asked) => {
      const rows = await database.query<TokenRow & HeldRow>(FIND_BY_TOKENS, [
        JSON.stringify(asked.map(rowOf)),
      ]);
      const byPosition = new Map(rows.map((row) => [row.position, row]));
      return asked.map((_, position) => ({ row: byPosition.get(position) }));
    },
  });
  return {
    findByToken: async (asked) => {
      const { row } = await questions.submit(asked);
      // Not in the group: a row that cannot be read is the fault of one request, not of all.
      return row && { token: presented(row), found: foundOf(row, asked.version) };
    },
    find: async ({ path, version }) => {
      const [row] = await database.query<HeldRow>(FIND, [path, version ?? null]);
      return row === undefined ? undefined : foundOf(row, version);
    },
    list: async ({ namespace, limit, after }) =>
      (await database.query<SecretRow>(LIST, [namespace, after ?? '', limit])).map(secretRecordOf),
    listNamespaces: ({ limit, after }) => database.query(LIST_NAMESPACES, [after ?? '', limit]),
  };
}

function rowOf({ tokenHashHex, path, version }: Asked, position: number) {
  return { position, token_hash: tokenHashHex, path, version };
}

export function secretRecordOf(row: SecretRow): SecretRecord {
  return {
    id: row.secret_id,
    path: row.path,
    namespace: row.namespace,
    key: row.key,
    version: row.version,
    secretType: row.secret_type,
    tier: row.access_tier,
    metadata: row.metadata === null ? null : (JSON.parse(row.metadata) as JsonObject),
    description: row.description,
    tags: row.tags,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    expiresAt: row.expires_at,
  };
}

function foundOf(row: HeldRow, asked: number | undefined): FoundSecret | undefined {
  // A left join: null where there is no such secret.
  if ((row.secret_id as string | null) === null) return undefined;
  const sealed =
    row.held_version === null
      ? undefined
      : { wrappedKey: row.wrapped_key, kekId: row.kek_id, nonce: row.nonce, ciphertext: row.ciphertext };
  return { secret: secretRecordOf(row), version: asked ?? row.version, sealed, rowsRead: row.rows_read };
}

/**
 * Scopes and addresses of a token never change, and those of an agent only with its `revision`: each text is parsed,
 * and each pattern compiled, once.
 */
function createPresentedTokens(): (row: TokenRow) => PresentedToken {
  const ofToken = createBoundedMemo<{ scopes: readonly Scope[]; blocks: readonly AddressBlock[] | null }>(
    REMEMBERED,
  );
  const ofOwner = createBoundedMemo<readonly Scope[]>(REMEMBERED);
  return (row) => {
    const { scopes, blocks } = ofToken(row.token_id, () => ({
      scopes: row.scopes.split(' ').map(storedScope),
      blocks: row.allowed_ips === null ? null : storedBlocks(row.allowed_ips.split(' ')),
    }));
    const ownerScopes = ofOwner(`${row.agent_id} ${row.agent_revision}`, () =>
      grantedScopes({
        role: row.agent_role,
        allowedScopes: row.allowed_scopes,
        allowedNamespaces: row.allowed_namespaces,
      }),
    );
    return {
      id: row.token_id,
      agentId: row.agent_id,
      agentRole: row.agent_role,
      agentRevision: row.agent_revision,
      scopes,
      ownerScopes,
      allowedAddresses: blocks,
      limited: row.limited,
      state: row.state,
      tier: row.token_tier,
    };
  };
}

/** What a row grants was validated when it was written; one that no longer parses is a fault, never a grant. */
function storedScope(text: string): Scope {
  const parsed = parseGrantedScope(text);
  if (!parsed.ok) throw new Error('a stored scope does not parse');
  return parsed.scope;
}

function storedBlocks(texts: string[]): readonly AddressBlock[] {
  const parsed = parseAddressBlocks(texts);
  if (!parsed.ok) throw new Error('a stored address list does not parse');
  return parsed.blocks;
}
