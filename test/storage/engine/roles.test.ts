/** What a start demands before it serves: rights, migrations, durability, the right keys and settings. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { generateApiKey } from '../../../src/keys/credentials/api-key-hash.ts';
import { startCluster } from '../../support/cluster.ts';
import { runHere } from '../../support/command-line.ts';
import { createClient, printedKey, TEST_MASTER_KEY } from '../../support/issuing.ts';
import { createEmptyTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { startNode, startServer } from '../../support/processes.ts';
import { SERVER } from '../../support/programs.ts';

const BASE = { PORT: '0', LOG_LEVEL: 'silent' };
const skip = postgresSkip;

/** Starts a server that is expected to end by itself. */
async function refusedStart(
  t: TestContext,
  env: Record<string, string>,
): Promise<{ code: number | null; said: string }> {
  const started = await startNode(t, [SERVER], { ...BASE, ...env });
  const code = await started.ended;
  assert.equal(started.stdout(), '');
  return { code, said: started.stderr() };
}

async function query(url: string, statement: string): Promise<pg.QueryResultRow[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(statement)).rows as pg.QueryResultRow[];
  } finally {
    await client.end();
  }
}

/** What the serving role needs; nothing of it lets the role change a table's shape or an event. */
const GRANTS = `
  grant usage on schema public to serving;
  grant select, insert, update on all tables in schema public to serving;
  grant delete on idempotency_keys to serving;
  revoke all on schema_migrations, audit_events, audit_events_default from serving;
  grant select on schema_migrations to serving;
  grant select, insert on audit_events to serving`;

test('a role that owns nothing is sent to `writ migrate` first, and serves after it with minimal grants', {
  skip,
}, async (t) => {
  const cluster = await startCluster();
  t.after(() => cluster.remove());
  const owner = { DATABASE_URL: cluster.url, MASTER_KEY: TEST_MASTER_KEY };
  await query(cluster.url, 'create role serving login');
  const url = new URL(cluster.url);
  url.username = 'serving';
  const serving = { DATABASE_URL: url.href, MASTER_KEY: TEST_MASTER_KEY };

  const refused = await refusedStart(t, serving);
  assert.equal(refused.code, 2);
  assert.match(refused.said, /`writ migrate`/);
  const asServing = await runHere(['migrate'], serving);
  assert.equal(asServing.code, 2);
  assert.match(asServing.stderr, /as the owner/);

  const migrated = await runHere(['migrate', '--json'], owner);
  assert.equal(migrated.code, 0, migrated.stderr);
  assert.ok((JSON.parse(migrated.stdout) as { applied: number }).applied >= 1);
  await query(cluster.url, GRANTS);

  const server = await startServer(t, { ...BASE, ...serving });
  const client = createClient(server.url, printedKey(server.stdout()));
  t.after(() => client.close());
  assert.equal((await client.issue())?.status, 200);
  assert.equal((await fetch(`${server.url}/ready`)).status, 200);
  for (const statement of [
    'drop trigger audit_events_no_row_change on audit_events',
    'delete from audit_events',
  ]) {
    await assert.rejects(query(url.href, statement), { code: '42501' });
  }

  // A migration that is pending again stops the next start of the same role.
  await query(
    cluster.url,
    'delete from schema_migrations where id = (select max(id) from schema_migrations)',
  );
  const later = await refusedStart(t, serving);
  assert.equal(later.code, 2);
  assert.match(later.said, /`writ migrate`/);
});

test('a database migrated by a newer version is left alone', { skip }, async (t) => {
  const { url } = await createEmptyTestDatabase(t);
  const env = { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  assert.equal((await runHere(['migrate'], env)).code, 0);
  await query(url, "insert into schema_migrations (hash, created_at) values ('of the future', 0)");
  const refused = await refusedStart(t, env);
  assert.equal(refused.code, 2);
  assert.match(refused.said, /newer Writ/);
});

for (const setting of ['fsync', 'full_page_writes', 'synchronous_commit']) {
  test(`a database with ${setting} off is refused by name, unless that is accepted`, { skip }, async (t) => {
    const cluster = await startCluster({ settings: { [setting]: 'off' } });
    t.after(() => cluster.remove());
    const env = { DATABASE_URL: cluster.url, MASTER_KEY: TEST_MASTER_KEY };
    const refused = await refusedStart(t, env);
    assert.equal(refused.code, 2);
    assert.match(refused.said, new RegExp(`\\b${setting}\\b.*ACCEPT_UNSAFE_DURABILITY=1`, 's'));
    assert.deepEqual(
      await query(cluster.url, "select 1 from information_schema.tables where table_name = 'agents'"),
      [],
      'nothing was made',
    );
    const server = await startServer(t, { ...BASE, ...env, ACCEPT_UNSAFE_DURABILITY: '1' });
    assert.equal((await fetch(`${server.url}/ready`)).status, 200);
  });
}

test('another master key is refused in clear words, and the database stays usable with the right one', {
  skip,
}, async (t) => {
  const { url } = await createEmptyTestDatabase(t);
  const right = { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  await (await startServer(t, { ...BASE, ...right })).stop();
  const wrong = 'ab'.repeat(32);
  const refused = await refusedStart(t, { ...right, MASTER_KEY: wrong });
  assert.equal(refused.code, 2);
  assert.match(refused.said, /master key does not match this database\. Set MASTER_KEY or MASTER_KEY_FILE/);
  assert.ok(!refused.said.includes(wrong));
  assert.equal((await fetch(`${(await startServer(t, { ...BASE, ...right })).url}/ready`)).status, 200);
});

test('a missing master key file is refused once the database holds what it wrapped, and is not made anew', {
  skip,
}, async (t) => {
  const { url } = await createEmptyTestDatabase(t);
  const folder = await mkdtemp(join(tmpdir(), 'writ-test-master-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const env = { DATABASE_URL: url, MASTER_KEY_FILE: join(folder, 'master.key') };
  await (await startServer(t, { ...BASE, ...env })).stop();
  await rm(env.MASTER_KEY_FILE);
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const refused = await refusedStart(t, env);
    assert.equal(refused.code, 2);
    assert.match(refused.said, /master\.key is missing/);
  }
});

test('an issuer or audience that differs is refused until `writ settings set` changes it for all', {
  skip,
}, async (t) => {
  const { url } = await createEmptyTestDatabase(t);
  const env = { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  const first = { ISSUER_URL: 'https://one.example', TOKEN_AUDIENCE: 'one' };
  await (await startServer(t, { ...BASE, ...env, ...first })).stop();
  await (await startServer(t, { ...BASE, ...env })).stop();

  for (const [variable, setting, value] of [
    ['ISSUER_URL', 'issuer_url', 'https://two.example'],
    ['TOKEN_AUDIENCE', 'token_audience', 'two'],
  ] as const) {
    const refused = await refusedStart(t, { ...env, [variable]: value });
    assert.equal(refused.code, 2);
    assert.match(refused.said, new RegExp(`writ settings set ${setting} ${value}`));
    const set = await runHere(['settings', 'set', setting, value], env);
    assert.equal(set.code, 0, set.stderr);
  }
  const server = await startServer(t, {
    ...BASE,
    ...env,
    ISSUER_URL: 'https://two.example',
    TOKEN_AUDIENCE: 'two',
  });
  await server.stop();
  assert.equal((await refusedStart(t, { ...env, ...first })).code, 2);
});

test('whatever differs from what is stored is told at once: issuer, audience and master key', {
  skip,
}, async (t) => {
  const { url } = await createEmptyTestDatabase(t);
  const env = { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  const stored = { ISSUER_URL: 'https://one.example', TOKEN_AUDIENCE: 'one' };
  await (await startServer(t, { ...BASE, ...env, ...stored })).stop();
  const others = { ISSUER_URL: 'https://two.example', TOKEN_AUDIENCE: 'two' };
  const aboutSettings = [
    /^ISSUER_URL is https:\/\/two\.example, but the database stores https:\/\/one\.example\./,
    /^TOKEN_AUDIENCE is two, but the database stores one\./,
  ];
  const faultsOf = async (given: Record<string, string>): Promise<string[]> => {
    const { code, said } = await refusedStart(t, { ...env, ...given });
    assert.equal(code, 2, said);
    return [...said.matchAll(/^ {2}- (.*)$/gm)].map(([, fault = '']) => fault);
  };
  const assertTold = (faults: readonly string[], wanted: readonly RegExp[]): void => {
    assert.equal(faults.length, wanted.length, faults.join('\n'));
    for (const [index, form] of wanted.entries()) assert.match(faults[index] ?? '', form);
  };
  assertTold(await faultsOf(others), aboutSettings);
  const wrong = { MASTER_KEY: 'ab'.repeat(32) };
  assertTold(await faultsOf({ ...others, ...wrong }), [
    /master key does not match this database\. Set MASTER_KEY or MASTER_KEY_FILE/,
    ...aboutSettings,
  ]);
  await (await startServer(t, { ...BASE, ...env, ...stored })).stop();
});

test('a malformed BOOTSTRAP_ADMIN_KEY stops the start, unrepeated, before anything is made', {
  skip,
}, async (t) => {
  const { url } = await createEmptyTestDatabase(t);
  const { text } = generateApiKey();
  const mistyped = `${text.slice(0, -1)}${text.endsWith('0') ? '1' : '0'}`;
  for (const key of ['hunter2', mistyped]) {
    const refused = await refusedStart(t, {
      DATABASE_URL: url,
      MASTER_KEY: TEST_MASTER_KEY,
      BOOTSTRAP_ADMIN_KEY: key,
    });
    assert.equal(refused.code, 2);
    assert.match(refused.said, /BOOTSTRAP_ADMIN_KEY/);
    assert.ok(!refused.said.includes(key));
  }
  assert.deepEqual(
    await query(url, "select 1 from information_schema.tables where table_name = 'agents'"),
    [],
  );
});

test('BOOTSTRAP_ADMIN_KEY is used by the first start only, and printed by none', { skip }, async (t) => {
  const { url } = await createEmptyTestDatabase(t);
  const env = { ...BASE, DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  const first = generateApiKey().text;
  const second = generateApiKey().text;
  const made = await startServer(t, { ...env, LOG_LEVEL: 'trace', BOOTSTRAP_ADMIN_KEY: first });
  await made.stop();
  assert.doesNotMatch(made.stdout() + made.stderr(), /ak_live_|API key, shown this once/);
  const server = await startServer(t, { ...env, BOOTSTRAP_ADMIN_KEY: second });
  assert.doesNotMatch(server.stdout(), /ak_live_/);
  const status = async (key: string) => {
    const client = createClient(server.url, key);
    const answer = await client.send('GET', '/v1/me');
    client.close();
    return answer?.status;
  };
  assert.equal(await status(first), 200);
  assert.equal(await status(second), 401);
});

test('a revoked last administrator brings no new one by a start, and `writ key create` is the way back in', {
  skip,
}, async (t) => {
  const { url } = await createEmptyTestDatabase(t);
  const env = { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  const key = generateApiKey();
  await (await startServer(t, { ...BASE, ...env, BOOTSTRAP_ADMIN_KEY: key.text })).stop();
  assert.equal((await runHere(['key', 'revoke', key.keyId], env)).code, 0);
  await query(url, "update agents set revoked_at = clock_timestamp() where role = 'admin'");
  const server = await startServer(t, { ...BASE, ...env, BOOTSTRAP_ADMIN_KEY: generateApiKey().text });
  assert.doesNotMatch(server.stdout(), /ak_live_/);
  assert.deepEqual(await query(url, 'select count(*)::int as n from agents'), [{ n: 1 }]);
  const made = await runHere(['key', 'create', '--role', 'admin', '--name', 'back', '--json'], env);
  const client = createClient(server.url, (JSON.parse(made.stdout) as { api_key: string }).api_key);
  t.after(() => client.close());
  assert.equal((await client.send('GET', '/v1/agents'))?.status, 200);
});
