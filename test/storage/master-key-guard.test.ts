/** No statement writes a seal or a wrap under a master key that is not active, but for the 10 s after it was. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WritError } from '../../src/errors.ts';
import type { Database } from '../../src/storage/engine/database.ts';
import { SEALED_TABLES } from '../../src/storage/engine/sealed-rows.ts';
import { INACTIVE_MASTER_KEY, sqlStateOf } from '../../src/storage/engine/storage-errors.ts';
import { TEST_KEK } from '../support/test-seals.ts';
import { storedAgent } from './builders.ts';
import { BACKENDS, rows } from './opened.ts';

const OTHER = 'ab'.repeat(8);
const isRefused = (error: unknown): boolean =>
  error instanceof WritError && error.code === 'UNAVAILABLE' && sqlStateOf(error) === INACTIVE_MASTER_KEY;

/** One row of each table, made of nothing but what it must have. */
const ROWS: Readonly<Record<string, string>> = {
  agents: `agents (id, name, role, seal) values (gen_random_uuid(), gen_random_uuid()::text, 'agent', SEAL)`,
  api_keys: `api_keys (key_id, agent_id, prefix, hash, seal)
    select gen_random_uuid()::text, id, 'x', 'x', SEAL from agents limit 1`,
  scoped_tokens: `scoped_tokens (id, token_hash, agent_id, key_id, scopes, created_at, expires_at, seal)
    values (gen_random_uuid(), sha256(gen_random_uuid()::text::bytea), gen_random_uuid(), 'k', '{}', now(), now(), SEAL)`,
  secrets: `secrets (id, path, namespace, key, secret_type, access_tier, tags, seal)
    select gen_random_uuid(), 'n/' || name, 'n', name, 'custom', 'standard', '{}', SEAL
    from (select gen_random_uuid()::text as name) as made`,
  signing_keys: `signing_keys (kid, public_key, wrapped_private_key, kek_id, state, seal)
    values (gen_random_uuid()::text, '', '', 'KEK', 'retiring', SEAL)`,
  settings: `settings (name, value, seal) values (gen_random_uuid()::text, 'x', SEAL)`,
  approvals: `approvals (id, agent_id, scopes, ttl_seconds, access_tier, approvals_required, delay_seconds, window_seconds,
      request_digest, created_at, expires_at, seal)
    values (gen_random_uuid()::text, gen_random_uuid(), '{}', 1, 'standard', 1, 1, 1, '', now(), now(), SEAL)`,
  approval_votes: `approval_votes (approval_id, approver_id, seal) select id, gen_random_uuid(), SEAL from approvals limit 1`,
  webhook_outbox: `webhook_outbox (id, payload, seal) values (gen_random_uuid(), '{}', SEAL)`,
  secret_versions: `secret_versions (secret_id, version, wrapped_key, kek_id, nonce, ciphertext)
    select id, (random() * 1000000)::int, '', 'KEK', '', '' from secrets limit 1`,
};

test('each table that has a seal or names a key is looked after', () => {
  assert.deepEqual(
    Object.keys(ROWS).toSorted(),
    [...Object.keys(SEALED_TABLES), 'secret_versions'].toSorted(),
  );
});

for (const backend of BACKENDS) {
  test(`a write under a key that is not active, on ${backend.name}`, { skip: backend.skip }, async (t) => {
    const database = await backend.openMigrated(t);
    await storedAgent(database);
    const list = (state: string, ago: string) =>
      rows(
        database,
        `insert into master_keys (kek_id, check_value, state, since) values ($1, '', $2, clock_timestamp() - $3::interval)
         on conflict (kek_id) do update set state = excluded.state, since = excluded.since`,
        [OTHER, state, ago],
      );
    const insert = (table: string, kekId: string) =>
      rows(
        database,
        `insert into ${(ROWS[table] ?? '')
          .replaceAll('SEAL', `decode('${kekId}' || repeat('00', 32), 'hex')`)
          .replaceAll('KEK', kekId)} returning ctid`,
      );
    const update = (table: string, kekId: string) =>
      rows(
        database,
        table === 'secret_versions'
          ? `update secret_versions set kek_id = '${kekId}' where kek_id = '${TEST_KEK.kekId}'`
          : `update ${table} set seal = decode('${kekId}' || repeat('00', 32), 'hex')
             where substring(seal from 1 for 8) = decode('${TEST_KEK.kekId}', 'hex')`,
      );
    for (const table of Object.keys(ROWS)) {
      await insert(table, TEST_KEK.kekId);
      for (const [state, ago] of [
        ['retiring', '10 s'],
        ['retired', '1 s'],
        [undefined, ''],
      ] as const) {
        if (state === undefined) await rows(database, 'delete from master_keys where kek_id = $1', [OTHER]);
        else await list(state, ago);
        const what = `${table}, ${state ?? 'not listed'}`;
        await assert.rejects(insert(table, OTHER), isRefused, what);
        await assert.rejects(update(table, OTHER), isRefused, what);
      }
      await list('retiring', '1 s');
      await insert(table, OTHER);
      await update(table, OTHER);
    }
    await assert.rejects(
      rows(database, `update signing_keys set kek_id = 'ffffffffffffffff'`),
      isRefused,
      'a wrap beside a seal',
    );
    await isUnmoved(database);
  });
}

/** What ends a row takes its seal away, and what counts leaves it: under whichever key it is. */
async function isUnmoved(database: Database): Promise<void> {
  await rows(database, 'delete from master_keys');
  await rows(database, 'update scoped_tokens set uses = uses + 1');
  await rows(database, 'update agents set revoked_at = now(), seal = null');
  await rows(database, `update secrets set seal = seal`);
}
