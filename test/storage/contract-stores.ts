/** The stores under contract on one database, and what every part of the contract asks of it. */
import { after, before } from 'node:test';
import { LEAVING_SECONDS } from '../../src/domain/signing-keys/key-rotation.ts';
import { createAuditTrail } from '../../src/storage/audit/audit-store.ts';
import type { Database } from '../../src/storage/engine/database.ts';
import { createIntentTokenStore } from '../../src/storage/intent-tokens/intent-token-store.ts';
import { createAgentStore } from '../../src/storage/principals/agent-store.ts';
import { createCredentialStore } from '../../src/storage/principals/api-key-store.ts';
import { createScopedTokenStore } from '../../src/storage/scoped-tokens/scoped-token-store.ts';
import { createSecretReader } from '../../src/storage/secrets/secret-reader.ts';
import { createSecretStore } from '../../src/storage/secrets/secret-store.ts';
import { createSecretUses } from '../../src/storage/secrets/secret-use-store.ts';
import type { EventType } from '../../src/use-cases/audit/ports.ts';
import type { NewAgent } from '../../src/use-cases/principals/ports.ts';
import type {
  CredentialGuard,
  SecretChange,
  SecretReader,
  SecretRecord,
  SecretStore,
  SecretUses,
} from '../../src/use-cases/secrets/ports.ts';
import { TEST_KEK, TEST_SEALS } from '../support/test-seals.ts';
import { anEvent, aSigningKey, storedAgent } from './builders.ts';
import type { FiveStores, TokenChange } from './five-stores.ts';
import { type Backend, rows } from './opened.ts';
import { keyGuard, storedSecret } from './secret-builders.ts';

/** In SQL: its time is over. */
export const EXPIRE = `expires_at = clock_timestamp() - interval '1 ms'`;

/** The stores are there when the first test of the suite runs, not before. */
export interface ContractStores extends FiveStores {
  readonly database: Database;
  readonly reader: SecretReader;
  readonly uses: SecretUses;
  readonly store: SecretStore;
  /** Live and never changed; a test that ends one stores its own. */
  readonly agent: NewAgent;
  sql<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  /** As they stand in the trail, without their ids and times. */
  storedEvents(resourceId: string): Promise<object[]>;
  usesOf(tokenId: string): Promise<number | undefined>;
  /** By the agent's key unless another guard is given. */
  change(
    paths: readonly string[],
    changes: readonly SecretChange[],
    guard?: CredentialGuard,
  ): Promise<readonly SecretRecord[] | 'not_granted'>;
}

/** Inside a suite: opens them before its tests and closes them after. */
export function storesOn(backend: Backend): ContractStores {
  const closers: (() => unknown)[] = [];
  const on = {} as ContractStores;
  const helpers: Partial<ContractStores> = {
    ...pastTheStores(on),
    sql: (text, values = []) => rows(on.database, text, values),
    change: (paths, changes, guard = keyGuard(on.agent)) =>
      on.store.change({ guard, paths }, () => ({
        changes,
        event: anEvent({ eventType: 'secret.updated' }),
      })),
  };
  Object.assign(on, helpers);

  before(async () => {
    const closing = { after: (close: unknown) => void closers.push(close as () => unknown) };
    const database = await backend.openMigrated(closing);
    const agent = await storedAgent(database, { allowedScopes: ['secrets:read:prod/*'] });
    Object.assign(on, {
      database,
      agent,
      agents: createAgentStore(database, TEST_SEALS),
      credentials: createCredentialStore(database, TEST_SEALS),
      intents: createIntentTokenStore(database, TEST_SEALS),
      tokens: createScopedTokenStore(database, TEST_SEALS),
      trail: createAuditTrail(database, TEST_SEALS),
      reader: createSecretReader(database, TEST_SEALS),
      uses: createSecretUses(database, TEST_SEALS),
      store: createSecretStore(database, TEST_SEALS),
    });
  });
  after(async () => {
    for (const close of closers.reverse()) await close();
  });
  return on;
}

/** By statements of the test's own. */
function pastTheStores(on: ContractStores): Partial<ContractStores> {
  return {
    eventsOf: async (resourceId) => {
      const written = await on.sql<{ type: EventType }>(
        'select event_type as type from audit_events where resource_id = $1 order by xact, id',
        [resourceId],
      );
      return written.map(({ type }) => type);
    },
    storedEvents: (resourceId) =>
      on.sql(
        `select event_type, actor_id, actor_type, resource_type, resource_id, metadata, ip_address, request_id
         from audit_events where resource_id = $1 order by xact, id`,
        [resourceId],
      ),
    countEvents: async () =>
      (await on.sql<{ n: number }>('select count(*)::int as n from audit_events'))[0]?.n ?? -1,
    isIssued: async (jti) => (await on.sql('select 1 from intent_tokens where jti = $1', [jti])).length === 1,
    endIntent: (jti, how) =>
      on.sql(
        `update intent_tokens set ${how === 'revoked' ? 'revoked_at = clock_timestamp()' : EXPIRE} where jti = $1`,
        [jti],
      ),
    signerThat: async (does) => {
      const { kid } = aSigningKey();
      const state = { 'is next': 'next', 'is retired': 'retired', 'is compromised': 'compromised' }[
        String(does)
      ];
      // There is one next key at most.
      await on.sql(`delete from signing_keys where state = 'next'`);
      if (does === 'is gone') return kid;
      const left = does === 'has left' ? LEAVING_SECONDS : LEAVING_SECONDS / 2;
      await on.sql(
        `insert into signing_keys (kid, public_key, wrapped_private_key, kek_id, state, state_since, seal)
         select $1, '', held, encode(held, 'hex'), $2, clock_timestamp() - make_interval(secs => $3), held
         from (select case when $2 in ('retired', 'compromised') then null else decode($4, 'hex') end as held) made`,
        [kid, state ?? 'retiring', left, TEST_KEK.kekId],
      );
      return kid;
    },
    compromise: (kid) =>
      on.sql(
        `update signing_keys set state = 'compromised', wrapped_private_key = null, kek_id = null, seal = null
         where kid = $1`,
        [kid],
      ),
    expireKey: (keyId) => on.sql(`update api_keys set ${EXPIRE} where key_id = $1`, [keyId]),
    giveKey: (keyId, toAgentId) =>
      on.sql('update api_keys set agent_id = $2 where key_id = $1', [keyId, toAgentId]),
    changeToken: (id, change) => on.sql(...tokenUpdate(id, change)),
    usesOf: async (id) =>
      (await on.sql<{ uses: number }>('select uses from scoped_tokens where id = $1', [id]))[0]?.uses,
    keepSecret: async (tier) =>
      (await storedSecret(on.database, on.agent, { attributes: { tier } })).record.path,
  };
}

function tokenUpdate(id: string, change: TokenChange): [string, unknown[]] {
  const { expired, revoked, uses, agentId, scopes } = change;
  const set = [
    ...(expired === undefined ? [] : [EXPIRE]),
    ...(revoked === undefined ? [] : ['revoked_at = clock_timestamp()']),
    'uses = coalesce($2, uses)',
    'agent_id = coalesce($3, agent_id)',
    'scopes = coalesce($4, scopes)',
  ];
  return [
    `update scoped_tokens set ${set.join(', ')} where id = $1`,
    [id, uses ?? null, agentId ?? null, scopes ?? null],
  ];
}
