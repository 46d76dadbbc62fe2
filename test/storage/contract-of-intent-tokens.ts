/** What the record of an intent token promises: it is there with its event, or neither is. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type {
  IdempotencyRecord,
  IntentTokenRecord,
  RepeatStanding,
} from '../../src/use-cases/intent-tokens/ports.ts';
import type { NewAgent } from '../../src/use-cases/principals/ports.ts';
import { agentIn, aKey, anEvent, anIssue, aWrite } from './builders.ts';
import { type FiveStores, keyIsDead, SIGNER_STATES } from './five-stores.ts';

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

    for (const state of SIGNER_STATES) {
      const signs = state === 'is leaving';
      test(`what a signing key signed that ${state} is ${signs ? 'written' : 'not written, nor is its event'}`, async () => {
        const { record, event } = anIssue(await agentIn(on), { kid: await on.signerThat(state) });
        assert.equal(await on.intents.issue(record, event), signs);
        assert.equal(await on.isIssued(record.jti), signs);
        assert.deepEqual(await on.eventsOf(record.jti), signs ? ['intent.issued'] : []);
      });
    }

    test('a token whose signing key is compromised is not handed out again', async () => {
      const agent = await agentIn(on);
      const scope = { agentId: agent.id, path: '/token/issue', key: 'of a leaked key' };
      const kid = await on.signerThat('is leaving');
      const { record, event } = anIssue(agent, { kid });
      const kept = anIdempotencyRecordOf(record);
      assert.equal(await on.intents.issue(record, event, { scope, record: kept }), true);
      await on.compromise(kid);
      assert.deepEqual(await on.intents.findIssued(scope), { ...kept, standing: 'revoked' });
      const repeat = { scope, jti: record.jti, callerKeyId: agent.key.keyId, agentRevision: 1 };
      assert.equal(await on.intents.recordRepeat({ ...repeat, event: anEvent() }), false);
    });

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
      const asRemembered = anIssue(agent, { keyId: second.keyId });
      assert.equal(await on.intents.issue(...partsOf(asRemembered)), false, 'before its row is read again');
      const agentRevision = (await on.credentials.findKey(second.keyId))?.caller.principal.revision ?? -1;
      const { record, event } = anIssue(agent, { keyId: second.keyId, agentRevision });
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
      assert.deepEqual(await on.intents.findIssued(scope), { ...kept, standing: 'live' });
      for (const other of [{ key: 'other' }, { path: '/other' }, { agentId: (await agentIn(on)).id }]) {
        assert.equal(await on.intents.findIssued({ ...scope, ...other }), undefined);
      }
    });

    test('a repeat is on record while everything that it rests on is live', async () => {
      const { repeat, record } = await aRepeat(on);
      assert.equal(await on.intents.recordRepeat(repeat), true);
      assert.equal(
        await on.intents.recordRepeat({ ...repeat, event: anEvent({ resourceId: record.jti }) }),
        true,
      );
      assert.equal((await on.eventsOf(record.jti)).length, 3);
    });

    const dead = keyIsDead(on);
    const endings: Readonly<
      Record<string, readonly [standing: RepeatStanding, (issued: Repeatable) => Promise<unknown>]>
    > = {
      'the token was revoked': ['revoked', ({ record }) => on.endIntent(record.jti, 'revoked')],
      'the token has expired': ['expired', ({ record }) => on.endIntent(record.jti, 'expired')],
      'the key it was issued to was revoked': [
        'key_ended',
        ({ agent }) => ended('the key is revoked', agent),
      ],
      'the key it was issued to has expired': [
        'key_ended',
        ({ agent }) => ended('the key has expired', agent),
      ],
      'the key it was issued to is another agent’s': [
        'key_ended',
        ({ agent }) => ended('the key is another agent’s', agent),
      ],
      'its agent was revoked': ['revoked', ({ agent }) => ended('its agent is revoked', agent)],
      'its agent was changed since': ['live', ({ agent }) => ended('its agent was changed since', agent)],
      'the caller’s key was revoked': [
        'live',
        ({ agent, second }) => on.agents.revokeKey({ agentId: agent.id, keyId: second.keyId }, aWrite()),
      ],
      'the caller’s key has expired': ['live', ({ second }) => on.expireKey(second.keyId)],
      'the caller’s key is another agent’s': [
        'live',
        async ({ second }) => on.giveKey(second.keyId, (await agentIn(on)).id),
      ],
    };
    const ended = (what: string, agent: NewAgent): Promise<unknown> => dead[what]?.(agent) ?? assert.fail();
    for (const [what, [standing, end]] of Object.entries(endings)) {
      test(`a repeat is neither granted nor on record when ${what}`, async () => {
        const issued = await aRepeat(on);
        const { repeat, record } = issued;
        await end(issued);
        assert.equal((await on.intents.findIssued(repeat.scope))?.standing, standing);
        assert.equal(await on.intents.recordRepeat(repeat), false);
        assert.deepEqual(await on.eventsOf(record.jti), ['intent.issued']);
      });
    }

    test('a repeat is of the token that the key has, and of no other', async () => {
      const { repeat, record } = await aRepeat(on);
      const other = await aRepeat(on);
      for (const wrong of [
        { jti: other.repeat.jti },
        { scope: { ...repeat.scope, key: 'other' } },
        { scope: { ...repeat.scope, path: '/other' } },
        { scope: { ...repeat.scope, agentId: other.agent.id } },
        { callerKeyId: other.second.keyId },
      ]) {
        assert.equal(await on.intents.recordRepeat({ ...repeat, ...wrong }), false, JSON.stringify(wrong));
      }
      assert.deepEqual(await on.eventsOf(record.jti), ['intent.issued']);
    });
  });
}

type Repeatable = Awaited<ReturnType<typeof aRepeat>>;

/** A token that an agent issued with its first key, and what lets its second key have it again. */
async function aRepeat(on: FiveStores) {
  const agent = await agentIn(on);
  const second = aKey();
  await on.agents.addKey(agent.id, second, aWrite());
  const issue = anIssue(agent);
  const { record } = issue;
  const scope = { agentId: agent.id, path: '/token/issue', key: 'k' };
  const kept = anIdempotencyRecordOf(record);
  assert.equal(await on.intents.issue(...partsOf(issue), { scope, record: kept }), true);
  const event = anEvent({ eventType: 'intent.repeated', resourceId: record.jti });
  const repeat = { scope, jti: record.jti, callerKeyId: second.keyId, agentRevision: 1, event };
  return { agent, second, record, repeat };
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
