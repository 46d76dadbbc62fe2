/** Jobs: each by itself, never twice at once, and a failure is reported and not fatal. Time is the test's own. */

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { startJobs } from '../../src/platform/job-scheduler.ts';
import { deferred } from '../support/deferred.ts';

const settled = async (): Promise<void> => {
  for (let turns = 0; turns < 10; turns += 1) await Promise.resolve();
};

/** Moves the time on, one second after another, and lets everything that is due finish. */
async function pass(t: TestContext, seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    t.mock.timers.tick(1000);
    await settled();
  }
}

test('a job runs as often as it should, not before its time, and not after it was stopped', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const ran: string[] = [];
  const job = (name: string, everyMs: number) => ({ name, everyMs, run: async () => void ran.push(name) });
  const stop = startJobs([job('often', 1000), job('seldom', 3000)], () => assert.fail());
  await settled();
  assert.deepEqual(ran, []);
  await pass(t, 3);
  assert.deepEqual(ran, ['often', 'often', 'often', 'seldom']);
  await stop();
  await pass(t, 10);
  assert.equal(ran.length, 4);
});

test('a job that takes long does not run twice at once, and goes on afterwards', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const endings: (() => void)[] = [];
  const stop = startJobs(
    [{ name: 'slow', everyMs: 1000, run: () => new Promise((resolve) => void endings.push(resolve)) }],
    () => assert.fail(),
  );
  await pass(t, 5);
  assert.equal(endings.length, 1);
  endings[0]?.();
  await settled();
  await pass(t, 1);
  assert.equal(endings.length, 2);
  endings[1]?.();
  await stop();
});

test('a job that fails is reported by its name, and it and the others go on', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const failures: [string, unknown][] = [];
  const fault = new Error('broken');
  const ran: string[] = [];
  const stop = startJobs(
    [
      { name: 'bad', everyMs: 1000, run: () => Promise.reject(fault) },
      { name: 'good', everyMs: 1000, run: async () => void ran.push('good') },
    ],
    (job, error) => failures.push([job, error]),
  );
  await pass(t, 3);
  assert.deepEqual(failures, [
    ['bad', fault],
    ['bad', fault],
    ['bad', fault],
  ]);
  assert.equal(ran.length, 3);
  await stop();
});

test('stopping waits for what runs', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const work = deferred();
  const stop = startJobs([{ name: 'slow', everyMs: 1000, run: () => work.promise }], () => assert.fail());
  await pass(t, 1);
  let stopped = false;
  const stopping = stop().then(() => {
    stopped = true;
  });
  await settled();
  assert.equal(stopped, false);
  work.resolve();
  await stopping;
});

test('stopping waits for what fails as well, and is fine where nothing runs', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const reported: string[] = [];
  const work = deferred();
  const stop = startJobs([{ name: 'slow', everyMs: 1000, run: () => work.promise }], (job) =>
    reported.push(job),
  );
  await pass(t, 1);
  const stopping = stop();
  work.reject(new Error('broken'));
  await stopping;
  assert.deepEqual(reported, ['slow']);
  await startJobs([], () => assert.fail())();
});
