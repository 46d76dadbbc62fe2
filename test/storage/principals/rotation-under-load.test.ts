/**
 * An API key is rotated under load on two processes: no request fails with either key during the overlap, the old one is
 * refused everywhere after it, although both processes remember it, and the trail has every token that was answered.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onlyInFullRun } from '../../support/effort.ts';
import { A_PLAN, errorCodeOf } from '../../support/issuing.ts';
import { postgresSkip as skip } from '../../support/postgres.ts';
import { startTwoServers } from '../../support/two-servers.ts';

interface Asked {
  readonly what: string;
  readonly begunMs: number;
  readonly answeredMs: number;
  readonly status: number;
  readonly text: string;
}

const OVERLAP_SECONDS = 5;
/** With each key; each asks without pause. */
const WORKERS = 12;
/** Requests beside the clock of the database, which is that of this machine. */
const MARGIN_MS = 50;

test('an API key is rotated under load on two processes', { skip: skip || onlyInFullRun }, async (t) => {
  const { adminKey, database, speaker } = await startTwoServers(t, { AUTH_FAILURE_MAX: '0' });
  const admin = speaker(adminKey);
  const made = await admin(0, 'POST', '/v1/agents', { name: 'worker', allowed_scopes: ['secrets:read:a/*'] });
  const agent = JSON.parse(made.text) as { id: string; api_key: string; key_id: string };
  assert.equal((await admin(0, 'PUT', '/v1/secrets/a/ONE', { value: 'v' })).status, 201);

  const works = [
    ['/token/issue', 'POST', { plan: A_PLAN }],
    ['/v1/tokens', 'POST', { scopes: ['secrets:read:a/*'] }],
    ['/v1/secrets/a/ONE', 'GET', undefined],
    ['/v1/me', 'GET', undefined],
  ] as const;
  let isOver = false;
  const asked = { old: [] as Asked[], fresh: [] as Asked[] };
  const load = async (key: string, into: Asked[], worker: number): Promise<void> => {
    const ask = speaker(key);
    for (let index = worker; !isOver; index += 1) {
      const [what, method, body] = works[index % works.length] ?? works[0];
      const begunMs = Date.now();
      // Every work is asked of both processes.
      const { status, text } = await ask(index >> 2, method, what, body);
      into.push({ what, begunMs, answeredMs: Date.now(), status, text });
    }
  };
  const workers = Array.from({ length: WORKERS }, (_, worker) => load(agent.api_key, asked.old, worker));
  const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  await wait(2_000);
  const { status, text } = await admin(1, 'POST', `/v1/agents/${agent.id}/keys/rotate`, {
    overlap_seconds: OVERLAP_SECONDS,
  });
  assert.equal(status, 201, text);
  const rotated = JSON.parse(text) as { api_key: string; older_keys: { id: string; expires_at: string }[] };
  const endsMs = Date.parse(rotated.older_keys[0]?.expires_at ?? '');
  for (let worker = 0; worker < WORKERS; worker += 1)
    workers.push(load(rotated.api_key, asked.fresh, worker));
  await wait(endsMs - Date.now() + 3_000);
  isOver = true;
  await Promise.all(workers);

  const isServed = ({ status: got }: Asked) => got === 200 || got === 201;
  const failed = (all: readonly Asked[]) =>
    all.filter((one) => !isServed(one)).map(({ what, status: got, text: said }) => [what, got, said]);
  assert.deepEqual(failed(asked.fresh), [], 'the new key is served always');
  const during = asked.old.filter(({ answeredMs }) => answeredMs <= endsMs - MARGIN_MS);
  assert.deepEqual(failed(during), [], 'the old key is served until its end');
  const after = asked.old.filter(({ begunMs }) => begunMs >= endsMs + MARGIN_MS);
  assert.deepEqual(
    after.filter(({ status: got }) => got !== 401).map(({ what, status: got }) => [what, got]),
    [],
    'and refused after it',
  );
  for (const [what] of works) {
    for (const [all, when] of [
      [asked.fresh, 'with the new key'],
      [during, 'during the overlap'],
      [after, 'after it'],
    ] as const) {
      assert.ok(all.filter((one) => one.what === what).length > 4, `${what} was asked ${when}`);
    }
  }
  for (const { text: said } of after)
    assert.match(errorCodeOf({ status: 401, headers: {}, text: said }), /^(AUTH_EXPIRED_KEY|UNAUTHORIZED)$/);

  const { rows } = await database.query<{ event_type: string; count: number }>(
    `select event_type, count(*)::int from audit_events
     where actor_id = $1 and event_type in ('intent.issued', 'token.issued', 'secret.read') group by 1`,
    [agent.id],
  );
  const answered = (what: string) =>
    [...asked.old, ...asked.fresh].filter((one) => one.what === what && isServed(one)).length;
  assert.deepEqual(Object.fromEntries(rows.map(({ event_type: type, count }) => [type, count])), {
    'intent.issued': answered('/token/issue'),
    'token.issued': answered('/v1/tokens'),
    'secret.read': answered('/v1/secrets/a/ONE'),
  });
  const keys = await admin(0, 'GET', `/v1/agents/${agent.id}/keys/${agent.key_id}`);
  const { status: is, last_used_ip: from } = JSON.parse(keys.text) as Record<string, string>;
  assert.deepEqual([is, from], ['expired', '127.0.0.1']);
});
