/** The stores under contract on one database, and what every part of the contract asks of it. */
import { after, before } from 'node:test';
import type { Database } from '../../src/storage/engine/database.ts';
import { createAgentStore } from '../../src/storage/principals/agent-store.ts';
import { createScopedTokenStore } from '../../src/storage/scoped-tokens/scoped-token-store.ts';
import { createSecretReader } from '../../src/storage/secrets/secret-reader.ts';
import { createSecretStore } from '../../src/storage/secrets/secret-store.ts';
import { createSecretUses } from '../../src/storage/secrets/secret-use-store.ts';
import type { AgentStore, NewAgent } from '../../src/use-cases/principals/ports.ts';
import type { ScopedTokenStore } from '../../src/use-cases/scoped-tokens/ports.ts';
import type {
  CredentialGuard,
  SecretChange,
  SecretReader,
  SecretRecord,
  SecretStore,
  SecretUses,
} from '../../src/use-cases/secrets/ports.ts';
import { anEvent, aWrite, storedAgent } from './builders.ts';
import { type Backend, rows } from './opened.ts';
import { keyGuard, useTestKek } from './secret-builders.ts';

export const YESTERDAY = new Date(Date.now() - 86_400_000);
export const TOMORROW = new Date(Date.now() + 86_400_000);
/** In SQL: its time is over. */
export const EXPIRE = `expires_at = clock_timestamp() - interval '1 ms'`;

type Ending = Readonly<Record<string, (who: NewAgent) => Promise<unknown>>>;

/** The stores are there when the first test of the suite runs, not before. */
export interface ContractStores {
  readonly database: Database;
  readonly tokens: ScopedTokenStore;
  readonly reader: SecretReader;
  readonly uses: SecretUses;
  readonly store: SecretStore;
  /** Live and never changed; a test that ends one stores its own. */
  readonly agent: NewAgent;
  agents(): AgentStore;
  sql<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  eventsOf(resourceId: string): Promise<{ event_type: string }[]>;
  usesOf(tokenId: string): Promise<number | undefined>;
  /** `how`: what to set of the token's row. */
  endToken(tokenId: string, how: string): Promise<unknown>;
  /** By the agent's key unless another guard is given. */
  change(
    paths: readonly string[],
    changes: readonly SecretChange[],
    guard?: CredentialGuard,
  ): Promise<readonly SecretRecord[] | 'not_granted'>;
  /** What makes an agent other than it was read. */
  readonly noLongerAsRead: Ending;
  /** These, and what makes its key other than it was read. */
  readonly keyIsDead: Ending;
}

/** Inside a suite: opens them before its tests and closes them after. */
export function storesOn(backend: Backend): ContractStores {
  const closers: (() => unknown)[] = [];
  const on = {} as ContractStores;
  const agents = () => createAgentStore(on.database);
  const sql = <Row extends object>(text: string, values: readonly unknown[] = []) =>
    rows<Row>(on.database, text, values);
  const noLongerAsRead: Ending = {
    'its agent is revoked': (who) => agents().revoke(who.id, aWrite()),
    'its agent was changed since': (who) => agents().update(who.id, { description: 'other' }, aWrite()),
  };
  const keyIsDead: Ending = {
    ...noLongerAsRead,
    'the key is revoked': (who) => agents().revokeKey({ agentId: who.id, keyId: who.key.keyId }, aWrite()),
    'the key has expired': (who) => sql(`update api_keys set ${EXPIRE} where key_id = $1`, [who.key.keyId]),
    'the key is another agent’s': (who) =>
      sql('update api_keys set agent_id = $2 where key_id = $1', [who.key.keyId, on.agent.id]),
  };
  const helpers: Partial<ContractStores> = {
    agents,
    sql,
    eventsOf: (resourceId) => sql('select event_type from audit_events where resource_id = $1', [resourceId]),
    usesOf: async (id) =>
      (await sql<{ uses: number }>('select uses from scoped_tokens where id = $1', [id]))[0]?.uses,
    endToken: (id, how) => sql(`update scoped_tokens set ${how} where id = $1`, [id]),
    change: (paths, changes, guard = keyGuard(on.agent)) =>
      on.store.change({ guard, paths }, () => ({
        changes,
        event: anEvent({ eventType: 'secret.updated' }),
      })),
    noLongerAsRead,
    keyIsDead,
  };
  Object.assign(on, helpers);

  before(async () => {
    const closing = { after: (close: unknown) => void closers.push(close as () => unknown) };
    const database = await backend.openMigrated(closing);
    const agent = await storedAgent(database, { allowedScopes: ['secrets:read:prod/*'] });
    await useTestKek(database);
    Object.assign(on, {
      database,
      agent,
      tokens: createScopedTokenStore(database),
      reader: createSecretReader(database),
      uses: createSecretUses(database),
      store: createSecretStore(database),
    });
  });
  after(async () => {
    for (const close of closers.reverse()) await close();
  });
  return on;
}
