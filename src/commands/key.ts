/** `writ key create` and `writ key revoke`: the way back in when no administrator's key is at hand. */

import { InvalidArgumentError, Option } from 'commander';
import type { Config } from '../config.ts';
import { ROLES, type Role } from '../domain/principals/role.ts';
import { WritError } from '../errors.ts';
import { makeApiKey } from '../keys/credentials/api-key-hash.ts';
import { newId } from '../platform/ids.ts';
import type { Database } from '../storage/engine/database.ts';
import { createAgentStore } from '../storage/principals/agent-store.ts';
import { createCredentialStore } from '../storage/principals/api-key-store.ts';
import type { RowSeals } from '../use-cases/ports.ts';
import { type AgentManager, createAgentManager } from '../use-cases/principals/manage-principals.ts';
import {
  AT_THE_COMMAND_LINE,
  type CommandContext,
  type DeclareCommand,
  JSON_FLAG,
  print,
} from './command.ts';
import { MASTER_KEY_VARIABLES, openCommandSeals, withDatabase } from './configured-database.ts';

/** A row is sealed under a key of the master key. */
const WITH_MASTER_KEY = ['BCRYPT_COST', ...MASTER_KEY_VARIABLES] as const;

interface CreateOptions {
  readonly role: Role;
  readonly name: string;
  readonly scope?: readonly string[];
  readonly json?: true;
}

export const declareKey: DeclareCommand = (program, context) => {
  const key = program.command('key').description('create a principal with its API key, or revoke a key');
  key
    .command('create')
    .description('create a principal and print its API key once')
    .addOption(new Option('--role <role>', 'what it may do').choices(ROLES).makeOptionMandatory())
    .requiredOption('--name <name>', 'what it is called', requireText)
    .option('--scope <scope>', 'what an agent may open; may be given several times', collect)
    .option(...JSON_FLAG)
    .action((options: CreateOptions) => create(context, options));
  key
    .command('revoke')
    .description('revoke an API key')
    .argument('<key-id>', 'the 16 hex characters after ak_live_ or ak_test_')
    .option(...JSON_FLAG)
    .action((keyId: string, { json }: { json?: true }) => revoke(context, keyId, json));
};

function requireText(given: string): string {
  if (given === '') throw new InvalidArgumentError('It must not be empty.');
  return given;
}

function collect(given: string, before: readonly string[] = []): readonly string[] {
  return [...before, given];
}

function create(context: CommandContext, { role, name, scope, json }: CreateOptions): Promise<void> {
  return withDatabase(context.env, WITH_MASTER_KEY, async ({ database, config }) => {
    const seals = await openCommandSeals(database, config);
    const created = await managerOf(database, config, seals)
      .create(
        {
          name,
          role,
          email: null,
          description: null,
          allowedScopes: scope ?? null,
          allowedNamespaces: null,
          policy: null,
          keyExpiresAt: null,
        },
        'system',
        AT_THE_COMMAND_LINE,
      )
      .catch(adviseOnName);
    const { apiKey, keyId } = created;
    const { id, name: kept } = created.agent;
    print(context, {
      json,
      value: { id, name: kept, role, key_id: keyId, api_key: apiKey },
      people: `${role} ${kept} (${id})\nAPI key, shown this once:\n\n  ${apiKey}\n`,
    });
  });
}

/** Who lost the key of a principal is not helped by that its name is taken. */
function adviseOnName(error: unknown): never {
  if (!(error instanceof WritError && error.code === 'ALREADY_EXISTS')) throw error;
  throw new WritError(
    error.code,
    `${error.publicMessage} Choose another --name; if the keys of the old one are lost, revoke it then with the new key: DELETE /v1/agents/NAME.`,
  );
}

function revoke(context: CommandContext, keyId: string, json: true | undefined): Promise<void> {
  return withDatabase(context.env, WITH_MASTER_KEY, async ({ database, config }) => {
    const seals = await openCommandSeals(database, config);
    const stored = await createCredentialStore(database, seals).findKey(keyId);
    if (stored === undefined) {
      context.stderr.write(`There is no key ${keyId}.\n`);
      context.exitWith(1);
      return;
    }
    const { id, name } = stored.caller.principal;
    const target = { agent: id, keyId };
    await managerOf(database, config, seals).revokeKey(target, 'system', AT_THE_COMMAND_LINE);
    print(context, {
      json,
      value: { key_id: keyId, revoked: true },
      people: `Key ${keyId} of ${name} is revoked.`,
    });
  });
}

function managerOf(database: Database, { bcryptCost }: Config, seals: RowSeals): AgentManager {
  return createAgentManager({
    store: createAgentStore(database, seals),
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
