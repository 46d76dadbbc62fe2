/** What Prometheus is told of a whole Writ, on a listener that serves nothing else. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { buildMetricsListener } from '../../src/app/metrics-listener.ts';
import { createLog } from '../../src/platform/log.ts';
import { buildTestApp } from '../support/app.ts';
import { A_PLAN } from '../support/issuing.ts';
import { postgresSkip as skip } from '../support/postgres.ts';
import { configOf } from '../support/test-config.ts';

const WEBHOOK = {
  APPROVAL_WEBHOOK_URL: 'http://127.0.0.1:9/never',
  APPROVAL_WEBHOOK_SECRET: `whsec_${Buffer.alloc(24).toString('base64')}`,
};

async function scraped(t: TestContext) {
  const built = await buildTestApp(t, WEBHOOK);
  const log = createLog({ level: 'silent', formatTimestamp: String });
  const listener = await buildMetricsListener({ config: configOf({}), log, metrics: built.metrics });
  t.after(() => listener.close());
  const scrape = async (): Promise<string[]> =>
    (await listener.inject({ method: 'GET', url: '/metrics' })).payload.split('\n');
  return { ...built, listener, scrape };
}

test('requests, refusals, the pool, the webhook and rows that Writ did not write are told of', {
  skip,
}, async (t) => {
  const { call, createAgent, sql, scrape } = await scraped(t);
  const { key, id } = await createAgent();
  const issue = () => call({ method: 'POST', url: '/token/issue', key, json: { plan: A_PLAN } });
  for (let time = 0; time < 3; time += 1) assert.equal((await issue()).status, 200);
  await call({ method: 'POST', url: '/token/issue', key, json: { plan: 'none' } });
  await call({ method: 'GET', url: `/v1/agents/${id}`, key });
  await call({ method: 'GET', url: '/wp-login.php' });
  await sql(`update agents set allowed_scopes = '{secrets:read:*}' where id = $1`, [id]);
  assert.equal((await issue()).status, 500);
  const lines = await scrape();
  for (const line of [
    'writ_http_requests_total{method="POST",route="/token/issue",status="2xx"} 3',
    'writ_http_requests_total{method="POST",route="/token/issue",status="4xx"} 1',
    'writ_http_requests_total{method="POST",route="/token/issue",status="5xx"} 1',
    'writ_http_requests_total{method="GET",route="/v1/agents/:id",status="4xx"} 1',
    'writ_http_requests_total{method="-",route="-",status="4xx"} 1',
    'writ_http_request_duration_seconds_count{method="POST",route="/token/issue"} 5',
    'writ_refusals_total{code="INVALID_PLAN"} 1',
    'writ_refusals_total{code="FORBIDDEN"} 1',
    'writ_refusals_total{code="NOT_FOUND"} 1',
    'writ_refusals_total{code="INTEGRITY_ERROR"} 1',
    'writ_webhook_owed 0',
    'writ_webhook_given_up_total 0',
    'writ_database_connections_max 4',
  ]) {
    assert.ok(lines.includes(line), `${line}\n${lines.join('\n')}`);
  }
  const seriesOf = (start: string) =>
    Number(
      lines
        .find((line) => line.startsWith(start))
        ?.split(' ')
        .at(-1),
    );
  assert.equal(seriesOf('writ_database_waiting '), 0, 'the scrape itself does not wait');
  assert.ok(seriesOf('writ_integrity_errors_total') >= 1);
  assert.ok(seriesOf('writ_http_request_duration_seconds_sum{method="POST",route="/token/issue"}') > 0);
  assert.ok(seriesOf('process_resident_memory_bytes') > 1_000_000);
  assert.ok(!lines.some((line) => line.includes(id) || line.includes('wp-login')));
});

test('the listener serves one path, by GET alone, and asks for nothing', { skip }, async (t) => {
  const { listener } = await scraped(t);
  const answer = await listener.inject({ method: 'GET', url: '/metrics' });
  assert.equal(answer.statusCode, 200);
  assert.match(String(answer.headers['content-type']), /^text\/plain; version=0\.0\.4/);
  for (const [method, url] of [
    ['POST', '/metrics'],
    ['HEAD', '/metrics'],
    ['GET', '/'],
    ['GET', '/ready'],
    ['GET', '/v1/me'],
  ] as const) {
    assert.equal((await listener.inject({ method, url })).statusCode, 404, `${method} ${url}`);
  }
});

test('each touch of a canary is counted, read or refused, and no other secret', { skip }, async (t) => {
  const { call, adminKey, createAgent, scrape } = await scraped(t);
  const { key } = await createAgent({ allowed_scopes: ['secrets:read:nest/*'] });
  for (const [path, canary] of Object.entries({
    'nest/BIRD': true,
    'else/BIRD': true,
    'nest/STONE': false,
  })) {
    const json = { path, value: 'v', canary };
    assert.equal((await call({ method: 'POST', url: '/v1/secrets', key: adminKey, json })).status, 201);
  }
  const touches = async () => (await scrape()).filter((line) => line.startsWith('writ_canary_touches_total'));
  assert.deepEqual(await touches(), ['writ_canary_touches_total 0']);
  for (const [path, status] of [
    ['nest/STONE', 200],
    ['nest/BIRD', 200],
    ['nest/BIRD', 200],
    ['else/BIRD', 403],
  ] as const) {
    assert.equal((await call({ method: 'GET', url: `/v1/secrets/${path}`, key })).status, status);
  }
  assert.deepEqual(await touches(), ['writ_canary_touches_total 3']);
});
