/** The procedures of docs/keys.md for the master key, run from their text on real servers. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { generateApiKey } from '../../src/keys/credentials/api-key-hash.ts';
import { createKeyEncryption } from '../../src/keys/encryption/key-encryption.ts';
import { aFolder, runHere } from '../support/command-line.ts';
import { createClient, until } from '../support/issuing.ts';
import { adminQuery, createTestDatabase, postgresSkip as skip } from '../support/postgres.ts';
import { startServer } from '../support/processes.ts';
import { queryDatabase, refusedStart } from '../support/refused-start.ts';
import { TEST_MASTER_KEY } from '../support/test-master-key.ts';
import { TEST_KEK } from '../support/test-seals.ts';
import { afterTheGrace } from './filled-app.ts';
import { commandsOf } from './procedures.ts';

const execute = promisify(execFile);
const ADMIN = generateApiKey().text;

/** A server of today, its database of yesterday beside it, and who acts by the steps. */
async function yesterdayAndToday(t: TestContext) {
  const { url } = await createTestDatabase(t);
  const env: Record<string, string> = {
    DATABASE_URL: url,
    MASTER_KEY: TEST_MASTER_KEY,
    BOOTSTRAP_ADMIN_KEY: ADMIN,
    PORT: '0',
    LOG_LEVEL: 'info',
    ACCEPT_UNSAFE_DURABILITY: '1',
  };
  const serve = async (settings: Record<string, string>) => {
    const server = await startServer(t, settings);
    const client = createClient(server.url, ADMIN);
    t.after(() => client.close());
    const value = async (): Promise<unknown> => {
      const answer = await client.send('GET', '/v1/secrets/team/K');
      return (JSON.parse(answer?.text ?? '{}') as { value?: unknown }).value;
    };
    /** What its log says of its keys. It is written once a second. */
    const keys = async () => {
      const find = () =>
        `${server.stdout()}${server.stderr()}`.split('\n').find((text) => text.includes('"master keys"'));
      await until('the server logs its keys', () => find() !== undefined);
      const { active, given } = JSON.parse(find() ?? '') as { active: string; given: string[] };
      return { active, given };
    };
    const end = async () => {
      client.close();
      await server.stop();
    };
    return { client, value, keys, end };
  };
  const first = await serve(env);
  await first.client.send('PUT', '/v1/secrets/team/K', { value: 'v' });
  await first.end();
  const name = new URL(url).pathname.slice(1);
  await adminQuery(`create database "${name}_yesterday" template "${name}"`);
  t.after(() => adminQuery(`drop database if exists "${name}_yesterday" with (force)`));
  const run = async (command: string, settings: Record<string, string> = env): Promise<string> => {
    const [program, ...args] = command.split(' ');
    if (command === 'openssl rand -hex 32') return randomBytes(32).toString('hex');
    assert.equal(program, 'writ', command);
    const sql = (text: string) => queryDatabase(settings['DATABASE_URL'] ?? '', text);
    const ended = await afterTheGrace({ sql }, runHere(args, settings));
    assert.equal(ended.code, 0, `${command}: ${ended.stdout} ${ended.stderr}`);
    return ended.stdout;
  };
  return { env, serve, run, yesterday: { ...env, DATABASE_URL: `${url}_yesterday` } };
}

const idOf = (masterKey: string): string => createKeyEncryption(Buffer.from(masterKey, 'hex')).kekId;

test('to change the master key, and to restore what is from before, by the steps of the text', {
  skip,
}, async (t) => {
  const { env, serve, run, yesterday } = await yesterdayAndToday(t);
  const [make = '', look = '', change = '', lookAgain = '', doctor = '', ...others] =
    commandsOf('To change the master key');
  assert.deepEqual(others, []);
  const newKey = await run(make);
  assert.match(await run(look), new RegExp(`^${TEST_KEK.kekId} +active`, 'm'));
  const both = { ...env, MASTER_KEY: newKey, MASTER_KEY_PREVIOUS: TEST_MASTER_KEY };
  const between = await serve(both);
  assert.deepEqual(await between.keys(), { active: TEST_KEK.kekId, given: [idOf(newKey), TEST_KEK.kekId] });
  const said = await run(change, both);
  assert.ok(said.includes(`Nothing that Writ wrote is under another key than ${idOf(newKey)}.`), said);
  assert.ok(said.includes(`Retired: ${TEST_KEK.kekId}. Take MASTER_KEY_PREVIOUS`), said);
  const after = await run(lookAgain, both);
  assert.match(after, new RegExp(`^${TEST_KEK.kekId} +retired +\\S+ +0$`, 'm'));
  assert.match(after, new RegExp(`^${idOf(newKey)} +active`, 'm'));
  assert.equal(await between.value(), 'v');
  await between.end();
  const alone = { ...env, MASTER_KEY: newKey };
  const last = await serve(alone);
  assert.deepEqual(await last.keys(), { active: idOf(newKey), given: [idOf(newKey)] });
  assert.equal(await last.value(), 'v');
  await run(doctor, alone);

  const [restore = '', ...more] = commandsOf('When a start names another key');
  assert.deepEqual(more, []);
  const refused = await refusedStart({ ...yesterday, MASTER_KEY: newKey });
  assert.deepEqual(
    [refused.code, refused.said.split('\n').slice(1, 2)],
    [
      2,
      [
        `  - The master key does not match this database: it needs ${TEST_KEK.kekId}, and given is ${idOf(newKey)}. ${ADVICE}`,
      ],
    ],
  );
  const mended = { ...yesterday, MASTER_KEY: newKey, MASTER_KEY_PREVIOUS: TEST_MASTER_KEY };
  const restored = await serve(mended);
  assert.equal(await restored.value(), 'v');
  await run(restore, mended);
  await restored.end();
  const again = await serve({ ...yesterday, MASTER_KEY: newKey });
  assert.equal(await again.value(), 'v');
});

test('to change the master key in a file, by the steps of the text', { skip }, async (t) => {
  const { env, serve, run } = await yesterdayAndToday(t);
  const [keep = '', tell = '', change = '', forget = '', ...others] = commandsOf(
    'To change the master key in a file',
  );
  assert.deepEqual(others, []);
  const folder = await aFolder(t);
  await writeFile(join(folder, 'master.key'), TEST_MASTER_KEY, { mode: 0o600 });
  const shell = async (commands: string) =>
    (await execute('sh', ['-euc', commands], { env: { PATH: process.env['PATH'], KEY_FOLDER: folder } }))
      .stdout;
  const inFile = async (name: string) => (await readFile(join(folder, name), 'utf8')).trim();
  const modes = [...(await shell(keep)).matchAll(/^(-\S{9}).* (\S+)$/gm)].map(([, mode, name]) => [
    name,
    mode,
  ]);
  assert.deepEqual(modes, [
    ['master.key', '-rw-------'],
    ['previous.key', '-rw-------'],
  ]);
  const newKey = await inFile('master.key');
  // Typed twice, it does not lose the present key.
  await shell(keep).catch(() => undefined);
  assert.deepEqual([await inFile('previous.key'), await inFile('master.key')], [TEST_MASTER_KEY, newKey]);
  const previous = (await shell(`${tell}\necho "$MASTER_KEY_PREVIOUS_FILE"`)).trim();
  const { MASTER_KEY: _, ...settings } = env;
  const alone = { ...settings, MASTER_KEY_FILE: join(folder, 'master.key') };
  const both = { ...alone, MASTER_KEY_PREVIOUS_FILE: previous };
  const between = await serve(both);
  assert.deepEqual((await between.keys()).given, [idOf(newKey), TEST_KEK.kekId]);
  const [rotate = '', status = ''] = change.split('\n');
  await run(rotate, both);
  // Whoever left step 4 out goes through the steps again.
  assert.match(await run(rotate, both), /^Nothing that Writ wrote is under another key/m);
  const after = await run(status, both);
  assert.match(after, new RegExp(`^${TEST_KEK.kekId} +retired +\\S+ +0$`, 'm'));
  assert.match(after, new RegExp(`^${idOf(newKey)} +active`, 'm'));
  assert.match(after, /^\d+ values are under data keys from before the active key/m);
  await between.end();
  await shell(`export MASTER_KEY_PREVIOUS_FILE=\n${forget}`);
  await assert.rejects(inFile('previous.key'));
  const last = await serve(alone);
  assert.deepEqual((await last.keys()).given, [idOf(newKey)]);
  assert.equal(await last.value(), 'v');
});

const ADVICE = 'Set MASTER_KEY or MASTER_KEY_PREVIOUS, or the file of one, to each key that is needed.';

test('when the master key has leaked, by the steps of the text', { skip }, async (t) => {
  const { env, serve, run } = await yesterdayAndToday(t);
  const [end = '', look = '', signing = '', ...others] = commandsOf('When the master key has leaked');
  assert.deepEqual(others, []);
  const newKey = randomBytes(32).toString('hex');
  const both = { ...env, MASTER_KEY: newKey, MASTER_KEY_PREVIOUS: TEST_MASTER_KEY };
  const server = await serve(both);
  const said = await run(end, both);
  assert.ok(said.includes(signing), said);
  assert.doesNotMatch(await run(look, both), /under data keys from before/);
  await run(signing, both);
  assert.equal(await server.value(), 'v');
});
