/** Guarantees that the procedures of docs/operating.md about secrets do what they say: their commands run as they stand. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { generateApiKey } from '../../src/keys/credentials/api-key-hash.ts';
import { SECRET, startReceiver, type WebhookEvent } from '../platform/webhook-receiver.ts';
import { until } from '../support/issuing.ts';
import { fencesOf, readText } from '../support/markdown.ts';
import { createTestDatabase, postgresSkip } from '../support/postgres.ts';
import { startServer } from '../support/processes.ts';
import { queryDatabase } from '../support/refused-start.ts';

const execute = promisify(execFile);

interface Answered {
  readonly items: readonly Record<string, unknown>[];
  readonly events: readonly { readonly metadata: Record<string, unknown> }[];
  readonly version: number;
  readonly value: string;
  readonly canary: boolean;
  readonly total: number;
  readonly rotation_due_at: string;
  readonly error: { readonly code: string };
}

/** The commands under a heading of the page, in their order. */
function commandsUnder(heading: string): readonly string[] {
  const page = readText('docs/operating.md');
  const start = page.indexOf(`## ${heading}\n`);
  assert.notEqual(start, -1, heading);
  const end = page.indexOf('\n## ', start + 1);
  return fencesOf(page.slice(start, end === -1 ? undefined : end), 'sh');
}

async function aServer(t: TestContext, settings: Readonly<Record<string, string>> = {}) {
  const { url: databaseUrl } = await createTestDatabase(t);
  const key = generateApiKey().text;
  const { url } = await startServer(t, {
    DATABASE_URL: databaseUrl,
    MASTER_KEY: '5a'.repeat(32),
    BOOTSTRAP_ADMIN_KEY: key,
    ISSUER_URL: 'https://writ.example',
    PORT: '0',
    LOG_LEVEL: 'warn',
    ACCEPT_UNSAFE_DURABILITY: '1',
    ...settings,
  });
  const folder = await mkdtemp(join(tmpdir(), 'writ-test-procedure-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return {
    folder,
    sql: (text: string) => queryDatabase(databaseUrl, text),
    put: async (path: string, members: Record<string, unknown>): Promise<void> => {
      const answer = await fetch(`${url}/v1/secrets/${path}`, {
        method: 'PUT',
        headers: { 'x-api-key': key, 'content-type': 'application/json' },
        body: JSON.stringify(members),
      });
      assert.equal(answer.status, 201, await answer.text());
    },
    /** Runs a command of the page in the folder. */
    run: async (command: string | undefined, variables: Record<string, string> = {}): Promise<Answered> => {
      assert.ok(command !== undefined, 'the page has fewer commands');
      const env = { PATH: process.env['PATH'], WRIT_URL: url, WRIT_KEY: key, ...variables };
      const { stdout } = await execute('sh', ['-euc', command], { cwd: folder, env });
      return JSON.parse(stdout) as Answered;
    },
  };
}

test('the steps of "Rotate a secret that is due"', { skip: postgresSkip }, async (t) => {
  const [list, rotate, readers, listAgain, ...others] = commandsUnder('Rotate a secret that is due');
  assert.deepEqual(others, []);
  const { folder, sql, put, run } = await aServer(t);
  await put('prod/db/PASSWORD', { value: 'old', rotate_after_days: 30 });
  await put('prod/db/YOUNG', { value: 'young', rotate_after_days: 30 });
  assert.deepEqual((await run(list)).items, []);
  await sql(`update secrets set rotation_due_at = now() - interval '1 hour' where key = 'PASSWORD'`);

  const [due, ...more] = (await run(list)).items;
  assert.deepEqual([due?.['path'], due?.['version'], more], ['prod/db/PASSWORD', 1, []]);
  const named = { SECRET: 'prod/db/PASSWORD', VERSION: '1' };
  await assert.rejects(run(rotate, named), 'without the file');
  await writeFile(join(folder, 'new-value.json'), '{"new_value":"new"}');
  await assert.rejects(run(rotate, { SECRET: named.SECRET }), /VERSION/);
  const rotated = await run(rotate, named);
  assert.equal(rotated.version, 2);
  assert.ok(Date.parse(rotated.rotation_due_at) > Date.now());
  assert.equal((await run(rotate, named)).error.code, 'VERSION_CONFLICT');

  const read = 'curl -sS "$WRIT_URL/v1/secrets/$SECRET$QUERY" -H "X-API-Key: $WRIT_KEY"';
  assert.equal((await run(read, { ...named, QUERY: '' })).value, 'new');
  assert.equal((await run(read, { ...named, QUERY: '?version=1' })).value, 'old');
  const { events } = await run(readers, named);
  assert.deepEqual(
    events.map(({ metadata }) => metadata['version']),
    [1, 2],
  );
  assert.deepEqual((await run(listAgain)).items, []);
});

test('the steps of "Place a canary"', { skip: postgresSkip }, async (t) => {
  const [place, tryIt, look, ...others] = commandsUnder('Place a canary');
  assert.deepEqual(others, []);
  const receiver = await startReceiver(t);
  const { folder, run } = await aServer(t, {
    APPROVAL_WEBHOOK_URL: receiver.url,
    APPROVAL_WEBHOOK_SECRET: SECRET,
  });
  const named = { SECRET: 'prod/payments/ADMIN_PASSWORD' };
  const members = { value: 'opens nothing', canary: true };
  await writeFile(join(folder, 'canary.json'), JSON.stringify({ path: named.SECRET, ...members }));
  assert.equal((await run(place)).canary, true);
  assert.equal((await run(place)).error.code, 'ALREADY_EXISTS');
  assert.equal((await run(tryIt, named)).value, 'opens nothing');
  const { events } = await run(look, named);
  // The refused second placing is a touch of what is there by then.
  assert.deepEqual(
    events.map(({ metadata }) => metadata['how']),
    ['secret.read', 'secret.denied'],
  );
  await until('the notice', () => receiver.arrived.length > 0);
  const [told] = receiver.arrived.map(({ body }) => JSON.parse(body) as WebhookEvent);
  assert.deepEqual([told?.type, told?.data['path']], ['secret.canary_touched', named.SECRET]);
});
