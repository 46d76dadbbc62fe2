/** The command line as a whole: help, versions, wrong usage, configuration faults, and what a command loads. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { SETTINGS, type Setting } from '../../src/settings-table.ts';
import { aFolder, onPostgres, runHere, runProcess } from '../support/command-line.ts';
import { freePort } from '../support/free-port.ts';
import { postgresSkip as skip } from '../support/postgres.ts';
import { startNode } from '../support/processes.ts';
import { CLI_FILE_BY_FILE } from '../support/programs.ts';

const COMMANDS = ['serve', 'migrate', 'key', 'approvals', 'settings', 'health'];

test('--help lists every command on standard output and exits 0', async (t) => {
  const asked = [['--help'], ['-h'], ['help']].map((args) => runHere(args));
  for (const shown of [...asked, runProcess(t, ['--help'])]) {
    const { code, stdout, stderr } = await shown;
    assert.equal(code, 0);
    assert.equal(stderr, '');
    for (const command of COMMANDS) assert.match(stdout, new RegExp(`^ {2}${command} `, 'm'));
  }
});

test('without a command the overview is shown and the exit code is 2', async () => {
  const { code, stdout } = await runHere([]);
  assert.equal(code, 2);
  assert.match(stdout, /^Usage: writ/);
});

test('--version prints the version of the package', async () => {
  const { code, stdout } = await runHere(['--version']);
  assert.equal(code, 0);
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
});

for (const command of COMMANDS) {
  test(`writ ${command} --help shows its usage, needs no configuration and exits 0`, async () => {
    const { code, stdout, stderr } = await runHere([command, '--help'], { PORT: 'no port' });
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, new RegExp(`^Usage: writ ${command}`));
  });
}

const WRONG_USAGE: readonly (readonly string[])[] = [
  ['no-such-command'],
  ['constructor'],
  ['serve', 'now'],
  ['migrate', '--force'],
  ['migrate', 'now'],
  ['health', '--url', 'x'],
  ['key'],
  ['key', 'make'],
  ['key', 'create'],
  ['key', 'create', '--role', 'root', '--name', 'x'],
  ['key', 'create', '--role', 'admin'],
  ['key', 'create', 'extra', '--role', 'admin', '--name', 'x'],
  ['key', 'create', '--role', 'admin', '--name', 'x', '--ttl', '1'],
  ['key', 'revoke'],
  ['key', 'revoke', 'one', 'two'],
  ['key', 'revoke', '0123456789abcdef', '--role', 'admin'],
  ['key', 'revoke', '0123456789abcdef', '--scope', 'secrets:read:*'],
  ['settings', 'get'],
  ['settings', 'set', 'issuer_url'],
  ['settings', 'set', 'port', '3000'],
  ['settings', 'set', 'issuer_url', 'not a url'],
  ['settings', 'set', 'issuer_url', ''],
  ['settings', 'set', 'token_audience', ''],
  ['settings', 'set', 'token_audience', 'with space'],
  ['settings', 'set', 'token_audience', 'one', 'two'],
  ['key', 'create', '--role', 'admin', '--name', '--json'],
  ['key', 'create', '--role', 'admin', '--name', ''],
  ['health', '--version'],
  ['helth'],
];
/** What is wrong, and the command whose help says what is right. */
const ONE_SENTENCE = /^(writ(?: \w+)*): [^\n]+; see \1 --help\n$/;

test('wrong usage exits 2, says what is wrong on standard error, and changes nothing', {
  skip,
}, async (t) => {
  const env = await onPostgres(t);
  const taken: string[] = [];
  for (const args of WRONG_USAGE) {
    const { code, stdout, stderr } = await runHere(args, env);
    const refused = code === 2 && stdout === '' && ONE_SENTENCE.test(stderr);
    if (!refused) taken.push(`writ ${args.join(' ')} (${code}): ${stdout}${stderr}`);
  }
  assert.deepEqual(taken, []);
  assert.equal((await runHere(['settings', '--json'], env)).stdout, '{}\n');
  const process = await runProcess(t, ['helth'], env);
  assert.deepEqual([process.code, process.stdout], [2, '']);
  assert.match(process.stderr, /unknown command 'helth' \(Did you mean health\?\)/);
});

test('each option that is wrong is named, and so is what is allowed', async () => {
  for (const [args, sentence] of [
    [['key', 'create', '--role', 'root', '--name', 'x'], /--role.*'root'.*admin, approver, agent/],
    [['key', 'create', '--role', 'admin'], /'--name <name>' not specified/],
    [['key', 'create', '--role', 'admin', '--name', '--json'], /'--name <name>' argument missing/],
    [['migrate', '--force'], /unknown option '--force'/],
    [['key'], /expected "create" or "revoke"/],
    [['settings', 'set', 'port', '1'], /'port'.*issuer_url, token_audience/],
    [['settings', 'set', 'issuer_url', 'x'], /issuer_url must be an http:/],
  ] as const) {
    assert.match((await runHere(args)).stderr, sentence);
  }
});

test('the help of serve tells each setting with its meaning and default', async () => {
  const words = (text: string) => text.replace(/\s+/g, ' ');
  const help = words((await runHere(['serve', '--help'])).stdout);
  for (const [variable, setting] of Object.entries<Setting>(SETTINGS)) {
    const standard = setting.default === undefined ? '' : ` (default: ${setting.default})`;
    const meaning = setting.help.replaceAll('`', '').slice(0, -1);
    assert.ok(help.includes(` ${variable} ${meaning}${standard}`), variable);
  }
});

test('a health check loads neither the database’s driver nor the embedded database', async (t) => {
  const folder = await aFolder(t);
  const driversLoadedBy = async (command: string): Promise<string[]> => {
    const NODE_V8_COVERAGE = join(folder, command);
    const DATABASE_URL = `postgres://writ@127.0.0.1:${await freePort()}/writ`;
    const env = { DATABASE_URL, PORT: '1', NODE_V8_COVERAGE };
    await (await startNode(t, [CLI_FILE_BY_FILE, command], env)).ended;
    const [report = ''] = await readdir(NODE_V8_COVERAGE);
    const scripts = await readFile(join(NODE_V8_COVERAGE, report), 'utf8');
    return ['pg', '@electric-sql/pglite', 'drizzle-orm'].filter((name) =>
      scripts.includes(`/node_modules/${name}/`),
    );
  };
  assert.deepEqual(await driversLoadedBy('health'), []);
  assert.deepEqual(await driversLoadedBy('migrate'), ['pg', 'drizzle-orm'], 'they would be found');
});

test('configuration faults exit 2, all at once, without the values of secrets', async () => {
  const env = {
    PORT: 'eighty',
    LOG_LEVEL: 'loud',
    MASTER_KEY: 'a secret that is no key',
    DATABASE_URL: 'mysql://root:hunter2@db/x',
  };
  const { code, stdout, stderr } = await runHere(['serve'], env);
  assert.deepEqual([code, stdout], [2, '']);
  for (const variable of Object.keys(env)) assert.match(stderr, new RegExp(`^ {2}- ${variable} `, 'm'));
  assert.doesNotMatch(stderr, /a secret|hunter2/);
});
