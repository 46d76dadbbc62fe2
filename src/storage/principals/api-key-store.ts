/** API keys as the authenticator reads them: one row, joined with its agent, judged by the database clock. */

import { parseAgentPolicy } from '../../domain/policies/policy.ts';
import type { Role } from '../../domain/principals/role.ts';
import { grantedScopes } from '../../domain/scopes/granted-scopes.ts';
import type { CredentialStore, Principal, StoredKey } from '../../use-cases/authentication/ports.ts';
import type { RowSeals } from '../../use-cases/ports.ts';
import type { Database, Statement } from '../engine/database.ts';
import { AGENT_IS_STOPPED, hasExpired, isRevoked, wasNotEndedAt } from '../engine/liveness-sql.ts';
import { epochMs, judgedRow, sealList } from '../engine/sealed-rows.ts';

const FIND_KEY: Statement = {
  name: 'find_api_key',
  effect: 'read',
  text: `
    select key.key_id, key.prefix, key.hash, key.expires_at,
      ${isRevoked('key')} or ${isRevoked('agent')} as revoked, ${hasExpired('key')} as expired,
      ${AGENT_IS_STOPPED} as stopped,
      ${epochMs('key.expires_at')} - ${epochMs('clock_timestamp()')} as lives_ms,
      agent.id, agent.name, agent.role, agent.allowed_scopes, agent.allowed_namespaces, agent.policy, agent.revision,
      ${sealList('api_keys', 'key')}, ${sealList('agents', 'agent')}
    from api_keys key join agents agent on agent.id = key.agent_id
    where key.key_id = $1`,
};

/** Older than what is stored is nothing new, and what came after the end of a key was refused. The rows are taken in one order, so that no two processes wait for each other. */
const NOTE_USES: Statement = {
  name: 'note_api_key_uses',
  effect: 'write',
  text: `
    with used as materialized (
      select key.key_id, sent."at", sent."ipAddress"
      from json_to_recordset($1::json) as sent ("keyId" text, "at" timestamptz, "ipAddress" text)
      join api_keys key on key.key_id = sent."keyId"
      where (key.last_used_at is null or key.last_used_at < sent."at")
        and ${wasNotEndedAt('key', 'sent."at"')}
      order by key.key_id for no key update of key
    )
    update api_keys key set last_used_at = used."at", last_used_ip = used."ipAddress"
    from used where key.key_id = used.key_id`,
};

interface KeyRow {
  key_id: string;
  prefix: string;
  hash: string;
  expires_at: Date | null;
  lives_ms: number | null;
  revoked: boolean;
  expired: boolean;
  stopped: boolean;
  id: string;
  name: string;
  role: Role;
  allowed_scopes: string[] | null;
  allowed_namespaces: string[] | null;
  policy: string | null;
  revision: number;
}

export function createCredentialStore(database: Database, seals: RowSeals): CredentialStore {
  return {
    findKey: async (keyId) => {
      const [row] = await database.query<KeyRow>(FIND_KEY, [keyId]);
      return row === undefined ? undefined : storedKey(row, seals);
    },
    noteUses: async (uses) => void (await database.query(NOTE_USES, [JSON.stringify(uses)])),
  };
}

/** A row that says that it grants nothing is believed without a look at its seal. */
function storedKey(row: KeyRow, seals: RowSeals): StoredKey {
  const { revoked, expired } = row;
  const sealed = revoked || expired || isWhole(row, seals);
  const principal = sealed ? principalOf(row) : withoutAuthority(row);
  return {
    caller: { principal, keyId: row.key_id, keyPrefix: row.prefix, keyExpiresAt: row.expires_at },
    hash: row.hash,
    revoked,
    expired,
    stopped: row.stopped,
    livesMs: row.lives_ms,
    isWhole: sealed,
  };
}

/** Both are looked at, so that both are reported. */
function isWhole(row: KeyRow, seals: RowSeals): boolean {
  const [key, agent] = [seals.fits(judgedRow('api_keys', row)), seals.fits(judgedRow('agents', row))];
  return key && agent;
}

/** What the row grants was validated when it was written; a row that no longer parses is a fault, never a grant. */
function principalOf(row: KeyRow): Principal {
  const policy = row.policy === null ? null : parseAgentPolicy(JSON.parse(row.policy));
  if (policy?.ok === false) throw new Error(`agent ${row.id} has a policy that does not parse`);
  return {
    ...withoutAuthority(row),
    policy: policy?.policy ?? null,
    effectiveScopes: grantedScopes({
      role: row.role,
      allowedScopes: row.allowed_scopes,
      allowedNamespaces: row.allowed_namespaces,
    }),
  };
}

const withoutAuthority = ({ id, name, role, revision }: KeyRow): Principal => ({
  id,
  name,
  role,
  policy: null,
  effectiveScopes: [],
  revision,
});
