/**
 * The emergency stop (contract section 2): from its commit nothing is granted, verified or read by whom it names, at
 * every endpoint and with every credential; a resumed one works at once as before.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { buildStoppedKit, GOES_ON, isStopped, type StoppedCall } from './stopped-calls.ts';

test('every endpoint, with every credential', { skip: postgresSkip }, async (t) => {
  const kit = await buildStoppedKit(t);
  const { app, calls, agent, approver } = kit;
  const { call, adminKey, sql } = app;
  const ask = ({ request }: StoppedCall) => call(request);
  const say = async (what: 'stop' | 'resume', target: object) => {
    const answer = await call<{ changed: boolean }>({
      method: 'POST',
      url: `/v1/emergency/${what}`,
      key: adminKey,
      json: { reason: 'because of the test', ...target },
    });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.body.changed, true);
  };
  const nameOf = ({ by, request, route }: StoppedCall) =>
    `${by}: ${route} ${JSON.stringify(request.json ?? '').slice(0, 60)} ${request.key === undefined ? Object.keys(request.headers ?? {}).join() : 'key'}`;
  const work = async (about: string) => {
    for (const one of calls) {
      const answer = await ask(one);
      assert.ok(!isStopped(one, answer), `${about}: ${nameOf(one)} ${answer.text}`);
      assert.ok(answer.status < 500, `${about}: ${nameOf(one)} ${answer.text}`);
      if (one.works !== undefined)
        assert.equal(answer.status, one.works, `${about}: ${nameOf(one)} ${answer.text}`);
    }
  };
  const refused = async (about: string, which: (one: StoppedCall) => boolean) => {
    for (const one of calls) {
      const answer = await ask(one);
      assert.equal(
        isStopped(one, answer),
        which(one),
        `${about}: ${nameOf(one)} ${answer.status} ${answer.text}`,
      );
    }
  };

  await t.test('the table has every route', () => {
    const covered = [...kit.routes, ...GOES_ON];
    const missing = app.routes
      .filter(({ method }) => method !== 'HEAD')
      .map(({ method, url }) => `${method} ${url}`)
      .filter((route) => !covered.some((known) => known === route || route.endsWith(known)));
    assert.deepEqual(missing, []);
  });

  await t.test('works before anything is stopped', () => work('before'));

  await t.test(
    'one agent: its key, its tokens of each kind and whoever asks about them; nobody else',
    async () => {
      await say('stop', { agent: agent.name });
      await refused('one agent', ({ by }) => by !== 'approver');
      for (const key of [kit.bystander.key, approver.key, adminKey]) {
        assert.equal((await call({ method: 'GET', url: '/v1/me', key })).status, 200);
      }
      await say('resume', { agent: agent.id });
      await work('resumed');
    },
  );

  await t.test('one approver', async () => {
    await say('stop', { agent: approver.id });
    await refused('one approver', ({ by }) => by === 'approver');
    await say('resume', { agent: approver.id });
  });

  await t.test('everybody but administrators, who can look, revoke, rotate and resume', async () => {
    await say('stop', { all: true });
    await refused('everybody', () => true);
    for (const route of GOES_ON) {
      const [method = '', url = ''] = route.split(' ');
      assert.equal((await call({ method, url })).status, 200, route);
    }
    const by = (method: string, url: string, json?: object) =>
      call<{ id: string; token: string; code: string }>({
        method,
        url,
        key: adminKey,
        ...(json && { json }),
      });
    for (const url of [
      '/v1/me',
      '/v1/agents',
      '/v1/audit',
      '/v1/tokens?status=active',
      '/v1/intent-tokens',
      '/v1/approvals',
      '/v1/secrets/team/k',
    ]) {
      assert.equal((await by('GET', url)).status, 200, url);
    }
    assert.equal((await by('POST', `/v1/agents/${agent.id}/keys`, { name: 'next' })).status, 201);
    assert.equal((await by('PATCH', `/v1/agents/${agent.id}`, { description: 'looked at' })).status, 200);
    assert.equal((await by('POST', '/v1/secrets/team/k/rotate', {})).status, 200);
    const { body: made } = await by('POST', '/token/issue', {
      plan: { goal: 'look', steps: [{ action: 'look' }] },
    });
    assert.equal(
      (await call<{ code: string }>({ method: 'POST', url: '/token/verify', json: { token: made.token } }))
        .body.code,
      'VALID',
    );
    await say('resume', { all: true });
    await work('everybody resumed');
  });

  await t.test(
    'each stop ends by itself: one agent stays stopped when everybody is resumed, and the other way round',
    async () => {
      const isStoppedNow = async (key: string) => {
        const { status, text } = await call({ method: 'GET', url: '/v1/me', key });
        return status === 403 && text.includes('EMERGENCY_STOP');
      };
      await say('stop', { agent: agent.id });
      await say('stop', { all: true });
      await say('resume', { all: true });
      assert.deepEqual([await isStoppedNow(agent.key), await isStoppedNow(approver.key)], [true, false]);
      await say('stop', { all: true });
      await say('resume', { agent: agent.id });
      assert.deepEqual([await isStoppedNow(agent.key), await isStoppedNow(approver.key)], [true, true]);
      await say('resume', { all: true });
      assert.deepEqual([await isStoppedNow(agent.key), await isStoppedNow(approver.key)], [false, false]);
    },
  );

  await t.test('an administrator can be stopped by name, and then resumes nobody', async () => {
    const other = await app.createAgent({ role: 'admin' });
    await say('stop', { agent: other.id });
    const json = { agent: other.id, reason: 'mine' };
    assertRefused(await call({ method: 'POST', url: '/v1/emergency/resume', key: other.key, json }), {
      status: 403,
      code: 'EMERGENCY_STOP',
    });
    await say('resume', { agent: other.id });
    assert.equal((await call({ method: 'GET', url: '/v1/emergency', key: other.key })).status, 200);
  });

  await t.test(
    'a wrong key of a stopped agent is no more than wrong, and no refusal tells why it was stopped',
    async () => {
      await say('stop', { agent: agent.id });
      const wrong = `${agent.key.slice(0, -1)}${agent.key.endsWith('0') ? '1' : '0'}`;
      assertRefused(await call({ method: 'GET', url: '/v1/me', key: wrong }), {
        status: 401,
        code: 'UNAUTHORIZED',
      });
      const { text } = await call({ method: 'GET', url: '/v1/me', key: agent.key });
      assert.doesNotMatch(text, /because of the test/);
      await say('resume', { agent: agent.id });
    },
  );

  await t.test('again is fine and writes nothing; each effect is one event with its reason', async () => {
    const events = () =>
      sql<{ event_type: string; resource_id: string; metadata: Record<string, unknown> }>(
        `select event_type, resource_id, metadata from audit_events where event_type like 'emergency.%' order by created_at, id`,
      );
    const before = (await events()).length;
    await say('stop', { all: true });
    const again = (what: string) =>
      call<{ changed: boolean; stops: unknown[] }>({
        method: 'POST',
        url: `/v1/emergency/${what}`,
        key: adminKey,
        json: { all: true, reason: 'again' },
      });
    const { body: second } = await again('stop');
    assert.deepEqual([second.changed, second.stops.length], [false, 1]);
    assert.equal((await again('resume')).body.changed, true);
    assert.equal((await again('resume')).body.changed, false);
    const written = (await events()).slice(before);
    assert.deepEqual(
      written.map(({ event_type, resource_id, metadata }) => [event_type, resource_id, metadata['reason']]),
      [
        ['emergency.stopped', '*', 'because of the test'],
        ['emergency.resumed', '*', 'again'],
      ],
    );
    assert.equal(written[0]?.metadata['stop_id'], written[1]?.metadata['stop_id']);
  });

  await t.test('who is meant must be said once, with a reason', async () => {
    for (const json of [
      { reason: 'r' },
      { reason: 'r', all: true, agent: 'x' },
      { all: true },
      { all: true, reason: '' },
      { all: false, reason: 'r' },
    ]) {
      const answer = await call({ method: 'POST', url: '/v1/emergency/stop', key: adminKey, json });
      assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR' }, JSON.stringify(json));
    }
    for (const what of ['stop', 'resume']) {
      const json = { agent: 'nobody-here', reason: 'r' };
      const answer = await call({ method: 'POST', url: `/v1/emergency/${what}`, key: adminKey, json });
      assertRefused(answer, { status: 404, code: 'NOT_FOUND' });
    }
  });
});
