/** `writ signing-key`: what the commands of docs/keys.md do, and that running servers follow. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NEXT_SECONDS } from '../../src/domain/signing-keys/key-rotation.ts';
import { onPostgres, runHere } from '../support/command-line.ts';
import { A_PLAN, createClient, until } from '../support/issuing.ts';
import { postgresSkip as skip } from '../support/postgres.ts';
import { startServer } from '../support/processes.ts';
import { queryDatabase } from '../support/refused-start.ts';
import { commandsOf } from './procedures.ts';

async function aServer(t: Parameters<typeof startServer>[0]) {
  const env = await onPostgres(t as Parameters<typeof onPostgres>[0]);
  const server = await startServer(t, { ...env, PORT: '0' });
  const made = await runHere(['key', 'create', '--role', 'agent', '--name', 'one', '--json'], env);
  const client = createClient(server.url, (JSON.parse(made.stdout) as { api_key: string }).api_key);
  t.after(() => client.close());
  const run = async (command: string) => {
    const [program, ...args] = command.split(' ');
    assert.equal(program, 'writ', command);
    const ended = await runHere(args, env);
    assert.equal(ended.code, 0, `${command}: ${ended.stderr}`);
    return ended.stdout;
  };
  const published = async () => {
    const answer = await fetch(`${server.url}/.well-known/jwks.json`);
    return ((await answer.json()) as { keys: { kid: string }[] }).keys.map(({ kid }) => kid);
  };
  const states = async () => {
    const { keys } = JSON.parse(await run('writ signing-key list --json')) as {
      keys: { kid: string; state: string }[];
    };
    return keys.map(({ kid, state }) => [kid, state]);
  };
  const send = async (path: string, json: object) => {
    const answer = await client.send('POST', path, json);
    assert.equal(answer?.status, 200, answer?.text);
    return JSON.parse(answer.text) as { code: string; token: string };
  };
  const verify = async (token: string) => (await send('/token/verify', { token })).code;
  const issue = async () => (await send('/token/issue', { plan: A_PLAN, expires_in: 3600 })).token;
  const kidOf = (token: string) =>
    (JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as { kid: string }).kid;
  return { env, run, published, states, verify, issue, kidOf };
}

test('to change the signing key, by the steps of the text', { skip }, async (t) => {
  const { env, run, published, states, verify, issue, kidOf } = await aServer(t);
  const [look = '', make = '', activate = '', lookAgain = '', ...others] =
    commandsOf('To change the signing key');
  assert.deepEqual(others, []);
  const old = await issue();
  const first = kidOf(old);
  assert.match(await run(look), new RegExp(`^${first} +active .*signs$`, 'm'));
  const [next = ''] = /[\w-]{43}/.exec(await run(make)) ?? [];
  assert.match(await run(look), new RegExp(`^${next} +next .*signs from \\d{4}-`, 'm'));
  await until('the server publishes the next key', async () => (await published()).includes(next));
  assert.match(await run(activate), /is the next key already/, 'before its time');
  assert.equal(kidOf(await issue()), first);
  await queryDatabase(
    env['DATABASE_URL'] ?? '',
    `update signing_keys set state_since = state_since - interval '${NEXT_SECONDS} s' where state = 'next'`,
  );
  // A server may have done it in the meantime: it looks every 5 seconds.
  await run(activate).catch(() => undefined);
  assert.deepEqual((await states()).slice(0, 2), [
    [first, 'retiring'],
    [next, 'active'],
  ]);
  assert.match(await run(lookAgain), /retiring .*verifies until its last token has expired/);
  await until('the server signs with the next key', async () => kidOf(await issue()) === next);
  assert.equal(await verify(old), 'VALID');
  assert.deepEqual(await published(), [first, next]);
});

test('when the signing key has leaked, by the steps of the text', { skip }, async (t) => {
  const { run, published, states, verify, issue, kidOf } = await aServer(t);
  const [end = '', look = '', ...others] = commandsOf('When the signing key has leaked');
  assert.deepEqual(others, []);
  const old = await issue();
  await run('writ signing-key rotate');
  const said = await run(end);
  // The very next answers, by a process that has not read the keys again.
  assert.equal(await verify(old), 'TOKEN_INVALID');
  const fresh = await issue();
  assert.notEqual(kidOf(fresh), kidOf(old));
  assert.equal(await verify(fresh), 'VALID');
  assert.ok(
    said.includes(`${kidOf(old)} has ended (it was active)`) &&
      said.includes(`${kidOf(fresh)} signs from now on`),
  );
  assert.deepEqual(
    (await states()).map(([, state]) => state),
    ['compromised', 'compromised', 'active'],
  );
  assert.match(await run(look), /compromised .*what it signed is refused/);
  await until('the server publishes the fresh key alone', async () => {
    const kids = await published();
    return kids.length === 1 && kids[0] === kidOf(fresh);
  });
});

test('a named key is ended, one that is not there is told of, and wrong usage changes nothing', {
  skip,
}, async (t) => {
  const env = await onPostgres(t);
  await startServer(t, { ...env, PORT: '0' });
  const first = await runHere(['signing-key', 'rotate', '--json'], env);
  assert.equal(first.code, 0, first.stderr);
  const made = JSON.parse(first.stdout) as { kid: string };
  const ended = await runHere(['signing-key', 'rotate', '--compromised', '--kid', made.kid, '--json'], env);
  assert.equal(ended.code, 0, ended.stderr);
  assert.deepEqual(JSON.parse(ended.stdout), { compromised: [made.kid], active: null });
  const again = await runHere(['signing-key', 'rotate', '--compromised', '--kid', made.kid], env);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /No signing key of that kid/);
  const wrong = await runHere(['signing-key', 'rotate', '--kid', made.kid], env);
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /--kid needs --compromised/);
  const [key] = await queryDatabase(
    env['DATABASE_URL'] ?? '',
    `select kid from signing_keys where state = 'active'`,
  );
  await queryDatabase(
    env['DATABASE_URL'] ?? '',
    `update signing_keys set seal = seal || '\\x00' where state = 'active'`,
  );
  const marked = await runHere(['signing-key', 'list'], env);
  assert.equal(marked.code, 1);
  assert.match(marked.stdout, new RegExp(`${(key as { kid: string }).kid} .*not what Writ wrote`));
});
