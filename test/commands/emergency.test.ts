/** `writ emergency` on the machine that holds database and master key: what it does, says and refuses. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { buildTestApp } from '../support/app.ts';
import { onPostgres, runHere } from '../support/command-line.ts';
import { createClient } from '../support/issuing.ts';
import { fencesOf, readText } from '../support/markdown.ts';
import { postgresSkip as skip } from '../support/postgres.ts';
import { startServer } from '../support/processes.ts';
import { TEST_MASTER_KEY } from '../support/test-master-key.ts';

test('writ emergency stops, shows and resumes, for people and as JSON', { skip }, async (t) => {
  const app = await buildTestApp(t);
  const agent = await app.createAgent();
  const env = { DATABASE_URL: app.databaseUrl, MASTER_KEY: TEST_MASTER_KEY };
  const writ = async (...args: readonly string[]) => {
    const ended = await runHere(['emergency', ...args], env);
    assert.equal(ended.code, 0, ended.stderr);
    return ended.stdout;
  };
  const statusOf = async (key: string) => (await app.call({ method: 'GET', url: '/v1/me', key })).status;
  assert.equal(await writ('status'), 'No stop is in force.\n');
  assert.equal(await statusOf(agent.key), 200);
  const stopped = await writ('stop', '--agent', agent.name, '--reason', 'odd\u001b reads');
  assert.match(
    stopped,
    /^Stopped\. Nothing that was under way is left\.\nIn force:\n {2}\S+ \([0-9a-f-]{36}\), since \S+, by system: odd.* reads\n$/,
  );
  assert.ok(!stopped.includes('\u001b'));
  assert.deepEqual([await statusOf(agent.key), await statusOf(app.adminKey)], [403, 200]);
  const again = JSON.parse(await writ('stop', '--agent', agent.id, '--reason', 'again', '--json'));
  assert.deepEqual([again.changed, again.settled, again.stops[0].agent_id], [false, true, agent.id]);
  await writ('stop', '--all', '--reason', 'leak');
  const { stops } = JSON.parse(await writ('status', '--json'));
  assert.deepEqual(
    stops.map(({ all, reason }: { all: boolean; reason: string }) => [all, reason]),
    [
      [false, 'odd\u001b reads'],
      [true, 'leak'],
    ],
  );
  assert.match(await writ('resume', '--all', '--reason', 'rotated'), /^Resumed\.\nIn force:\n/);
  assert.equal(await statusOf(agent.key), 403);
  assert.equal(
    await writ('resume', '--agent', agent.name, '--reason', 'a drill'),
    'Resumed.\nNo stop is in force.\n',
  );
  assert.equal(await statusOf(agent.key), 200);
  assert.match(await writ('resume', '--all', '--reason', 'again'), /^There was no such stop\./);
});

test('writ emergency refuses what is not meant, and changes nothing', { skip }, async (t) => {
  const app = await buildTestApp(t);
  const env = { DATABASE_URL: app.databaseUrl, MASTER_KEY: TEST_MASTER_KEY };
  const refused = async (code: number, says: RegExp, args: readonly string[], other = {}) => {
    const ended = await runHere(['emergency', ...args], { ...env, ...other });
    assert.equal(ended.code, code, `${args.join(' ')}: ${ended.stdout}${ended.stderr}`);
    assert.match(ended.stderr, says);
  };
  await refused(2, /either --agent or --all/, ['stop', '--reason', 'r']);
  await refused(2, /either --agent or --all/, ['stop', '--all', '--agent', 'x', '--reason', 'r']);
  await refused(2, /--reason/, ['stop', '--all']);
  await refused(2, /1 to 500 characters/, ['resume', '--all', '--reason', ' ']);
  await refused(1, /no such agent/, ['stop', '--agent', 'nobody-here', '--reason', 'r']);
  await refused(2, /master key/, ['stop', '--all', '--reason', 'r'], { MASTER_KEY: '0b'.repeat(32) });
  assert.deepEqual(await app.sql('select 1 from emergency_stops'), []);
});

/** The commands of the procedure in docs/operating.md, in their order. */
function procedure(): string[] {
  const title = '## Stop an agent, or everything, at once\n';
  const [, rest = ''] = readText('docs/operating.md').split(title);
  const [section = ''] = rest.split('\n## ');
  const steps = [...section.matchAll(/^(\d+)\. /gm)].map(([, number]) => Number(number));
  assert.deepEqual(
    steps,
    steps.map((_, index) => index + 1),
  );
  return fencesOf(section.replace(/^ {3}/gm, ''), 'sh').flatMap((fence) => fence.trim().split('\n'));
}

test('the procedure of docs/operating.md does what it says, beside a server that runs', {
  skip,
}, async (t) => {
  const env = await onPostgres(t);
  const server = await startServer(t, { ...env, PORT: '0' });
  const keyOf = async (role: string, name: string) => {
    const made = await runHere(['key', 'create', '--role', role, '--name', name, '--json'], env);
    return (JSON.parse(made.stdout) as { api_key: string }).api_key;
  };
  const reader = createClient(server.url, await keyOf('agent', 'reader'));
  const other = createClient(server.url, await keyOf('agent', 'other'));
  t.after(() => {
    reader.close();
    other.close();
  });
  const adminKey = await keyOf('admin', 'operator');
  const issue = async () => [(await reader.issue())?.status, (await other.issue())?.status];
  const run = async (command: string) => {
    const words = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '');
    if (words[0] === 'writ') {
      const ended = await runHere(words.slice(1), env);
      assert.equal(ended.code, 0, `${command}: ${ended.stderr}`);
      return ended.stdout;
    }
    const shell = { WRIT_URL: server.url, WRIT_KEY: adminKey, PATH: process.env['PATH'] };
    return (await promisify(execFile)('bash', ['-c', command], { env: shell })).stdout;
  };
  const [stopOne, stopAll, byHttp, allByHttp, look, resumeAll, resumeOne, lookAgain, ...more] =
    procedure() as [string, string, string, string, string, string, string, string];
  assert.deepEqual(more, []);
  assert.deepEqual(await issue(), [200, 200]);
  assert.match(await run(stopOne), /^Stopped\. Nothing that was under way is left\./);
  assert.deepEqual(await issue(), [403, 200]);
  assert.match(await run(stopAll), /^Stopped\./);
  assert.deepEqual(await issue(), [403, 403]);
  for (const command of [byHttp, allByHttp]) {
    assert.match(await run(command), /^\{"changed":false,"settled":true,/);
  }
  assert.match(
    await run(look),
    /reader .*: reads at night\n.*everybody but administrators.*: a leaked backup/,
  );
  assert.match(await run(resumeAll), /^Resumed\.\nIn force:\n.*reader/);
  assert.deepEqual(await issue(), [403, 200]);
  assert.match(await run(resumeOne), /^Resumed\.\nNo stop is in force\./);
  assert.equal(await run(lookAgain), 'No stop is in force.\n');
  assert.deepEqual(await issue(), [200, 200]);

  const [stopFromElsewhere = '', trail = '', ...others] = fencesOf(readText('SECURITY.md'), 'sh');
  assert.deepEqual(others, []);
  assert.match(await run(stopFromElsewhere), /^\{"changed":true,"settled":true,/);
  assert.deepEqual(await issue(), [403, 403]);
  const { id } = JSON.parse(await run('curl -sS "$WRIT_URL/v1/agents/reader" -H "X-API-Key: $WRIT_KEY"'));
  const { events } = JSON.parse(await run(trail.replace('$ID', id).replace('2026-11', '2020-01')));
  assert.ok(events.length > 0);
  assert.ok(events.every((event: { actor_id: string }) => event.actor_id === id));
  await run(resumeAll);
  assert.deepEqual(await issue(), [200, 200]);
});
