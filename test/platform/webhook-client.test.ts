/**
 * The webhook of approvals: signed as Standard Webhooks has it, owed by the transaction that it tells of, delivered at
 * least once however a process ends, never in the way of a request, and never carrying a token.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { suite, type TestContext, test } from 'node:test';
import { createWebhook } from '../../src/platform/webhook-client.ts';
import { assertRefused, buildTestApp } from '../support/app.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/issuing.ts';
import { postgresSkip } from '../support/postgres.ts';
import { startNode } from '../support/processes.ts';
import { SERVER } from '../support/programs.ts';
import { OUTBOX, type Owed, SECRET, SECRET_BYTES, startReceiver, verified } from './webhook-receiver.ts';

const skip = postgresSkip;
const A_NOTICE = { id: 'a-notice', payload: '{"type":"approval.requested","data":{"name":"größer"}}' };

suite('one try', () => {
  const sendTo = (url: string, at = new Date()) => createWebhook({ url, secret: SECRET_BYTES }, () => at);

  test('it is a POST of the payload as it is, signed under the secret, by the package’s reading and by hand', async (t) => {
    const receiver = await startReceiver(t);
    const at = new Date();
    assert.equal(await sendTo(receiver.url, at)(A_NOTICE), undefined);
    const [arrived, ...more] = receiver.arrived;
    assert.ok(arrived !== undefined && more.length === 0, 'one request arrives');
    assert.deepEqual(
      [arrived.method, arrived.path, arrived.body],
      ['POST', '/hook?of=writ', A_NOTICE.payload],
    );
    assert.match(String(arrived.headers['content-type']), /^application\/json/);
    assert.equal(arrived.headers['webhook-id'], A_NOTICE.id);
    assert.equal(arrived.headers['webhook-timestamp'], String(Math.floor(at.getTime() / 1000)));
    assert.deepEqual(verified(arrived), JSON.parse(A_NOTICE.payload));
  });

  test('the signature fits no other secret, body, id or time', async (t) => {
    const receiver = await startReceiver(t);
    await sendTo(receiver.url)(A_NOTICE);
    const [arrived] = receiver.arrived;
    assert.ok(arrived !== undefined, 'one request arrives');
    const { headers } = arrived;
    const later = String(Number(headers['webhook-timestamp']) + 1);
    const forged = {
      'another body': { ...arrived, body: arrived.body.replace('größer', 'kleiner') },
      'another id': { ...arrived, headers: { ...headers, 'webhook-id': 'another' } },
      'another time': { ...arrived, headers: { ...headers, 'webhook-timestamp': later } },
    };
    for (const [what, one] of Object.entries(forged)) assert.throws(() => verified(one), Error, what);
    const other = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    assert.throws(() => verified(arrived, other), /the signature is/);
  });

  test('2xx is taken; any other status is a failure that names the status and nothing the receiver says', async (t) => {
    const receiver = await startReceiver(t);
    for (const status of [200, 201, 202, 204, 299]) {
      receiver.answer = status;
      assert.equal(await sendTo(receiver.url)(A_NOTICE), undefined, String(status));
    }
    for (const status of [304, 400, 401, 404, 410, 429, 500, 503]) {
      receiver.answer = status;
      assert.equal(await sendTo(receiver.url)(A_NOTICE), `status ${status}`);
    }
  });

  test('a redirect is a failure and is not followed', async (t) => {
    const elsewhere = await startReceiver(t);
    const receiver = await startReceiver(t);
    for (const status of [301, 302, 303, 307, 308]) {
      receiver.answer = (response) => response.writeHead(status, { location: elsewhere.url }).end();
      assert.equal(await sendTo(receiver.url)(A_NOTICE), `status ${status}`);
    }
    assert.deepEqual(elsewhere.arrived, []);
  });

  test('an answer whose body never ends is an answer', async (t) => {
    const receiver = await startReceiver(t, (response) => void response.writeHead(200).write('and so on'));
    assert.equal(await sendTo(receiver.url)(A_NOTICE), undefined);
  });

  test('no answer is waited for five seconds and not longer', async (t) => {
    const asked: number[] = [];
    const overdue = new AbortController();
    t.mock.method(AbortSignal, 'timeout', (milliseconds: number) => {
      asked.push(milliseconds);
      return overdue.signal;
    });
    const receiver = await startReceiver(t, 'nothing');
    const trying = sendTo(receiver.url)(A_NOTICE);
    await until('a request that is not answered', () => receiver.arrived.length === 1);
    overdue.abort(new DOMException('over', 'TimeoutError'));
    assert.equal(await trying, 'no answer in 5000 ms');
    assert.deepEqual(asked, [5000]);
  });

  test('nobody there, a connection that breaks and an answer that is no HTTP are failures, by their kind', async (t) => {
    assert.equal(
      await sendTo(`http://127.0.0.1:${await freePort()}/`)(A_NOTICE),
      'no connection (ECONNREFUSED)',
    );
    const breaks = await startReceiver(t, (response) => void response.destroy());
    assert.match(String(await sendTo(breaks.url)(A_NOTICE)), /^no connection/);
    const server = createServer((socket) => void socket.end('not to be repeated\r\n\r\n')).listen(
      0,
      '127.0.0.1',
    );
    await once(server, 'listening');
    t.after(() => server.close());
    const { port } = server.address() as { port: number };
    assert.match(String(await sendTo(`http://127.0.0.1:${port}/`)(A_NOTICE)), /^no connection( \(\w+\))?$/);
  });
});

test('a URL without a secret, or with one that is none, stops the start with exit code 2 and shows no secret', async (t) => {
  for (const secret of ['', 'whsec_hunter2', 'hunter2']) {
    const env = { PORT: '0', APPROVAL_WEBHOOK_URL: 'https://hooks.example', APPROVAL_WEBHOOK_SECRET: secret };
    const started = await startNode(t, [SERVER], env);
    assert.deepEqual([await started.ended, started.stdout()], [2, '']);
    assert.match(started.stderr(), /^ {2}- APPROVAL_WEBHOOK_SECRET must be /m);
    assert.ok(!started.stderr().includes('hunter2'), started.stderr());
  }
});

const SENSITIVE = { scopes: ['secrets:read:prod/SENSITIVE'] };
const CRITICAL = { scopes: ['secrets:read:prod/CRITICAL'] };

/** A Writ that tells this receiver, with a sensitive and a critical secret. */
async function telling(t: TestContext, url: string | undefined) {
  const webhook = url === undefined ? {} : { APPROVAL_WEBHOOK_URL: url, APPROVAL_WEBHOOK_SECRET: SECRET };
  const writ = await buildTestApp(t, { ...webhook, CRITICAL_DELAY_SECONDS: '0' });
  for (const tier of ['sensitive', 'critical']) {
    const json = { value: 'v', access_tier: tier };
    const path = `/v1/secrets/prod/${tier.toUpperCase()}`;
    const { status } = await writ.call({ method: 'PUT', url: path, key: writ.adminKey, json });
    assert.equal(status, 201);
  }
  const agent = await writ.createAgent({ name: 'deployer', allowed_scopes: ['secrets:*:prod/*'] });
  const maria = await writ.createAgent({ name: 'maria', role: 'approver' });
  const jonas = await writ.createAgent({ name: 'jonas', role: 'approver' });
  const open = async (json: object = SENSITIVE): Promise<string> => {
    const opened = await writ.call<{ approval_id: string }>({
      method: 'POST',
      url: '/v1/tokens',
      key: agent.key,
      json,
    });
    assert.equal(opened.status, 202, opened.text);
    return opened.body.approval_id;
  };
  const decide = (id: string, verb: 'approve' | 'deny', key = maria.key) =>
    writ.call({ method: 'POST', url: `/v1/approvals/${id}/${verb}`, key, json: {} });
  const poll = (id: string) =>
    writ.call<{ status: string; token?: string }>({
      method: 'GET',
      url: `/v1/approvals/agent/${id}`,
      key: agent.key,
    });
  return { writ, agent, maria, jonas, open, decide, poll, owed: () => writ.sql<Owed>(OUTBOX) };
}

suite('what is told', { skip }, () => {
  test('a request, the vote that grants it and a denial are each told once, and nothing else is', async (t) => {
    const receiver = await startReceiver(t);
    const { open, decide, poll, owed, jonas, agent } = await telling(t, receiver.url);
    const granted = await open({
      ...CRITICAL,
      max_uses: 3,
      allowed_ips: ['192.0.2.0/24'],
      description: 'why',
    });
    assert.equal((await decide(granted, 'approve')).status, 200);
    assert.equal((await decide(granted, 'approve')).status, 409);
    assert.equal((await decide(granted, 'approve', jonas.key)).status, 200);
    const { token = '' } = (await poll(granted)).body;
    assert.match(token, /^ast_tok_/);
    const denied = await open();
    assert.equal((await decide(denied, 'deny')).status, 200);
    await until('every notice', async () => (await owed()).every((notice) => notice.delivered));

    const expected = [
      ['approval.requested', granted, 'pending'],
      ['approval.granted', granted, 'approved'],
      ['approval.requested', denied, 'pending'],
      ['approval.denied', denied, 'denied'],
    ];
    assert.deepEqual(
      (await owed()).map((notice) => [notice.type, notice.approval_id]),
      expected.map(([type, id]) => [type, id]),
    );
    assert.equal(receiver.arrived.length, 4);
    const notices = receiver.arrived.map((arrived) => verified(arrived));
    const told = notices.map(({ type, data }) => [type, data['id'], data['status']]);
    assert.deepEqual(told.map(String).toSorted(), expected.map(String).toSorted());
    const { data } = notices.find((notice) => notice.type === 'approval.granted') ?? assert.fail('not told');
    const facts = {
      agent_id: agent.id,
      agent_name: 'deployer',
      access_tier: 'critical',
      scopes: CRITICAL.scopes,
      ttl_seconds: 3600,
      max_uses: 3,
      allowed_ips: ['192.0.2.0/24'],
      description: 'why',
      approvals_required: 2,
    };
    assert.deepEqual({ ...data, ...facts }, data);
    const sent = JSON.stringify(receiver.arrived);
    assert.ok(!sent.includes(token) && !sent.includes('ast_tok_'), 'no token is told');
    assert.ok(!sent.includes('ak_live_'), 'no key is told');
  });

  test('without a webhook nothing is owed', async (t) => {
    const { open, decide, owed } = await telling(t, undefined);
    assert.equal((await decide(await open(), 'approve')).status, 200);
    assert.equal((await decide(await open(), 'deny')).status, 200);
    assert.deepEqual(await owed(), []);
  });

  test('what is refused is not told', async (t) => {
    const receiver = await startReceiver(t);
    const { writ, open, decide, owed, agent } = await telling(t, receiver.url);
    const id = await open();
    assertRefused(await decide(id, 'approve', agent.key), { status: 403, code: 'FORBIDDEN' });
    await writ.sql('update approvals set ttl_seconds = 86400');
    assertRefused(await decide(id, 'approve'), { status: 500, code: 'INTEGRITY_ERROR' });
    await writ.sql(`update approvals set ttl_seconds = 3600, expires_at = clock_timestamp()`);
    assertRefused(await decide(id, 'deny'), { status: 410, code: 'APPROVAL_EXPIRED' });
    assert.deepEqual(
      (await owed()).map((notice) => notice.type),
      ['approval.requested'],
    );
  });

  test('a decision that cannot be recorded owes no notice, and one that owes none is not made', async (t) => {
    const receiver = await startReceiver(t);
    const { writ, agent, open, decide, owed, poll } = await telling(t, receiver.url);
    const id = await open();
    const before = (await owed()).length;
    await writ.sql(`create function refuse() returns trigger language plpgsql as
      $$ begin raise exception 'no'; end $$`);
    for (const table of ['audit_events', 'webhook_outbox']) {
      await writ.sql(
        `create trigger refused before insert on ${table} for each row execute function refuse()`,
      );
      for (const verb of ['approve', 'deny'] as const) {
        assert.ok((await decide(id, verb)).status >= 500, `${verb} without ${table}`);
      }
      const asked = { method: 'POST', url: '/v1/tokens', json: SENSITIVE };
      assert.ok((await writ.call({ ...asked, key: agent.key })).status >= 500, `asked without ${table}`);
      await writ.sql(`drop trigger refused on ${table}`);
    }
    assert.equal((await owed()).length, before);
    assert.equal((await poll(id)).body.status, 'pending');
    assert.equal((await writ.sql('select 1 from approvals')).length, 1);
    assert.equal((await decide(id, 'approve')).status, 200);
  });
});

suite('how often it is told', { skip }, () => {
  /** What failed is due again now, and not after its pause; what is under way stays leased. */
  const DUE = `
    update webhook_outbox set next_attempt_at = clock_timestamp(), last_failure = null
    where last_failure is not null and delivered_at is null and given_up_at is null`;

  test('what fails twice is sent a third time, the same under the same id, and then no more', async (t) => {
    const receiver = await startReceiver(t, (response) => {
      response.writeHead(receiver.arrived.length <= 2 ? 500 : 200).end();
    });
    const { writ, open, owed } = await telling(t, receiver.url);
    const id = await open();
    await until('that it is taken', async () => {
      await writ.sql(DUE);
      return (await owed())[0]?.delivered;
    });
    const [notice, ...more] = await owed();
    assert.deepEqual(more, []);
    assert.deepEqual([notice?.approval_id, notice?.last_failure, notice?.given_up], [id, null, false]);
    const texts = receiver.arrived.map((arrived) => [arrived.headers['webhook-id'], arrived.body]);
    assert.ok(texts.length >= 3, `${texts.length} tries`);
    assert.deepEqual(texts, Array(notice?.attempts).fill([notice?.id, receiver.arrived[0]?.body]));
    for (const arrived of receiver.arrived) verified(arrived);
  });
});
