/**
 * `writ kek rotate` to a master key that a key management service keeps, from one service's key to another, and back:
 * servers that run learn the new one from the database, and wait for nobody.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { openTestApp, type TestApp } from '../support/app.ts';
import { runHere } from '../support/command-line.ts';
import { A_PLAN, until } from '../support/issuing.ts';
import { postgresSkip as skip } from '../support/postgres.ts';
import { refusedStart } from '../support/refused-start.ts';
import type { Overrides } from '../support/test-config.ts';
import { TEST_MASTER_KEY } from '../support/test-master-key.ts';
import { TEST_KEK } from '../support/test-seals.ts';
import { startTransitStandIn } from '../support/transit-stand-in.ts';
import { aFilledApp, afterTheGrace, PATH } from './filled-app.ts';

interface MasterKeyRow {
  readonly kek_id: string;
  readonly state: string;
  readonly wrapped_root: Buffer | null;
}

const listed = ({ sql }: Pick<TestApp, 'sql'>) =>
  sql<MasterKeyRow>('select kek_id, state, wrapped_root from master_keys order by since, kek_id');
/** In the order of the alphabet. */
const statesOf = async (app: Pick<TestApp, 'sql'>) =>
  (await listed(app))
    .map(({ state, wrapped_root: wrapped }) => `${state} ${wrapped === null ? 'given' : 'wrapped'}`)
    .toSorted();

/** A database under a key of the environment, and a service with two keys. */
async function aDatabase(t: TestContext) {
  const service = await startTransitStandIn(t);
  for (const name of ['writ', 'other']) await service.addKey(name);
  const { app, agent } = await aFilledApp(t, { MASTER_KEY_PREVIOUS: '9d'.repeat(32) });
  const vault = { VAULT_ADDR: service.url, VAULT_TOKEN: service.token };
  const kms = (name = 'writ') => ({ ...vault, MASTER_KEY_KMS: `vault:transit/keys/${name}` });
  const open = (settings: Overrides) =>
    openTestApp(t, app.databaseUrl, { MASTER_KEY: '', ...settings }, {}, app.adminKey);
  const rotate = async (env: Record<string, string>, ...options: readonly string[]) => {
    const asked = runHere(['kek', 'rotate', ...options], { ...env, DATABASE_URL: app.databaseUrl });
    const { code, stdout, stderr } = await afterTheGrace(app, asked);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^Nothing that Writ wrote is under another key than [0-9a-f]{16}\.$/m);
    return { stdout, stderr };
  };
  const active = async () => (await listed(app)).find(({ state }) => state === 'active')?.kek_id;
  /** What was there is read, and what is written is under the active key. */
  const works = async (server: TestApp): Promise<void> => {
    // The 10 s in which servers follow were taken away, so it may be a second late.
    await until('it reads', async () => {
      const read = await server.call({ method: 'GET', url: `/v1/${PATH}`, key: agent.key });
      return read.status === 200;
    });
    const issued = await server.call({
      method: 'POST',
      url: '/token/issue',
      key: agent.key,
      json: { plan: A_PLAN },
    });
    assert.equal(issued.status, 200, issued.text);
    await until('it writes under the active key', async () => {
      const url = `/v1/${PATH}`;
      const { status } = await server.call({ method: 'PUT', url, key: agent.key, json: { value: 'v' } });
      const [row] = await app.sql<{ kek_id: string }>(
        'select kek_id from secret_versions order by version desc limit 1',
      );
      return status < 300 && row?.kek_id === (await active());
    });
  };
  return { app, service, kms, vault, open, rotate, works, active };
}

test('from the environment to a service, to another key of it, and back, beside servers that run', {
  skip,
}, async (t) => {
  const { app, kms, vault, open, rotate, works } = await aDatabase(t);
  const toKms = { ...kms(), MASTER_KEY_PREVIOUS: TEST_MASTER_KEY };
  const first = await open(toKms);
  await works(first);
  assert.deepEqual(await statesOf(app), ['active given']);
  await rotate(toKms);
  assert.deepEqual(await statesOf(app), ['active wrapped', 'retired given']);
  await works(first);
  assert.match(
    (await refusedStart({ DATABASE_URL: app.databaseUrl, MASTER_KEY: TEST_MASTER_KEY })).said,
    /which a key management service has wrapped, and no service is set\. Set MASTER_KEY_KMS/,
  );

  const toOther = { ...kms('other'), MASTER_KEY_PREVIOUS_KMS: kms().MASTER_KEY_KMS };
  const second = await open(toOther);
  await works(second);
  await rotate(toOther);
  await works(second);
  assert.deepEqual(await statesOf(app), ['active wrapped', 'retired given', 'retired wrapped']);
  assert.match(
    (await refusedStart({ DATABASE_URL: app.databaseUrl, ...kms() })).said,
    /vault:transit\/keys\/writ does not open it/,
  );

  const back = {
    ...vault,
    MASTER_KEY: 'ab'.repeat(32),
    MASTER_KEY_PREVIOUS_KMS: kms('other').MASTER_KEY_KMS,
  };
  const third = await open(back);
  await rotate(back);
  await works(third);
  assert.equal((await statesOf(app))[0], 'active given');
  await works(await open({ MASTER_KEY: back.MASTER_KEY }));
});

test('a new master key under the same key of the service needs no new settings and no new start', {
  skip,
}, async (t) => {
  const { app, service, kms, open, rotate, works, active } = await aDatabase(t);
  await rotate({ ...kms(), MASTER_KEY_PREVIOUS: TEST_MASTER_KEY });
  const server = await open(kms());
  await works(server);
  const before = await active();
  const { stdout } = await rotate(kms());
  assert.match(stdout, new RegExp(`^Retired: ${before}\\.`, 'm'));
  assert.notEqual(await active(), before);
  await works(server);
  const leaked = await rotate(kms(), '--compromised');
  assert.match(leaked.stdout, /writ signing-key rotate --compromised/);
  const made = await app.sql<{ made_under: string }>('select distinct made_under from secret_versions');
  assert.deepEqual(made, [{ made_under: await active() }]);
  await works(server);
  // It asked once at its start, and once for each master key that it did not have.
  const unwrapped = service.asked.filter(({ path }) => path.includes('/decrypt/')).length;
  await works(server);
  assert.equal(service.asked.filter(({ path }) => path.includes('/decrypt/')).length, unwrapped);
});

test('a rotation that was ended is finished, and not begun again', { skip }, async (t) => {
  const { app, kms, rotate, active } = await aDatabase(t);
  const toKms = { ...kms(), MASTER_KEY_PREVIOUS: TEST_MASTER_KEY };
  await rotate(toKms);
  const to = await active();
  await app.sql(`update master_keys set state = 'retiring' where kek_id = $1`, [TEST_KEK.kekId]);
  await rotate(toKms);
  assert.equal(await active(), to);
  assert.deepEqual(await statesOf(app), ['active wrapped', 'retired given']);
});

test('a rotation without the service changes nothing, and says why', { skip }, async (t) => {
  const { app, service, kms } = await aDatabase(t);
  await service.seal();
  const env = { ...kms(), MASTER_KEY_PREVIOUS: TEST_MASTER_KEY, DATABASE_URL: app.databaseUrl };
  const { code, stdout, stderr } = await runHere(['kek', 'rotate'], env);
  assert.deepEqual([code, stdout], [2, '']);
  assert.match(stderr, /the service is sealed \(503\)\. Unseal it\.\n$/);
  assert.deepEqual(await statesOf(app), ['active given']);
});

test('a server that cannot ask for the new master key says so, goes on, and has it once the service is back', {
  skip,
}, async (t) => {
  const { app, service, kms, open, rotate, works } = await aDatabase(t);
  await rotate({ ...kms(), MASTER_KEY_PREVIOUS: TEST_MASTER_KEY });
  const server = await open({ ...kms(), MASTER_KEY_PREVIOUS: TEST_MASTER_KEY });
  await works(server);
  service.allowToken('s.another');
  await rotate({ ...kms(), VAULT_TOKEN: 's.another' });
  const ready = async () => (await server.call({ method: 'GET', url: '/ready' })).status;
  await until('it is not ready', async () => (await ready()) === 503);
  const key = { method: 'GET', url: '/v1/me', key: app.adminKey };
  const answer = await server.call<{ error: { code: string } }>(key);
  assert.deepEqual([answer.status, answer.body.error.code], [503, 'UNAVAILABLE'], 'it cannot tell');
  service.allowToken(service.token);
  await until('it is ready', async () => (await ready()) === 200);
  await works(server);
});
