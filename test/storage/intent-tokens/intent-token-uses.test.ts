/**
 * Uses of intent tokens, on both databases: granted exactly where the naive ledger grants them, whatever comes in one
 * group, and nothing is written of what is not granted.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { consumedIndices, refuseUse } from '../../../src/domain/intent-tokens/step-uses.ts';
import type { VerificationRefusal } from '../../../src/domain/intent-tokens/verification-code.ts';
import type { Database } from '../../../src/storage/engine/database.ts';
import { createIntentTokenUses } from '../../../src/storage/intent-tokens/intent-token-use-store.ts';
import { sweep } from '../../../src/storage/sweep.ts';
import { createUseLedger } from '../../domain/intent-tokens/use-ledger.ts';
import { COSTLY_RUNS } from '../../support/effort.ts';
import { aKey, storedAgent } from '../builders.ts';
import { BACKENDS, rows } from '../opened.ts';
import { aUse, booksOf, delegatedIntent, type StoredIntent, storedIntent } from './use-builders.ts';

const STEPS = 6;

const use = fc.record({
  /** Of the root and of what was delegated from it. */
  holder: fc.nat(2),
  consumedStep: fc.option(fc.nat(STEPS - 1)),
  rateLimit: fc.option(fc.integer({ min: 1, max: 4 })),
});
/** Uses that arrive together, after a pause. No sum of pauses is a little less than an hour. */
const group = fc.record({
  pauseSeconds: fc.constantFrom(0, 0, 1200, 3600),
  uses: fc.array(use, { minLength: 1, maxLength: 6 }),
});

/** Instead of waiting, what was written is made older. */
const pause = (database: Database, { rootJti }: StoredIntent, seconds: number) =>
  rows(
    database,
    'update intent_token_uses set window_start = window_start - make_interval(secs => $2) where root_jti = $1',
    [rootJti, seconds],
  );

for (const backend of BACKENDS) {
  suite(`uses of intent tokens on ${backend.name}`, { skip: backend.skip }, () => {
    test('random sequences are granted and refused as the naive ledger says', async (t) => {
      const database = await backend.openMigrated(t);
      const uses = createIntentTokenUses(database);
      const agent = await storedAgent(database);
      await fc.assert(
        fc.asyncProperty(fc.array(group, { maxLength: 6 }), async (groups) => {
          const root = await storedIntent(database, agent, { steps: STEPS });
          const child = await delegatedIntent(database, root);
          const holders = [root, child, await delegatedIntent(database, child)];
          const ledger = createUseLedger();
          const granted: string[] = [];
          let now = 0;
          for (const { pauseSeconds, uses: asked } of groups) {
            now += pauseSeconds;
            await pause(database, root, pauseSeconds);
            const members = asked.map(({ holder, ...limits }) => aUse(holders[holder] ?? root, limits));
            const outcomes = await Promise.all(members.map((member) => uses.record(member)));
            for (const [index, member] of members.entries()) {
              const refused = ledger.use(member, now);
              assert.equal(outcomes[index], refused === undefined);
              if (refused === undefined) granted.push(member.event.id);
            }
            const found = await uses.find(root.jti);
            if (found === undefined) continue;
            assert.deepEqual(consumedIndices(found.consumedSteps), ledger.consumed());
            assert.equal(found.windowCount, ledger.counted(now));
            for (const probe of asked) {
              const refusal: VerificationRefusal | undefined = refuseUse(found, probe);
              const isConsumed =
                probe.consumedStep !== null && ledger.consumed().includes(probe.consumedStep);
              const isFull = probe.rateLimit !== null && ledger.counted(now) >= probe.rateLimit;
              assert.equal(refusal?.code, isConsumed ? 'STEP_CONSUMED' : isFull ? 'RATE_LIMIT' : undefined);
            }
          }
          assert.deepEqual((await booksOf(database, root)).events, granted.sort());
        }),
        { numRuns: COSTLY_RUNS },
      );
    });

    test('many roots in one group are granted each by its own count', async (t) => {
      const database = await backend.openMigrated(t);
      const uses = createIntentTokenUses(database);
      const agent = await storedAgent(database);
      const roots: StoredIntent[] = [];
      for (let made = 0; made < 12; made += 1) roots.push(await storedIntent(database, agent));
      const asked = roots.flatMap((root) =>
        [0, 1, 0].map((consumedStep) => ({ root, member: aUse(root, { consumedStep, rateLimit: 5 }) })),
      );
      const outcomes = await Promise.all(asked.map(({ member }) => uses.record(member)));
      for (const root of roots) {
        const own = outcomes.filter((_, index) => asked[index]?.root === root);
        assert.deepEqual(own, [true, true, false]);
        const { used, events } = await booksOf(database, root);
        assert.deepEqual([used?.steps, used?.count, events.length], ['11000000', 2, 2]);
      }
    });

    test('a plan of 1000 steps is consumed to its last one', async (t) => {
      const database = await backend.openMigrated(t);
      const uses = createIntentTokenUses(database);
      const root = await storedIntent(database, await storedAgent(database), { steps: 1000 });
      for (const consumedStep of [999, 0, 500, 999]) await uses.record(aUse(root, { consumedStep }));
      const { used, events } = await booksOf(database, root);
      assert.deepEqual(consumedIndices(used?.steps ?? ''), [0, 500, 999]);
      assert.equal(used?.steps.length, 1000);
      assert.equal(events.length, 3);
    });

    test('nothing is written for a token that is not live, a changed principal or a dead key', async (t) => {
      const database = await backend.openMigrated(t);
      const uses = createIntentTokenUses(database);
      const agent = await storedAgent(database);
      const other = await storedAgent(database);
      const root = await storedIntent(database, agent);
      const child = await delegatedIntent(database, root, { owner: other });
      const elsewhere = await storedIntent(database, agent);
      const revoked = 'revoked_at = clock_timestamp()';
      const cases: readonly (readonly [
        what: string,
        end: string | undefined,
        holder: StoredIntent,
        changes?: object,
      ])[] = [
        ['the token is revoked', `update intent_tokens set ${revoked} where jti = '${child.jti}'`, child],
        ['an ancestor is revoked', `update intent_tokens set ${revoked} where jti = '${root.jti}'`, child],
        [
          'its agent is revoked',
          `update agents set ${revoked} where id = '${other.id}'`,
          child,
          { callerKeyId: agent.key.keyId },
        ],
        [
          'the agent of an ancestor is revoked',
          `update agents set ${revoked} where id = '${agent.id}'`,
          child,
        ],
        [
          'the token has expired',
          `update intent_tokens set expires_at = clock_timestamp() where jti = '${root.jti}'`,
          root,
        ],
        ['the agent is at another revision', `update agents set revision = 2 where id = '${agent.id}'`, root],
        [
          'the caller’s key is revoked',
          `update api_keys set ${revoked} where key_id = '${agent.key.keyId}'`,
          root,
        ],
        [
          'the caller’s key has expired',
          `update api_keys set expires_at = clock_timestamp() where key_id = '${agent.key.keyId}'`,
          root,
        ],
        ['there is no such key', undefined, root, { callerKeyId: aKey().keyId }],
        ['the root is another', undefined, child, { rootJti: elsewhere.jti }],
        ['there is no such token', undefined, { ...root, jti: other.id }],
      ];
      const again = `
        update intent_tokens set revoked_at = null, expires_at = to_timestamp(4000000000);
        update agents set revoked_at = null, revision = 1;
        update api_keys set revoked_at = null, expires_at = null`;
      for (const [what, end, holder, changes] of cases) {
        if (end !== undefined) await rows(database, end);
        const asked = aUse(holder, { consumedStep: 0, rateLimit: 9, ...changes });
        const actorId = what.startsWith('its agent') ? agent.id : asked.event.actorId;
        assert.equal(await uses.record({ ...asked, event: { ...asked.event, actorId } }), false, what);
        assert.deepEqual(await booksOf(database, root), { used: undefined, events: [] }, what);
        for (const statement of again.split(';')) await rows(database, statement);
      }
      assert.equal(await uses.record(aUse(child, { consumedStep: 0, rateLimit: 9 })), true, 'the control');
    });

    test('the row of uses goes with the row of its root, and no earlier', async (t) => {
      const database = await backend.openMigrated(t);
      const uses = createIntentTokenUses(database);
      const agent = await storedAgent(database);
      const root = await storedIntent(database, agent);
      const child = await delegatedIntent(database, root);
      await uses.record(aUse(child, { consumedStep: 3 }));
      const dead = `expires_at = clock_timestamp() - interval '31 days'`;
      await rows(database, `update intent_tokens set ${dead} where jti = $1`, [root.jti]);
      await sweep(database, { retentionDays: 30 });
      assert.equal((await booksOf(database, root)).used?.steps, '00010000');
      await rows(database, `update intent_tokens set ${dead} where jti = $1`, [child.jti]);
      await sweep(database, { retentionDays: 30 });
      await sweep(database, { retentionDays: 30 });
      assert.deepEqual(await rows(database, 'select 1 from intent_token_uses'), []);
    });
  });
}
