/**
 * The master key in a key management service: made by the first start, kept wrapped in the database, unwrapped into memory
 * alone, needed at a start and not while a server runs.
 */
import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { transitOf } from '../keys/kms/open-transit.ts';
import { startAwsKmsStandIn } from '../support/aws-kms-stand-in.ts';
import { aFolder } from '../support/command-line.ts';
import { onlyInFullRun } from '../support/effort.ts';
import { A_PLAN, createClient, insist, printedKey, until } from '../support/issuing.ts';
import { adminQuery, createTestDatabase, postgresSkip as skip } from '../support/postgres.ts';
import { startServer } from '../support/processes.ts';
import {
  queryDatabase,
  refusedProcess,
  refusedStart,
  START_ENV,
  startedOnce,
} from '../support/refused-start.ts';
import { TEST_MASTER_KEY } from '../support/test-master-key.ts';
import { startTransitStandIn, type TransitStandIn } from '../support/transit-stand-in.ts';

interface MasterKeyRow {
  readonly kek_id: string;
  readonly state: string;
  readonly wrapped_root: Buffer | null;
}

const LIST = 'select kek_id, state, wrapped_root from master_keys order by since';
const listed = async (url: string) => (await queryDatabase(url, LIST)) as MasterKeyRow[];

/** The settings of a start whose master key this service keeps. */
function vaultOf(standIn: TransitStandIn, key = 'writ') {
  return { MASTER_KEY_KMS: `vault:transit/keys/${key}`, VAULT_ADDR: standIn.url, VAULT_TOKEN: standIn.token };
}

async function aService(t: TestContext): Promise<TransitStandIn> {
  const standIn = await startTransitStandIn(t);
  for (const name of ['writ', 'other']) await standIn.addKey(name);
  return standIn;
}

/** The unwrapped key of the database's first row, as the test alone asks for it. */
async function rootOf(standIn: TransitStandIn, url: string): Promise<Buffer> {
  const [row] = await listed(url);
  return Buffer.from(
    await transitOf(standIn, 'transit/keys/writ').unwrap(row?.wrapped_root ?? assert.fail('no row')),
  );
}

suite('a database on PostgreSQL', { skip }, () => {
  test('the first start makes the key and keeps it wrapped, and a later one unwraps it', async (t) => {
    const standIn = await aService(t);
    const { url } = await createTestDatabase(t);
    const env = { DATABASE_URL: url, ...vaultOf(standIn) };
    await startedOnce(env);
    const [row, ...others] = await listed(url);
    assert.deepEqual([row?.state, others], ['active', []]);
    assert.match(String(row?.wrapped_root), /^vault:v1:/);
    standIn.asked.length = 0;
    await startedOnce(env);
    assert.deepEqual((await listed(url)).map(String), [row].map(String));
    assert.deepEqual(
      standIn.asked.map(({ path }) => path),
      ['/v1/transit/decrypt/writ'],
    );
  });

  test('a start without the service ends in one sentence, with code 2, and leaves the database as it is', async (t) => {
    const standIn = await aService(t);
    const { url } = await createTestDatabase(t);
    const env = { DATABASE_URL: url, ...vaultOf(standIn) };
    await standIn.stop();
    const first = await refusedProcess(t, env);
    const says = `Writ cannot start:\n  - vault:transit/keys/writ at ${standIn.url}: the service does not answer (ECONNREFUSED). Start it, or set VAULT_ADDR to where it listens.\n`;
    assert.deepEqual(first, { code: 2, said: says });
    assert.deepEqual(await listed(url), []);
    const again = await startTransitStandIn(t, Number(new URL(standIn.url).port));
    await again.addKey('writ');
    again.allowToken(standIn.token);
    await startedOnce(env);
    await again.stop();
    assert.deepEqual(await refusedStart(env), { code: 2, said: says });
  });

  test('each thing that is wrong with service or settings is a sentence of its own', async (t) => {
    const standIn = await aService(t);
    const { url } = await createTestDatabase(t);
    const env = { DATABASE_URL: url, ...vaultOf(standIn) };
    await startedOnce(env);
    const [row] = await listed(url);
    const folder = await aFolder(t);
    const file = join(folder, 'token');
    const { VAULT_TOKEN: token, ...withoutToken } = env;
    const fromFile = { ...withoutToken, VAULT_TOKEN_FILE: file };
    const refused = async (settings: Record<string, string>, sentence: RegExp) => {
      const { code, said } = await refusedStart({ ...settings, DATABASE_URL: url });
      assert.equal(code, 2, said);
      assert.match(said, sentence);
      assert.ok(!said.includes(token) && !said.includes('canary'), said);
    };
    const needs = `needs the master key ${row?.kek_id}, which a key management service has wrapped, and`;
    await refused(
      vaultOf(standIn, 'other'),
      new RegExp(`${needs} vault:transit/keys/other does not open it\\. Set`),
    );
    await refused(
      { MASTER_KEY: TEST_MASTER_KEY },
      new RegExp(`${needs} no service is set\\. Set MASTER_KEY_KMS`),
    );
    await refused(
      { ...env, VAULT_TOKEN: 's.canary' },
      /refuses the token \(403\)\. Set VAULT_TOKEN or VAULT_TOKEN_FILE/,
    );
    await refused(
      fromFile,
      /The file \S+token of VAULT_TOKEN_FILE cannot be read \(ENOENT\)\. Write a token into it\./,
    );
    await writeFile(file, 'two words canary\n');
    await refused(fromFile, /The file \S+token of VAULT_TOKEN_FILE must hold a token of OpenBao or Vault/);
    await writeFile(file, `${token}\n`);
    await startedOnce(fromFile);
    await standIn.seal();
    await refused(env, /the service is sealed \(503\)\. Unseal it\./);
  });

  test('a wrapped key that somebody exchanged, or took away, opens nothing and makes nothing', async (t) => {
    const standIn = await aService(t);
    const { url } = await createTestDatabase(t);
    const env = { DATABASE_URL: url, ...vaultOf(standIn) };
    await startedOnce(env);
    const whole = await listed(url);
    const kms = transitOf(standIn, 'transit/keys/writ');
    const foreign = await kms.wrap(Buffer.alloc(32, 7));
    const events = await queryDatabase(url, 'select count(*) from audit_events');
    const put = async (bytes: Uint8Array) => {
      const hex = Buffer.from(bytes).toString('hex');
      await queryDatabase(url, `update master_keys set wrapped_root = '\\x${hex}'`);
    };
    await put(foreign);
    assert.match((await refusedStart(env)).said, /does not open it/);
    await put(Buffer.from('vault:v1:AAAA'));
    assert.match((await refusedStart(env)).said, /does not open it/);
    await queryDatabase(url, 'delete from master_keys');
    assert.match(
      (await refusedStart(env)).said,
      /Restore the rows of that table from a backup of this database/,
    );
    assert.deepEqual(await listed(url), []);
    assert.deepEqual(await queryDatabase(url, 'select count(*) from audit_events'), events);
    await queryDatabase(
      url,
      `insert into master_keys (kek_id, check_value, state) values ('${whole[0]?.kek_id}', '\\x00', 'active')`,
    );
    assert.match((await refusedStart(env)).said, /master key does not match this database/);
  });

  test('a restored database opens by the service that wrapped its key', async (t) => {
    const standIn = await aService(t);
    const { url } = await createTestDatabase(t);
    await startedOnce({ DATABASE_URL: url, ...vaultOf(standIn) });
    const name = new URL(url).pathname.slice(1);
    await adminQuery(`create database "${name}_restored" template "${name}"`);
    t.after(() => adminQuery(`drop database "${name}_restored" with (force)`).then(() => undefined));
    const restored = new URL(url);
    restored.pathname = `/${name}_restored`;
    await startedOnce({ DATABASE_URL: restored.href, ...vaultOf(standIn) });
    assert.deepEqual((await listed(restored.href)).map(String), (await listed(url)).map(String));
  });

  test('a service that is named for later is asked at the start, and not used', async (t) => {
    const standIn = await aService(t);
    const { url } = await createTestDatabase(t);
    await startedOnce({ DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY });
    const before = await listed(url);
    const env = { DATABASE_URL: url, MASTER_KEY_PREVIOUS: TEST_MASTER_KEY };
    await startedOnce({ ...env, ...vaultOf(standIn) });
    assert.deepEqual(await listed(url), before);
    const { said } = await refusedStart({ ...env, ...vaultOf(standIn, 'mistyped') });
    assert.match(said, /refuses the token \(403\).*update on transit\/encrypt\/mistyped/);
  });

  test('a service that goes away stops nothing that runs, also when the database has to be connected to again', async (t) => {
    const standIn = await aService(t);
    const { url } = await createTestDatabase(t);
    const env = {
      ...START_ENV,
      DATABASE_URL: url,
      ...vaultOf(standIn),
      RATE_LIMIT_MAX: '0',
      LOG_LEVEL: 'debug',
    };
    const server = await startServer(t, env);
    const client = createClient(server.url, printedKey(server.stdout()));
    t.after(() => client.close());
    const ask = (method: string, path: string, body?: object) =>
      insist(() => client.send(method, path, body));
    assert.equal((await ask('PUT', '/v1/secrets/prod/BEFORE', { value: 'before' })).status, 201);
    const root = await rootOf(standIn, url);
    await standIn.stop();
    const works = async () => {
      assert.equal((await ask('POST', '/token/issue', { plan: A_PLAN })).status, 200);
      assert.equal((await ask('PUT', '/v1/secrets/prod/AFTER', { value: 'after' })).status < 300, true);
      for (const name of ['BEFORE', 'AFTER']) {
        const read = await ask('GET', `/v1/secrets/prod/${name}`);
        assert.deepEqual([read.status, JSON.parse(read.text).value], [200, name.toLowerCase()]);
      }
    };
    await works();
    await queryDatabase(
      url,
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
    );
    await until('ready again', async () => (await fetch(`${server.url}/ready`)).status === 200);
    await works();
    assert.equal(await server.stop(), 0);
    const said = Buffer.from(server.stdout() + server.stderr(), 'latin1');
    for (const secret of [...encodings(root), env.VAULT_TOKEN])
      assert.ok(!said.includes(secret), 'it is in the log');
  });
});

const encodings = (bytes: Buffer) =>
  (['latin1', 'hex', 'base64', 'base64url'] as const).map((encoding) => bytes.toString(encoding));

test('the key stands in no file of the embedded database, and in none beside it', async (t) => {
  const standIn = await aService(t);
  const DATA_DIR = join(await aFolder(t), 'data');
  const env = { ...START_ENV, DATA_DIR, ...vaultOf(standIn) };
  const server = await startServer(t, env);
  const client = createClient(server.url, printedKey(server.stdout()));
  t.after(() => client.close());
  assert.equal((await client.send('POST', '/token/issue', { plan: A_PLAN }))?.status, 200);
  const wrapped = JSON.parse(standIn.asked.at(-1)?.body ?? '{}') as { ciphertext?: string };
  const root = await transitOf(standIn, 'transit/keys/writ').unwrap(Buffer.from(wrapped.ciphertext ?? ''));
  assert.equal(await server.stop(), 0);
  const names = await readdir(DATA_DIR, { recursive: true, withFileTypes: true });
  const files = names.filter((entry) => entry.isFile());
  assert.ok(!files.some(({ name }) => name === 'master.key'));
  let isWrappedThere = false;
  for (const { parentPath, name } of files) {
    const bytes = await readFile(join(parentPath, name), 'latin1');
    for (const secret of [...encodings(Buffer.from(root)), standIn.token])
      assert.ok(!bytes.includes(secret), name);
    isWrappedThere ||= bytes.includes(wrapped.ciphertext ?? 'none');
  }
  assert.ok(isWrappedThere, 'the wrapped key was found, so the search finds what is there');
});

test('a key of AWS works in the same way, by the SDK’s own settings', { skip: onlyInFullRun }, async (t) => {
  const standIn = await startAwsKmsStandIn(t);
  standIn.addKey('alias/writ');
  const DATA_DIR = join(await aFolder(t), 'data');
  const env = { ...START_ENV, ...standIn.env, DATA_DIR, MASTER_KEY_KMS: 'aws:alias/writ' };
  const first = await startServer(t, env);
  assert.equal(await first.stop(), 0, first.stderr());
  assert.deepEqual(
    standIn.asked.map(({ operation }) => operation),
    // What it made is opened before it is kept, and what is kept before it is used.
    ['Encrypt', 'Decrypt', 'Decrypt'],
  );
  const second = await startServer(t, env);
  assert.equal(await second.stop(), 0, second.stderr());
  assert.deepEqual(
    standIn.asked.map(({ operation }) => operation),
    ['Encrypt', 'Decrypt', 'Decrypt', 'Decrypt'],
  );
  standIn.fault = { status: 400, name: 'AccessDeniedException' };
  const { code, said } = await refusedProcess(t, env);
  assert.equal(code, 2);
  assert.match(
    said,
    /^Writ cannot start:\n {2}- aws:alias\/writ: AWS denies it\. Allow kms:Encrypt and kms:Decrypt[^\n]*\n$/,
  );
  await rm(DATA_DIR, { recursive: true, force: true });
});
