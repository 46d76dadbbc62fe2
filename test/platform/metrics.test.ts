/** What is counted and read comes out as text that Prometheus reads, whatever single metric fails. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMetrics } from '../../src/platform/metrics.ts';
import { createMetricsText } from '../../src/platform/metrics-text.ts';

const linesOf = async (metrics: ReturnType<typeof createMetrics>): Promise<string[]> =>
  (await createMetricsText(metrics).scrape()).split('\n');

test('a counter adds up per labels, and one without labels is there from the start', async () => {
  const metrics = createMetrics();
  metrics.count('writ_job_failures_total', { job: 'sweep' });
  metrics.count('writ_job_failures_total', { job: 'sweep' }, 2);
  metrics.count('writ_job_failures_total', { job: 'clock' });
  const lines = await linesOf(metrics);
  assert.ok(lines.includes('writ_job_failures_total{job="sweep"} 3'));
  assert.ok(lines.includes('writ_job_failures_total{job="clock"} 1'));
  assert.ok(lines.includes('# TYPE writ_job_failures_total counter'));
  assert.ok(lines.includes('writ_webhook_given_up_total 0'));
});

test('what is read is read at each scrape', async () => {
  const metrics = createMetrics();
  let owed = 0;
  metrics.read('writ_webhook_owed', async () => [{ labels: {}, value: owed }]);
  for (owed of [3, 0]) assert.ok((await linesOf(metrics)).includes(`writ_webhook_owed ${owed}`));
});

test('what is asked at one scrape is asked at once, in the order of the declarations', async () => {
  const metrics = createMetrics();
  const asked: string[] = [];
  let answer = (): void => {};
  const question = new Promise<void>((resolve) => {
    answer = resolve;
  });
  metrics.read('writ_api_key_next_end_seconds', async () => {
    asked.push('next end');
    answer();
    return [{ labels: {}, value: 1 }];
  });
  metrics.read('writ_api_keys_ending', async () => {
    asked.push('ending');
    await question;
    return [{ labels: {}, value: 2 }];
  });
  metrics.read('writ_database_waiting', () => {
    asked.push('pool');
    return [{ labels: {}, value: 0 }];
  });
  const lines = await linesOf(metrics);
  assert.deepEqual(asked, ['pool', 'ending', 'next end']);
  assert.ok(lines.includes('writ_api_keys_ending 2'));
});

test('a histogram counts upwards from bucket to bucket', async () => {
  const metrics = createMetrics();
  metrics.read('writ_http_request_duration_seconds', () => [
    {
      labels: { method: 'GET', route: '/v1/agents/:id' },
      value: { bounds: [0.001, 0.1], counts: [1, 2, 3], sum: 9.5 },
    },
  ]);
  const name = 'writ_http_request_duration_seconds';
  const labels = 'method="GET",route="/v1/agents/:id"';
  assert.deepEqual(
    (await linesOf(metrics)).filter((line) => line.startsWith(name)),
    [
      `${name}_bucket{${labels},le="0.001"} 1`,
      `${name}_bucket{${labels},le="0.1"} 3`,
      `${name}_bucket{${labels},le="+Inf"} 6`,
      `${name}_sum{${labels}} 9.5`,
      `${name}_count{${labels}} 6`,
    ],
  );
});

test('what cannot be read is left out and counted, and the rest is there', async () => {
  const metrics = createMetrics();
  metrics.read('writ_webhook_owed', () => Promise.reject(new Error('no database')));
  metrics.read('writ_database_waiting', () => [{ labels: {}, value: 7 }]);
  const lines = await linesOf(metrics);
  assert.ok(!lines.some((line) => line.includes('writ_webhook_owed ')));
  assert.ok(lines.includes('writ_database_waiting 7'));
  assert.ok(lines.includes('writ_scrape_failures_total{metric="writ_webhook_owed"} 1'));
});

test('scrapes at the same time share one reading', async () => {
  const metrics = createMetrics();
  let readings = 0;
  metrics.read('writ_webhook_owed', async () => [{ labels: {}, value: ++readings }]);
  const { scrape } = createMetricsText(metrics);
  await Promise.all([scrape(), scrape(), scrape()]);
  assert.equal(readings, 1);
});
