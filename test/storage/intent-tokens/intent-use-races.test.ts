/**
 * A step is consumed once, an hour has as many verifications as it may have, and a revoked token allows nothing more:
 * clients of two server processes are raced for it, and a revocation is put between by locks that the test holds.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createIntentTokenInventory } from '../../../src/storage/intent-tokens/intent-token-inventory.ts';
import { createIntentTokenUses } from '../../../src/storage/intent-tokens/intent-token-use-store.ts';
import { RACE_ROUNDS } from '../../support/effort.ts';
import { untilHeldUp } from '../../support/issuing.ts';
import { openPatiently } from '../../support/patient-database.ts';
import { createTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { anEvent, storedAgent } from '../builders.ts';
import { heldLocks } from '../held-locks.ts';
import { rows } from '../opened.ts';
import { granted, openSite, type Reply, type Site } from '../secrets/secret-books.ts';
import { aUse, booksOf, delegatedIntent, storedIntent } from './use-builders.ts';

const CLIENTS = 64;

interface IssuedPlan {
  readonly jwt: string;
  readonly jti: string;
  readonly proofs: readonly unknown[];
}

async function aPlan(site: Site, { steps, policy }: { steps: number; policy?: object }): Promise<IssuedPlan> {
  const plan = { steps: Array.from({ length: steps }, (_, n) => ({ action: 'send', mcp: 'mail', n })) };
  const json = { plan, expires_in: 3600, ...(policy === undefined ? {} : { policy }) };
  const body = await granted(site.ask, { method: 'POST', path: '/token/issue', by: site.adminKey, json });
  return {
    jwt: String(body['token']),
    jti: String(body['token_id']),
    proofs: body['step_proofs'] as readonly unknown[],
  };
}

const toVerify = (
  site: Site,
  { jwt, proofs }: IssuedPlan,
  index: number,
  more: object = { consume: true },
) => ({
  method: 'POST',
  path: '/token/verify',
  by: site.adminKey,
  json: { token: jwt, step_index: index, action: 'send', proof: proofs[index], ...more },
});

function tally(replies: readonly Reply[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status, body, text } of replies) {
    assert.equal(status, 200, text);
    assert.equal(body['valid'], body['code'] === 'VALID');
    const code = String(body['code']);
    counts[code] = (counts[code] ?? 0) + 1;
  }
  return counts;
}

/** What the database holds of one token: consumed steps, counted verifications, and an event for each grant. */
async function booksAt(site: Site, { jti }: IssuedPlan) {
  const [used] = await site.sql<{ steps: string; count: number }>(
    'select consumed_steps::text as steps, window_count as count from intent_token_uses where root_jti = $1',
    [jti],
  );
  const events = await site.sql<{ request_id: string; created_at: Date }>(
    `select request_id, created_at from audit_events
     where resource_id = $1 and event_type = 'intent.verified' and metadata ->> 'code' = 'VALID'`,
    [jti],
  );
  return { used, requestIds: events.map((event) => event.request_id).sort(), events };
}

const validIds = (replies: readonly Reply[]) =>
  replies
    .filter(({ body }) => body['valid'] === true)
    .map(({ requestId }) => requestId)
    .sort();

test('two processes and the uses of an intent token', { skip: postgresSkip }, async (t) => {
  const site = await openSite(t);

  for (let round = 1; round <= RACE_ROUNDS; round += 1) {
    await t.test(
      `round ${round}: of ${CLIENTS} that consume one step exactly one may carry it out`,
      async () => {
        const plan = await aPlan(site, { steps: 3 });
        const replies = await site.race(CLIENTS, () => toVerify(site, plan, 1));
        assert.deepEqual(tally(replies), { VALID: 1, STEP_CONSUMED: CLIENTS - 1 });
        const { used, requestIds } = await booksAt(site, plan);
        assert.equal(used?.steps, '010');
        assert.deepEqual(requestIds, validIds(replies));
      },
    );

    await t.test(`round ${round}: of ${CLIENTS} for 8 steps one carries out each`, async () => {
      const plan = await aPlan(site, { steps: 8 });
      const replies = await site.race(CLIENTS, (index) => toVerify(site, plan, Math.floor(index / 2) % 8));
      assert.deepEqual(tally(replies), { VALID: 8, STEP_CONSUMED: CLIENTS - 8 });
      const steps = replies.filter(({ body }) => body['valid'] === true).map(({ body }) => body['step']);
      assert.equal(new Set(steps.map((step) => JSON.stringify(step))).size, 8);
      const { used, requestIds } = await booksAt(site, plan);
      assert.equal(used?.steps, '1'.repeat(8));
      assert.deepEqual(requestIds, validIds(replies));
    });

    await t.test(`round ${round}: of ${CLIENTS} under a rate_limit of 7 exactly 7 are valid`, async () => {
      const plan = await aPlan(site, { steps: 2, policy: { allow: ['*'], rate_limit: 7 } });
      const replies = await site.race(CLIENTS, (index) => toVerify(site, plan, index % 2, {}));
      assert.deepEqual(tally(replies), { VALID: 7, RATE_LIMIT: CLIENTS - 7 });
      const { used, requestIds } = await booksAt(site, plan);
      assert.deepEqual([used?.steps, used?.count], ['00', 7]);
      assert.deepEqual(requestIds, validIds(replies));
    });

    await t.test(`round ${round}: a revocation among consumers ends the token for all of them`, async () => {
      const plan = await aPlan(site, { steps: CLIENTS });
      const revoke = {
        method: 'POST',
        path: '/token/revoke',
        by: site.adminKey,
        json: { token_id: plan.jti },
      };
      const [revocations, replies] = await Promise.all([
        site.race(2, () => revoke),
        site.race(CLIENTS, (index) => toVerify(site, plan, index)),
      ]);
      for (const { status, body, text } of revocations) {
        assert.equal(status, 200, text);
        assert.deepEqual(body['revoked'], [plan.jti]);
      }
      const { VALID = 0, TOKEN_REVOKED = 0, ...others } = tally(replies);
      assert.deepEqual([VALID + TOKEN_REVOKED, others], [CLIENTS, {}]);
      const { used, requestIds, events } = await booksAt(site, plan);
      assert.equal((used?.steps ?? '').replaceAll('0', '').length, VALID);
      assert.deepEqual(requestIds, validIds(replies));
      const ended = await site.sql<{ created_at: Date }>(
        `select created_at from audit_events where event_type = 'intent.revoked' and resource_id = $1`,
        [plan.jti],
      );
      assert.equal(ended.length, 1, 'two revocations at once are one');
      // Not by `revoked_at`: an update takes that time before it waits for the row, its event's once it has it.
      const endedAt = ended[0]?.created_at ?? assert.fail();
      for (const event of events) assert.ok(event.created_at <= endedAt);
      const late = await site.race(4, (index) => toVerify(site, plan, index));
      assert.deepEqual(tally(late), { TOKEN_REVOKED: 4 });
    });
  }
});

async function twoPools(t: TestContext) {
  const { url } = await createTestDatabase(t);
  const open = async () => {
    const database = await openPatiently(url, 4);
    t.after(() => database.close());
    return database;
  };
  return [await open(), await open()] as const;
}

test('what was delegated multiplies nothing: one root has one count in two processes', {
  skip: postgresSkip,
}, async (t) => {
  const [one, two] = await twoPools(t);
  const agent = await storedAgent(one);
  const roots = [
    await storedIntent(one, agent),
    await storedIntent(one, agent),
    await storedIntent(one, agent),
  ];
  const families = await Promise.all(
    roots.map(async (root) => {
      const child = await delegatedIntent(one, root);
      return [root, child, await delegatedIntent(one, root), await delegatedIntent(one, child)];
    }),
  );
  const queues = [createIntentTokenUses(one), createIntentTokenUses(two)];
  const asked = Array.from({ length: 360 }, (_, index) => {
    const order = index % 2 === 0 ? families : families.toReversed();
    const family = order[Math.floor(index / 2) % order.length] ?? assert.fail();
    const holder = family[Math.floor(index / 6) % family.length] ?? assert.fail();
    const queue = queues[index % 2] ?? assert.fail();
    const limits = index % 3 === 0 ? { consumedStep: index % 8 } : { rateLimit: 11 };
    return { rootJti: holder.rootJti, limits, outcome: queue.record(aUse(holder, limits)) };
  });
  const outcomes = await Promise.all(asked.map(async (use) => ({ ...use, isGranted: await use.outcome })));
  for (const root of roots) {
    const given = outcomes.filter(({ rootJti, isGranted }) => rootJti === root.jti && isGranted);
    const counted = given.filter(({ limits }) => 'rateLimit' in limits);
    const { used, events } = await booksOf(one, root);
    assert.equal(counted.length, 11);
    assert.equal(used?.count, 11);
    const steps = given.flatMap(({ limits }) => ('consumedStep' in limits ? [limits.consumedStep] : []));
    assert.equal(new Set(steps).size, steps.length, 'no step was given twice');
    assert.equal(steps.length, (used?.steps ?? '').replaceAll('0', '').length);
    assert.equal(events.length, given.length);
  }
});

test('a use that waits while its token or an ancestor is revoked is not granted', {
  skip: postgresSkip,
}, async (t) => {
  const { holder, openPatient, waiting } = await heldLocks(t);
  const database = await openPatient();
  const uses = createIntentTokenUses(database);
  for (const ended of ['root', 'parent', 'itself'] as const) {
    const agent = await storedAgent(database);
    const root = await storedIntent(database, agent);
    const parent = await delegatedIntent(database, root);
    const child = await delegatedIntent(database, parent);
    const revoked = { root, parent, itself: child }[ended];
    await holder.query('begin');
    await holder.query('update intent_tokens set revoked_at = clock_timestamp() where jti = $1', [
      revoked.jti,
    ]);
    const use = uses.record(aUse(child, { consumedStep: 0, rateLimit: 5 }));
    await untilHeldUp('the use waits for the revocation', [use], async () => (await waiting()) === 1);
    await holder.query('commit');
    assert.equal(await use, false, ended);
    assert.deepEqual(await booksOf(database, root), { used: undefined, events: [] }, ended);
  }
});

test('a revocation waits for the use before it, and no longer', { skip: postgresSkip }, async (t) => {
  const { holder, openPatient, waiting } = await heldLocks(t);
  const [first, second] = [await openPatient(), await openPatient()];
  const agent = await storedAgent(first);
  const admin = await storedAgent(first, { role: 'admin' });
  const root = await storedIntent(first, agent);
  const uses = createIntentTokenUses(first);
  await uses.record(aUse(root, { consumedStep: 7 }));
  await holder.query('begin');
  await holder.query('select 1 from intent_token_uses where root_jti = $1 for update', [root.jti]);
  const use = uses.record(aUse(root, { consumedStep: 0 }));
  await untilHeldUp('the use waits', [use], async () => (await waiting()) === 1);
  const event = anEvent({ eventType: 'intent.revoked', resourceType: 'intent_token', resourceId: root.jti });
  const revocation = createIntentTokenInventory(second).revoke(root.jti, {
    actorKeyId: admin.key.keyId,
    event,
  });
  await untilHeldUp('the revocation waits behind it', [use, revocation], async () => (await waiting()) === 2);
  await holder.query('commit');
  assert.equal(await use, true, 'it was there first');
  assert.equal(await revocation, 'revoked');
  assert.equal(await uses.record(aUse(root, { consumedStep: 1 })), false);
  const [row] = await rows<{ n: number }>(
    first,
    `select count(*)::int as n from audit_events where id = $1`,
    [event.id],
  );
  assert.equal(row?.n, 1);
});
