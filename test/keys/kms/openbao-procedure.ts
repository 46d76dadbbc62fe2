/**
 * Guarantees that a test goes through the procedures of docs/keys.md about a key management service as they stand, with a
 * real OpenBao and two servers that are asked without pause.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { generateApiKey } from '../../../src/keys/credentials/api-key-hash.ts';
import { commandsOf } from '../../commands/procedures.ts';
import { aFolder, runHere } from '../../support/command-line.ts';
import { startLoad } from '../../support/issuing.ts';
import { fencesOf, readText } from '../../support/markdown.ts';
import type { OpenBao } from '../../support/openbao-server.ts';
import { createTestDatabase } from '../../support/postgres.ts';
import { type StartedServer, startServer } from '../../support/processes.ts';
import { queryDatabase, refusedProcess } from '../../support/refused-start.ts';
import { TEST_MASTER_KEY } from '../../support/test-master-key.ts';

const execute = promisify(execFile);
const TO_OPENBAO = 'To keep the master key in OpenBao or Vault';

type Environment = Readonly<Record<string, string>>;

/** The settings of step 4, without what stands for a key of the operator's own. */
function settingsOfTheText(): Record<string, string> {
  const section =
    readText('docs/keys.md')
      .split('\n### ')
      .find((part) => part.startsWith(TO_OPENBAO)) ?? '';
  const [ini = ''] = fencesOf(section.replace(/^ {3}/gm, ''), 'ini');
  const settings = Object.fromEntries(
    ini
      .trim()
      .split('\n')
      .map((line) => line.split(/=(.*)/s).slice(0, 2)),
  );
  assert.deepEqual(Object.keys(settings), ['MASTER_KEY_KMS', 'VAULT_TOKEN_FILE', 'MASTER_KEY_PREVIOUS']);
  return settings as Record<string, string>;
}

async function aFleet(t: TestContext) {
  const { url } = await createTestDatabase(t);
  const key = generateApiKey().text;
  const common = {
    DATABASE_URL: url,
    BOOTSTRAP_ADMIN_KEY: key,
    PORT: '0',
    RATE_LIMIT_MAX: '0',
    LOG_LEVEL: 'warn',
    ACCEPT_UNSAFE_DURABILITY: '1',
  };
  const servers: StartedServer[] = [];
  const loads: ReturnType<typeof startLoad>[] = [];
  t.after(() => Promise.all(loads.map((load) => load.stop())));
  /** One after the other, as the text says; what was there is asked without pause until it is told to stop. */
  const restart = async (settings: Environment): Promise<void> => {
    for (const index of [0, 1]) {
      await loads[index]?.stop();
      if (servers[index] !== undefined) assert.equal(await servers[index].stop(), 0, servers[index].stderr());
      const server = await startServer(t, { ...common, ...settings });
      servers[index] = server;
      loads[index] = startLoad(server.url, key, 2);
    }
  };
  const writ = async (command: string, settings: Environment): Promise<string> => {
    const [program, ...args] = command.split(' ');
    assert.equal(program, 'writ', command);
    const { code, stdout, stderr } = await runHere(args, { DATABASE_URL: url, ...settings });
    assert.equal(code, 0, `${command}: ${stderr}`);
    return stdout;
  };
  const nothingFailed = (): void => {
    for (const load of loads) {
      assert.deepEqual([load.refused, load.broken()], [[], 0]);
      assert.ok(load.acknowledged.size > 0, 'tokens were issued');
    }
  };
  const activeKey = async () => {
    const [row] = await queryDatabase(url, `select kek_id from master_keys where state = 'active'`);
    return String(row?.['kek_id']);
  };
  return { url, restart, writ, nothingFailed, activeKey };
}

export async function goThroughTheText(t: TestContext, openBao: OpenBao): Promise<void> {
  const folder = await aFolder(t);
  const operator = { VAULT_ADDR: openBao.url, VAULT_TOKEN: openBao.rootToken };
  const shell = async (commands: string): Promise<string> => {
    const env = { PATH: process.env['PATH'] ?? '', ...operator };
    return (await execute('bash', ['-euo', 'pipefail', '-c', commands], { cwd: folder, env })).stdout;
  };
  const { url, restart, writ, nothingFailed, activeKey } = await aFleet(t);
  await restart({ MASTER_KEY: TEST_MASTER_KEY });

  const [makeKey = '', allow = '', token = '', rotate = '', look = '', ...others] = commandsOf(TO_OPENBAO);
  assert.deepEqual(others, []);
  assert.match(await shell(makeKey), /"latest_version":1\b.*"type":"aes256-gcm96"/);
  assert.equal(await shell(allow), '');
  await shell(token);
  const file = join(folder, 'openbao-token');
  assert.match(await readFile(file, 'utf8'), /^\S+\n$/);
  assert.equal((await stat(file)).mode & 0o777, 0o600);

  const { MASTER_KEY_PREVIOUS: _, ...named } = settingsOfTheText();
  const service = {
    ...named,
    VAULT_TOKEN_FILE: join(folder, named['VAULT_TOKEN_FILE'] ?? ''),
    VAULT_ADDR: openBao.url,
  };
  const both = { ...service, MASTER_KEY_PREVIOUS: TEST_MASTER_KEY };
  await restart(both);
  const before = await activeKey();
  assert.match(
    await writ(rotate, both),
    /^Nothing that Writ wrote is under another key than [0-9a-f]{16}\.$/m,
  );
  const kept = await activeKey();
  assert.notEqual(kept, before);
  assert.match(await writ(look, both), new RegExp(`^${before} +retired +\\S+ +0$`, 'm'));
  nothingFailed();
  await restart(service);

  const [rotateAgain = '', lookAgain = '', ...more] = commandsOf('To change the key of the service');
  assert.deepEqual(more, []);
  await openBao.call('POST', 'transit/keys/writ/rotate');
  await writ(rotateAgain, service);
  await openBao.call('POST', 'transit/keys/writ/config', { min_decryption_version: 2 });
  assert.match(await writ(lookAgain, service), new RegExp(`^${kept} +retired +\\S+ +0$`, 'm'));

  const [compromised = '', ...rest] = commandsOf('When the credential for the service has leaked');
  assert.deepEqual(rest, []);
  assert.match(await writ(compromised, service), /writ signing-key rotate --compromised/);
  nothingFailed();

  // It goes away under servers that run: they go on, and only a start needs it.
  await openBao.stop();
  await queryDatabase(
    url,
    'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
  );
  const { code, said } = await refusedProcess(t, { DATABASE_URL: url, ...service });
  assert.deepEqual([code, said.split('\n').length], [2, 3], said);
  assert.match(said, /the service does not answer \(ECONNREFUSED\)\. Start it, or set VAULT_ADDR/);
}
