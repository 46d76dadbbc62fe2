/**
 * Signing keys change under load, in two processes: no request fails, every token stays valid throughout, and what a
 * leaked key signed is refused by both from the answer of the command on.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRemoteJWKSet, customFetch, jwtVerify } from 'jose';
import { JWKS_MAX_AGE_SECONDS, NEXT_SECONDS } from '../../../src/domain/signing-keys/key-rotation.ts';
import { runHere } from '../../support/command-line.ts';
import { onlyInFullRun } from '../../support/effort.ts';
import { A_PLAN, type Answer, until } from '../../support/issuing.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { type AskBoth, startTwoServers, type TwoServers } from '../../support/two-servers.ts';

const WORKERS = 6;
/** Answered in each part of the test, so that every change meets requests under way. */
const ROUNDS = 60;
const JWKS = '/.well-known/jwks.json';

interface Token {
  readonly jwt: string;
  readonly kid: string;
}

const bodyOf = <Body>(answer: Answer): Body => JSON.parse(answer.text) as Body;

const kidOf = (jwt: string): string =>
  (JSON.parse(Buffer.from(jwt.split('.')[0] ?? '', 'base64url').toString()) as { kid: string }).kid;

async function codeOf(ask: AskBoth, index: number, jwt: string): Promise<string> {
  const answer = await ask(index, 'POST', '/token/verify', { token: jwt });
  assert.equal(answer.status, 200, answer.text);
  return bodyOf<{ code: string }>(answer).code;
}

/** Asks without pause: a token of one process, verified by the other, with one of those before it; and a repeat. */
function load(ask: AskBoth) {
  const tokens: Token[] = [];
  const refused: { readonly token: Token; readonly code: string }[] = [];
  let rounds = 0;
  let isOver = false;
  const round = async (index: number): Promise<void> => {
    const asked = { plan: A_PLAN, expires_in: 3600 };
    const headers = { 'idempotency-key': `round-${index}` };
    const answer = await ask(index, 'POST', '/token/issue', asked, headers);
    assert.equal(answer.status, 200, answer.text);
    const { token: jwt } = bodyOf<{ token: string }>(answer);
    const token = { jwt, kid: kidOf(jwt) };
    tokens.push(token);
    for (const [each, by] of [
      [token, index + 1],
      [tokens[(index * 7919) % tokens.length] ?? token, index],
    ] as const) {
      const code = await codeOf(ask, by, each.jwt);
      if (code !== 'VALID') refused.push({ token: each, code });
    }
    const repeated = await ask(index + 1, 'POST', '/token/issue', asked, headers);
    if (repeated.status === 200) assert.equal(bodyOf<{ token: string }>(repeated).token, jwt);
    else refused.push({ token, code: bodyOf<{ error_code: string }>(repeated).error_code });
    rounds += 1;
  };
  let next = 0;
  const workers = Array.from({ length: WORKERS }, async () => {
    while (!isOver) {
      next += 1;
      await round(next);
    }
  });
  const running = Promise.all(workers).finally(() => {
    isOver = true;
  });
  running.catch(() => {});
  return {
    tokens,
    refused,
    /** Rejects with what a worker met. */
    goOn: async (): Promise<void> => {
      const goal = rounds + ROUNDS;
      await until(`${goal} rounds`, () => rounds >= goal || isOver);
      // Over before it is told to: with what a worker met.
      if (isOver) await running;
    },
    stop: async (): Promise<void> => {
      isOver = true;
      await running;
    },
  };
}

/** The published client, with a cache that lasts as long as the server says, and how often it fetched. */
function aJwksClient(ask: AskBoth) {
  let fetched = 0;
  const keys = createRemoteJWKSet(new URL(`https://writ.example${JWKS}`), {
    cacheMaxAge: JWKS_MAX_AGE_SECONDS * 1000,
    [customFetch]: async () => {
      fetched += 1;
      const { status, text } = await ask(fetched, 'GET', JWKS);
      return new Response(text, { status, headers: { 'content-type': 'application/json' } });
    },
  });
  const expected = { issuer: 'https://writ.example', audience: 'writ', algorithms: ['EdDSA'] };
  return { verify: (jwt: string) => jwtVerify(jwt, keys, expected), fetched: () => fetched };
}

const publishedBy = async (ask: AskBoth, index: number): Promise<string[]> =>
  bodyOf<{ keys: { kid: string }[] }>(await ask(index, 'GET', JWKS)).keys.map(({ kid }) => kid);

async function rotate({ env }: TwoServers, ...more: string[]): Promise<Record<string, unknown>> {
  const ended = await runHere(['signing-key', 'rotate', '--json', ...more], env);
  assert.equal(ended.code, 0, ended.stderr);
  return JSON.parse(ended.stdout) as Record<string, unknown>;
}

test('signing keys change under load in two processes', {
  skip: postgresSkip || onlyInFullRun,
}, async (t) => {
  const servers = await startTwoServers(t);
  const made = await servers.speaker(servers.adminKey)(0, 'POST', '/v1/agents', { name: 'loaded' });
  const ask = servers.speaker(bodyOf<{ api_key: string }>(made).api_key);
  const nobody = servers.speaker(undefined);
  const { tokens, refused, goOn, stop } = load(ask);
  const older = (by: string, count: number) => tokens.filter(({ kid }) => kid === by).slice(0, count);
  const both = (check: (index: number) => Promise<boolean>) => async () =>
    (await Promise.all([0, 1].map(check))).every(Boolean);
  await goOn();
  const [first = ''] = await publishedBy(nobody, 0);

  // The next key: in the JWKS of both, and it signs nothing.
  const { kid: next } = (await rotate(servers)) as { kid: string };
  await until(
    'both publish the next key',
    both(async (index) => (await publishedBy(nobody, index)).includes(next)),
  );
  await goOn();
  assert.deepEqual(older(next, 1), []);
  // A verifier that fetches now keeps what it got until after the next key signs.
  const client = aJwksClient(nobody);
  await client.verify(tokens[0]?.jwt ?? '');

  // Its time has come: one of the processes lets it sign, by itself.
  await servers.database.query(
    `update signing_keys set state_since = state_since - make_interval(secs => $1) where state = 'next'`,
    [NEXT_SECONDS],
  );
  await until('the next key signs', async () => {
    await goOn();
    return older(next, 1).length > 0;
  });
  const changedAt = tokens.length;
  await until('both sign with it', async () => {
    await goOn();
    return tokens.slice(-ROUNDS).every(({ kid }) => kid === next);
  });
  const signers = async () =>
    (await servers.database.query(`select state, count(*)::int as n from signing_keys group by 1 order by 1`))
      .rows;
  assert.deepEqual(await signers(), [
    { state: 'active', n: 1 },
    { state: 'retiring', n: 1 },
  ]);
  assert.equal(refused.length, 0, `every token stays valid throughout: ${JSON.stringify(refused)}`);
  for (const { jwt } of [...tokens.slice(0, 50), ...tokens.slice(changedAt - 50)]) await client.verify(jwt);
  assert.equal(client.fetched(), 1, 'what it kept verifies what is issued meanwhile');

  // It has leaked.
  const { active: fresh, compromised } = (await rotate(servers, '--compromised')) as {
    active: string;
    compromised: string[];
  };
  assert.deepEqual(compromised, [next]);
  const leaked = older(next, 40);
  const codes = await Promise.all(
    [0, 1].flatMap((index) => leaked.map(({ jwt }) => codeOf(nobody, index, jwt))),
  );
  assert.deepEqual([...new Set(codes)], ['TOKEN_INVALID'], 'by both, from the answer of the command on');
  await goOn();
  assert.ok(tokens.slice(-ROUNDS / 2).every(({ kid }) => kid === fresh));
  await until(
    'both publish the fresh key and not the leaked one',
    both(async (index) => (await publishedBy(nobody, index)).join() === [first, fresh].join()),
  );
  await assert.rejects(aJwksClient(nobody).verify(leaked[0]?.jwt ?? ''), {
    code: 'ERR_JWKS_NO_MATCHING_KEY',
  });
  await goOn();
  await stop();
  assert.deepEqual(
    refused.filter(({ token }) => token.kid !== next),
    [],
    'tokens of the other keys stay valid',
  );
  assert.deepEqual(
    [...new Set(refused.map(({ code }) => code))].sort(),
    ['IDEMPOTENCY_KEY_SPENT', 'TOKEN_INVALID'].filter((code) => refused.some((one) => one.code === code)),
  );
  // Nothing was written but what was answered.
  const { rows } = await servers.database.query(
    `select (select count(*)::int from intent_tokens) as tokens,
       (select count(*)::int from audit_events where event_type = 'intent.issued') as events`,
  );
  assert.deepEqual(rows, [{ tokens: tokens.length, events: tokens.length }]);
});
