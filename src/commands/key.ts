/** `writ key create` and `writ key revoke`: the way back in when no administrator's key is at hand. */

import { parseArgs } from 'node:util';
import { ROLES, type Role } from '../domain/principals/role.ts';
import { makeApiKey } from '../keys/credentials/api-key-hash.ts';
import { newId } from '../platform/ids.ts';
import type { Database } from '../storage/engine/database.ts';
import { createAgentStore } from '../storage/principals/agent-store.ts';
import { createCredentialStore } from '../storage/principals/api-key-store.ts';
import type { RequestContext } from '../use-cases/audit/ports.ts';
import { type AgentManager, createAgentManager } from '../use-cases/principals/manage-principals.ts';
import { type Command, print, UsageError } from './command.ts';
import { withDatabase } from './database.ts';

const AT_THE_COMMAND_LINE: RequestContext = { requestId: 'command-line', ipAddress: null };

export const key: Command = {
  summary: 'create a principal with its API key, or revoke a key',
  usage: `writ key create --role ${ROLES.join('|')} --name NAME [--scope SCOPE]... [--json]
writ key revoke KEY_ID [--json]

  --scope   may be given several times; agents only
  KEY_ID    the 16 hex characters behind ak_live_ or ak_test_`,
  run: async (args, env) => {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        role: { type: 'string' },
        name: { type: 'string' },
        scope: { type: 'string', multiple: true },
        json: { type: 'boolean', default: false },
      },
    });
    const [action, keyId, ...rest] = positionals;
    const takesNothingElse = rest.length === 0 && (values.role ?? values.name ?? values.scope) === undefined;
    if (action === 'create' && keyId === undefined) {
      const role = ROLES.find((candidate) => candidate === values.role);
      if (role === undefined) throw new UsageError(`--role must be one of ${ROLES.join(', ')}`);
      if (!values.name) throw new UsageError('--name is required');
      return create(env, { role, name: values.name, scopes: values.scope ?? null, json: values.json });
    }
    if (action === 'revoke' && keyId !== undefined && takesNothingElse)
      return revoke(env, keyId, values.json);
    throw new UsageError('say "create" or "revoke KEY_ID"');
  },
};

async function create(
  env: NodeJS.ProcessEnv,
  wanted: { role: Role; name: string; scopes: string[] | null; json: boolean },
): Promise<number> {
  return withDatabase(env, ['BCRYPT_COST'], async ({ database, config }) => {
    const created = await managerOf(database, config.bcryptCost).create(
      {
        name: wanted.name,
        role: wanted.role,
        email: null,
        description: null,
        allowedScopes: wanted.scopes,
        allowedNamespaces: null,
        policy: null,
        keyExpiresAt: null,
      },
      'system',
      AT_THE_COMMAND_LINE,
    );
    const facts = { id: created.agent.id, name: wanted.name, role: wanted.role, key_id: created.keyId };
    print(
      wanted.json,
      { ...facts, api_key: created.apiKey },
      `${wanted.role} ${wanted.name} (${created.agent.id})\nAPI key, shown this once:\n\n  ${created.apiKey}\n`,
    );
    return 0;
  });
}

async function revoke(env: NodeJS.ProcessEnv, keyId: string, json: boolean): Promise<number> {
  return withDatabase(env, ['BCRYPT_COST'], async ({ database, config }) => {
    const stored = await createCredentialStore(database).findKey(keyId);
    if (stored === undefined) {
      process.stderr.write(`There is no key ${keyId}.\n`);
      return 1;
    }
    const target = { agent: stored.caller.principal.id, keyId };
    await managerOf(database, config.bcryptCost).revokeKey(target, 'system', AT_THE_COMMAND_LINE);
    print(
      json,
      { key_id: keyId, revoked: true },
      `Key ${keyId} of ${stored.caller.principal.name} is revoked.`,
    );
    return 0;
  });
}

function managerOf(database: Database, bcryptCost: number): AgentManager {
  return createAgentManager({
    store: createAgentStore(database),
    newId,
    now: () => new Date(),
    makeKey: () => makeApiKey(bcryptCost),
    denyCaller: { deadKey: neverRefused, forbid: neverRefused },
  });
}

/** Whoever holds the database is refused nothing: these commands are the way back in. */
async function neverRefused(): Promise<never> {
  throw new Error('the command line has no caller to refuse');
}
