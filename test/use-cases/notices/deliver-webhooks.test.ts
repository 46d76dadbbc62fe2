/** Notices: sent once more after each failure, with growing pauses, and given up aloud after a bounded number of tries. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createDeliverWebhooks } from '../../../src/use-cases/notices/deliver-webhooks.ts';
import type { LeasedNotice, SendWebhook, WebhookOutbox } from '../../../src/use-cases/notices/ports.ts';
import { deferred, settled } from '../../support/deferred.ts';

/** Of every try, the time after which the next one is made. */
const PAUSES = [2, 5, 30, 120, 600, 1800, 7200, 28_800];

const aNotice = (id: string, attempts = 1): LeasedNotice => ({ id, payload: `about ${id}`, attempts });

/** An outbox that owes these, and what was said to it. */
function deliveryOf(owed: readonly LeasedNotice[], send: SendWebhook) {
  const leases: { limit: number; seconds: number }[] = [];
  const delivered: string[] = [];
  const failed: [string, string, number | undefined][] = [];
  const givenUp: [string, string][] = [];
  const waiting = [...owed];
  const outbox: WebhookOutbox = {
    lease: async (of) => {
      leases.push(of);
      return waiting.splice(0, of.limit);
    },
    delivered: async (id) => void delivered.push(id),
    failed: async (id, { why, retryAfterSeconds }) => void failed.push([id, why, retryAfterSeconds]),
  };
  const run = createDeliverWebhooks({ outbox, send, onDeadLetter: (id, why) => givenUp.push([id, why]) });
  return { run, leases, delivered, failed, givenUp, waiting };
}

test('a notice that is taken is delivered, and is neither a failure nor given up', async () => {
  const sent: unknown[] = [];
  const { run, delivered, failed, givenUp } = deliveryOf([aNotice('one')], async (notice) => {
    sent.push(notice);
    return undefined;
  });
  await run();
  assert.deepEqual(sent, [{ id: 'one', payload: 'about one' }]);
  assert.deepEqual([delivered, failed, givenUp], [['one'], [], []]);
});

for (const [index, pause] of PAUSES.entries()) {
  test(`after failure ${index + 1} there is another try, ${pause} seconds later`, async () => {
    const { run, delivered, failed, givenUp } = deliveryOf([aNotice('one', index + 1)], async () => 'why');
    await run();
    assert.deepEqual([delivered, failed, givenUp], [[], [['one', 'why', pause]], []]);
  });
}

test('after the last pause it is given up and reported with why; so is one that was counted too often by crashes', async () => {
  for (const attempts of [PAUSES.length + 1, PAUSES.length + 5]) {
    const { run, failed, givenUp } = deliveryOf([aNotice('one', attempts)], async () => 'status 500');
    await run();
    assert.deepEqual(failed, [['one', 'status 500', undefined]]);
    assert.deepEqual(givenUp, [['one', 'status 500']]);
  }
});

test('the last try may still succeed', async () => {
  const { run, delivered, givenUp } = deliveryOf([aNotice('one', PAUSES.length + 1)], async () => undefined);
  await run();
  assert.deepEqual([delivered, givenUp], [['one'], []]);
});

test('one that fails or hangs keeps no other from being delivered', async () => {
  const hanging = deferred<string | undefined>();
  const { run, delivered, failed } = deliveryOf(
    [aNotice('hangs'), aNotice('fails'), aNotice('is well')],
    async ({ id }) => (id === 'hangs' ? hanging.promise : id === 'fails' ? 'status 503' : undefined),
  );
  const running = run();
  await settled();
  assert.deepEqual([delivered, failed], [['is well'], [['fails', 'status 503', 2]]]);
  hanging.resolve(undefined);
  await running;
  assert.deepEqual(delivered, ['is well', 'hangs']);
});

test('a lease outlasts a try of five seconds, and a run takes one batch, so that a stop does not wait for a backlog', async () => {
  const backlog = Array.from({ length: 1000 }, (_, index) => aNotice(String(index)));
  const { run, leases, waiting, delivered } = deliveryOf(backlog, async () => undefined);
  await run();
  assert.equal(leases.length, 1);
  const [{ limit, seconds } = { limit: 0, seconds: 0 }] = leases;
  assert.ok(seconds >= 10, `leased for ${seconds} seconds`);
  assert.ok(limit > 0 && limit <= 100, `${limit} at once`);
  assert.equal(delivered.length, limit);
  assert.equal(waiting.length, 1000 - limit);
});

test('where nothing is owed nothing is sent', async () => {
  const { run, delivered, failed } = deliveryOf([], () => assert.fail('it sent something'));
  await run();
  assert.deepEqual([delivered, failed], [[], []]);
});
