/**
 * What every process does before it works with a database: migrate, prove the master keys, settle issuer and
 * audience, and on the first start make a signing key and an administrator. All of it while no other process does.
 */

import type { Config } from '../config.ts';
import { parseApiKey } from '../domain/principals/api-key.ts';
import { PRINCIPAL_NAME } from '../domain/principals/principal-name.ts';
import { generateApiKey, hashApiKey } from '../keys/credentials/api-key-hash.ts';
import type { FollowedMasterKeys } from '../keys/encryption/master-keys.ts';
import { generateSigningKey } from '../keys/signing/signing-key.ts';
import { API_KEY } from '../setting-kinds.ts';
import { keepAuditPartitions } from '../storage/audit/audit-partitions.ts';
import type { Database } from '../storage/engine/database.ts';
import { BEGIN_EPOCH } from '../storage/engine/history.ts';
import { readMigrationState } from '../storage/engine/migrations.ts';
import { readServerFacts } from '../storage/engine/server-facts.ts';
import { sqlStateOf } from '../storage/engine/storage-errors.ts';
import { createAgentStore, hasEverHadAdmin } from '../storage/principals/agent-store.ts';
import { findUnfitNames } from '../storage/principals/principal-names.ts';
import { addSetting, type JudgedSetting, judgeSettings, readSettings } from '../storage/settings-store.ts';
import { addFirstSigningKey, readSigningKeys } from '../storage/signing-keys/signing-key-store.ts';
import { auditEvent, NO_REQUEST, SYSTEM } from '../use-cases/audit/build-audit-event.ts';
import type { RowSeals } from '../use-cases/ports.ts';
import { openSeals } from './open-seals.ts';
import type { RootKeys } from './root-keys.ts';
import { StartError } from './start-error.ts';

const OLDEST_POSTGRES = 150_000;

export interface Provisioned {
  readonly masterKeys: FollowedMasterKeys;
  readonly rootKeys: RootKeys;
  readonly issuer: string;
  readonly audience: string;
  /** The first administrator's key, if this start generated it. Shown once. */
  readonly newAdminKey: string | undefined;
  /** Ids of live principals whose names could not be given any more: they are kept, and told of. */
  readonly unfitNames: readonly string[];
}

/** Rejects with `StartError` for what a person has to mend. */
export async function provision(options: {
  database: Database;
  config: Config;
  newId: () => string;
}): Promise<Provisioned> {
  const { database, config } = options;
  await requireServer(database, config);
  return database.exclusively(async (migrate) => {
    await migrateIfPending(database, migrate);
    // A connection that is older than the migration has not begun it, and the embedded database has no other.
    await database.query(BEGIN_EPOCH, []);
    // A role that may not is told by the job that repeats it.
    await keepAuditPartitions(database);
    const { masterKeys, rootKeys, seals } = await openSeals(options).catch(async (error: unknown) => {
      if (!(error instanceof StartError)) throw error;
      throw new StartError([...error.faults, ...differingSettings(await readSettings(database), config)]);
    });
    const stored = requireSettings(await judgeSettings(database, seals), config);
    const { issuer, audience } = await resolveSettings({ database, config, seals }, stored);
    if (!(await readSigningKeys(database)).some((key) => key.state === 'active')) {
      await addFirstSigningKey(database, generateSigningKey(masterKeys.active()), seals);
    }
    const newAdminKey = await addFirstAdmin(options, seals);
    const unfitNames = await findUnfitNames(database, PRINCIPAL_NAME);
    return { masterKeys, rootKeys, issuer, audience, newAdminKey, unfitNames };
  });
}

async function requireServer(database: Database, config: Config): Promise<void> {
  if (database.kind === 'embedded') return;
  const { versionNumber, unsafeSettings } = await readServerFacts(database);
  if (versionNumber < OLDEST_POSTGRES)
    throw new StartError(['DATABASE_URL must name a PostgreSQL server of version 15 or newer.']);
  if (unsafeSettings.length > 0 && !config.acceptUnsafeDurability) {
    throw new StartError([
      `PostgreSQL runs with ${unsafeSettings.join(', ')} off, so it can lose acknowledged writes. Turn it on, or set ACCEPT_UNSAFE_DURABILITY=1.`,
    ]);
  }
}

export async function migrateIfPending(database: Database, migrate: () => Promise<void>): Promise<number> {
  const { pending, unknown } = await readMigrationState(database);
  if (unknown > 0)
    throw new StartError([
      'The database was migrated by a newer Writ. Start that version of Writ or a later one.',
    ]);
  if (pending === 0) return 0;
  await migrate().catch((error: unknown) => {
    if (sqlStateOf(error) !== '42501') throw error;
    throw new StartError(
      [
        'Migrations are pending, and the database role of DATABASE_URL may not run them. Run `writ migrate` as the owner of the database first.',
      ],
      { cause: error },
    );
  });
  return pending;
}

/** What is stored. Nobody is advised to follow a value that Writ did not write. Throws `StartError`. */
function requireSettings(judged: readonly JudgedSetting[], config: Config): ReadonlyMap<string, string> {
  const forged = judged.filter(({ why }) => why !== undefined);
  const whole = judged.filter(({ why }) => why === undefined);
  const stored = new Map(whole.map(({ name, value }) => [name, value]));
  const faults = [...forged.map(({ name }) => forgedSetting(name)), ...differingSettings(stored, config)];
  if (faults.length > 0) throw new StartError(faults);
  return stored;
}

/** A start that names another value than is stored is refused, so that replicas cannot disagree. */
function differingSettings(stored: ReadonlyMap<string, string>, config: Config): readonly string[] {
  const named = [
    ['issuer_url', config.issuerUrl],
    ['token_audience', config.tokenAudience],
  ] as const;
  return named.flatMap(([name, configured]) => {
    const known = stored.get(name);
    if (known === undefined || configured === undefined || configured === known) return [];
    return [
      `${name.toUpperCase()} is ${configured}, but the database stores ${known}. Set it to the stored value, or change that for all replicas with: writ settings set ${name} ${configured}`,
    ];
  });
}

/** The repair is a command, after looking. */
function forgedSetting(name: string): string {
  const isKnown = name === 'issuer_url' || name === 'token_audience';
  return isKnown
    ? `The stored ${name} is not what Writ wrote. Look at it with: writ settings show. Then set it with: writ settings set ${name} VALUE`
    : `The stored ${JSON.stringify(name)} is not what Writ wrote. Look at it with: writ settings show. No setting has this name: delete the row from settings.`;
}

/** What is stored; the first start stores what it is told. */
async function resolveSettings(
  { database, config, seals }: { database: Database; config: Config; seals: RowSeals },
  stored: ReadonlyMap<string, string>,
): Promise<{ issuer: string; audience: string }> {
  const settle = async (name: string, configured: string | undefined, fallback: string): Promise<string> => {
    const known = stored.get(name);
    if (known === undefined) await addSetting(database, { name, value: configured ?? fallback }, seals);
    return known ?? configured ?? fallback;
  };
  const host = config.host.includes(':') ? `[${config.host}]` : config.host;
  return {
    issuer: await settle('issuer_url', config.issuerUrl, `http://${host}:${config.port}`),
    audience: await settle('token_audience', config.tokenAudience, 'writ'),
  };
}

async function addFirstAdmin(
  options: { database: Database; config: Config; newId: () => string },
  seals: RowSeals,
): Promise<string | undefined> {
  const { database, config, newId } = options;
  if (await hasEverHadAdmin(database)) return undefined;
  const text = config.bootstrapAdminKey ?? generateApiKey().text;
  const parsed = parseApiKey(text);
  if (!parsed.ok) throw new StartError([`BOOTSTRAP_ADMIN_KEY must be ${API_KEY.allowed}`]);
  const id = newId();
  const outcome = await createAgentStore(database, seals).create(
    {
      id,
      name: 'admin',
      role: 'admin',
      email: null,
      description: 'made by the first start',
      allowedScopes: null,
      allowedNamespaces: null,
      policyText: null,
      key: {
        keyId: parsed.key.keyId,
        name: 'bootstrap',
        prefix: parsed.key.prefix24,
        hash: await hashApiKey(text, config.bcryptCost),
        expiresAt: null,
      },
    },
    {
      actorKeyId: null,
      event: auditEvent(SYSTEM, NO_REQUEST, {
        id: newId(),
        type: 'agent.created',
        resource: { type: 'agent', id },
        metadata: { name: 'admin', role: 'admin', key_id: parsed.key.keyId },
      }),
    },
  );
  if (outcome !== 'created')
    throw new StartError([
      'Writ cannot create the first administrator: an active agent is already named "admin", or something that looks like it. Create one with: writ key create --role admin --name NAME',
    ]);
  // Who brought the key has it; what is printed ends in a log.
  return config.bootstrapAdminKey === undefined ? text : undefined;
}
