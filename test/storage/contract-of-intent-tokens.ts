/** What the record of an intent token promises: it is there with its event, or neither is. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { IdempotencyRecord, IntentTokenRecord } from '../../src/use-cases/intent-tokens/ports.ts';
import { agentIn, aKey, anIssue, aWrite } from './builders.ts';
import { type FiveStores, keyIsDead } from './five-stores.ts';

export function contractOfIntentTokens(on: FiveStores): void {
  suite('intent tokens', () => {
    test('a token and its event appear together', async () => {
      const { record, event } = anIssue(await agentIn(on));
      assert.equal(await on.intents.issue(record, event), true);
      assert.equal(await on.isIssued(record.jti), true);
      assert.deepEqual(await on.eventsOf(record.jti), ['intent.issued']);
    });

    for (const [what, end] of Object.entries(keyIsDead(on))) {
      test(`neither token nor event is written when ${what}`, async () => {
        const agent = await agentIn(on);
        await end(agent);
        const { record, event } = anIssue(agent);
        assert.equal(await on.intents.issue(record, event), false);
        assert.equal(await on.isIssued(record.jti), false);
        assert.deepEqual(await on.eventsOf(record.jti), []);
      });
    }

    test('one agent’s id under another’s key writes neither token nor event', async () => {
      const agent = await agentIn(on);
      const other = await agentIn(on);
      const { record, event } = anIssue(agent, { keyId: other.key.keyId });
      assert.equal(await on.intents.issue(record, event), false);
      assert.equal(await on.isIssued(record.jti), false);
      assert.deepEqual(await on.eventsOf(record.jti), []);
    });

    test('a second key of the agent goes on when the first is revoked', async () => {
      const agent = await agentIn(on);
      const second = aKey();
      await on.agents.addKey(agent.id, second, aWrite());
      await on.agents.revokeKey({ agentId: agent.id, keyId: agent.key.keyId }, aWrite());
      const { record, event } = anIssue(agent, { keyId: second.keyId });
      assert.equal(await on.intents.issue(record, event), true);
    });

    test('fifty concurrent issues leave fifty tokens with exactly one event each', async () => {
      const agent = await agentIn(on);
      const issues = Array.from({ length: 50 }, () => anIssue(agent));
      const outcomes = await Promise.all(issues.map(({ record, event }) => on.intents.issue(record, event)));
      assert.deepEqual(outcomes, Array(50).fill(true));
      for (const { record } of issues) {
        assert.equal(await on.isIssued(record.jti), true);
        assert.deepEqual(await on.eventsOf(record.jti), ['intent.issued']);
      }
    });

    test('in a group each member is judged by itself', async () => {
      const live = await agentIn(on);
      const dead = await agentIn(on);
      await on.agents.revoke(dead.id, aWrite());
      const issues = Array.from({ length: 30 }, (_, index) => anIssue(index % 3 === 0 ? dead : live));
      const outcomes = await Promise.all(issues.map(({ record, event }) => on.intents.issue(record, event)));
      assert.deepEqual(
        outcomes,
        issues.map((_, index) => index % 3 !== 0),
      );
      for (const [index, { record }] of issues.entries()) {
        assert.equal(await on.isIssued(record.jti), index % 3 !== 0);
        assert.equal((await on.eventsOf(record.jti)).length, index % 3 === 0 ? 0 : 1);
      }
    });

    test('a member that the database refuses fails alone', async () => {
      const agent = await agentIn(on);
      const first = anIssue(agent);
      await on.intents.issue(first.record, first.event);
      const others = Array.from({ length: 10 }, () => anIssue(agent));
      const repeated = anIssue(agent, { jti: first.record.jti });
      const [, again, ...rest] = await Promise.allSettled([
        // The first goes alone; what arrives while it is under way forms one group.
        on.intents.issue(...partsOf(anIssue(agent))),
        on.intents.issue(...partsOf(repeated)),
        ...others.map((issue) => on.intents.issue(...partsOf(issue))),
      ]);
      assert.equal(again?.status, 'rejected');
      assert.ok(rest.every((outcome) => outcome.status === 'fulfilled' && outcome.value));
      assert.equal((await on.eventsOf(first.record.jti)).length, 1);
    });

    test('under an idempotency key one token is issued, and found again with what was kept of it', async () => {
      const agent = await agentIn(on);
      const scope = { agentId: agent.id, path: '/token/issue', key: 'k' };
      const [first, second] = [anIssue(agent), anIssue(agent)];
      const kept = anIdempotencyRecordOf(first.record);
      assert.equal(await on.intents.findIssued(scope), undefined);
      assert.equal(await on.intents.issue(...partsOf(first), { scope, record: kept }), true);
      const late = { scope, record: anIdempotencyRecordOf(second.record) };
      assert.equal(await on.intents.issue(...partsOf(second), late), false);
      assert.equal(await on.isIssued(second.record.jti), false);
      assert.deepEqual(await on.eventsOf(second.record.jti), []);
      assert.deepEqual(await on.intents.findIssued(scope), kept);
      for (const other of [{ key: 'other' }, { path: '/other' }, { agentId: (await agentIn(on)).id }]) {
        assert.equal(await on.intents.findIssued({ ...scope, ...other }), undefined);
      }
    });
  });
}

const partsOf = ({ record, event }: ReturnType<typeof anIssue>) => [record, event] as const;

const anIdempotencyRecordOf = (record: IntentTokenRecord): IdempotencyRecord => ({
  bodySha256Hex: '0c'.repeat(32),
  jwtSha256Hex: '0d'.repeat(32),
  jti: record.jti,
  planId: record.planId,
  keyId: record.keyId,
  kid: record.kid,
  issuer: 'https://writ.example',
  audience: 'writ',
  issuedAtSeconds: record.issuedAtSeconds,
  expiresAtSeconds: record.expiresAtSeconds,
});
