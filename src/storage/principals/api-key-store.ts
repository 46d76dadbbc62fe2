/** API keys as the authenticator reads them: one row, joined with its agent, judged by the database clock. */

import { parseAgentPolicy } from '../../domain/policies/policy.ts';
import type { Role } from '../../domain/principals/role.ts';
import { grantedScopes } from '../../domain/scopes/granted-scopes.ts';
import type { CredentialStore, Principal, StoredKey } from '../../use-cases/authentication/ports.ts';
import type { Database, Statement } from '../engine/database.ts';
import { hasExpired, isRevoked } from '../engine/liveness-sql.ts';

const FIND_KEY: Statement = {
  name: 'find_api_key',
  effect: 'read',
  text: `
    select key.key_id, key.prefix, key.hash,
      ${isRevoked('key')} or ${isRevoked('agent')} as revoked, ${hasExpired('key')} as expired,
      agent.id, agent.name, agent.role, agent.allowed_scopes, agent.allowed_namespaces, agent.policy, agent.revision
    from api_keys key join agents agent on agent.id = key.agent_id
    where key.key_id = $1`,
};

/** The condition makes it at most one write a minute and key, however many processes serve. */
const NOTE_USE: Statement = {
  name: 'note_api_key_use',
  effect: 'write',
  text: `
    update api_keys set last_used_at = clock_timestamp()
    where key_id = $1 and (last_used_at is null or last_used_at < clock_timestamp() - interval '55 seconds')`,
};

interface KeyRow {
  key_id: string;
  prefix: string;
  hash: string;
  revoked: boolean;
  expired: boolean;
  id: string;
  name: string;
  role: Role;
  allowed_scopes: string[] | null;
  allowed_namespaces: string[] | null;
  policy: string | null;
  revision: number;
}

export function createCredentialStore(database: Database): CredentialStore {
  return {
    findKey: async (keyId) => {
      const [row] = await database.query<KeyRow>(FIND_KEY, [keyId]);
      return row === undefined ? undefined : storedKey(row);
    },
    noteUse: async (keyId) => void (await database.query(NOTE_USE, [keyId])),
  };
}

function storedKey(row: KeyRow): StoredKey {
  return {
    caller: { principal: principalOf(row), keyId: row.key_id, keyPrefix: row.prefix },
    hash: row.hash,
    revoked: row.revoked,
    expired: row.expired,
  };
}

/** What the row grants was validated when it was written; a row that no longer parses is a fault, never a grant. */
function principalOf(row: KeyRow): Principal {
  const policy = row.policy === null ? null : parseAgentPolicy(JSON.parse(row.policy));
  if (policy?.ok === false) throw new Error(`agent ${row.id} has a policy that does not parse`);
  return {
    id: row.id,
    name: row.name,
    role: row.role,
    policy: policy?.policy ?? null,
    effectiveScopes: grantedScopes({
      role: row.role,
      allowedScopes: row.allowed_scopes,
      allowedNamespaces: row.allowed_namespaces,
    }),
    revision: row.revision,
  };
}
