/** What the store of scoped tokens promises. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite, test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import type { TokenState } from '../../src/domain/secrets/secret-authorization.ts';
import type { NewAgent } from '../../src/use-cases/principals/ports.ts';
import { agentIn, aKey, anEvent, aWrite } from './builders.ts';
import { type FiveStores, keyIsDead, type TokenChange } from './five-stores.ts';
import { anIssueOf, aScopedToken, tokenIn } from './secret-builders.ts';

/** What makes a token that may be used twice what it is, and why. */
export const TOKEN_STATES: Readonly<Record<TokenState, readonly [TokenChange, string][]>> = {
  live: [[{ uses: 1 }, 'a use is left']],
  exhausted: [[{ uses: 2 }, 'no use is left']],
  expired: [
    [{ expired: true }, 'its time is over'],
    [{ expired: true, uses: 2 }, 'its time is over, and no use is left'],
  ],
  revoked: [
    [{ revoked: true }, 'it was revoked'],
    [{ revoked: true, expired: true, uses: 2 }, 'it was revoked, and all the rest'],
  ],
};

export function contractOfTokens(on: FiveStores & { readonly agent: NewAgent }): void {
  const endings = keyIsDead(on);

  suite('issuing', () => {
    test('a token and its event appear together', async () => {
      const token = aScopedToken(on.agent);
      assert.equal(await on.tokens.issue(...anIssueOf(token)), true);
      assert.equal((await on.tokens.find(token.id))?.state, 'live');
      assert.deepEqual(await on.eventsOf(token.id), ['token.issued']);
    });

    for (const [what, end] of Object.entries(endings)) {
      test(`nothing is issued when ${what}`, async () => {
        const who = await agentIn(on);
        const token = aScopedToken(who);
        await end(who);
        assert.equal(await on.tokens.issue(...anIssueOf(token)), false);
        assert.equal(await on.tokens.find(token.id), undefined);
        assert.deepEqual(await on.eventsOf(token.id), []);
      });
    }

    test('members of one group are judged each by itself', async () => {
      const dead = await agentIn(on);
      await on.agents.revoke(dead.id, aWrite());
      const made = Array.from({ length: 30 }, (_, index) => aScopedToken(index % 3 === 0 ? dead : on.agent));
      const outcomes = await Promise.all(made.map((token) => on.tokens.issue(...anIssueOf(token))));
      assert.deepEqual(
        outcomes,
        made.map((_, index) => index % 3 !== 0),
      );
      for (const [index, { id }] of made.entries()) {
        assert.equal((await on.eventsOf(id)).length, index % 3 === 0 ? 0 : 1);
      }
    });

    test('a member that the database refuses fails alone and leaves no event', async () => {
      const { tokenHashHex } = await tokenIn(on, on.agent);
      const bad = aScopedToken(on.agent, { tokenHashHex });
      const good = Array.from({ length: 8 }, () => aScopedToken(on.agent));
      const [, refused, ...others] = await Promise.allSettled(
        // The first goes alone; what arrives while it is under way forms one group.
        [aScopedToken(on.agent), bad, ...good].map((token) => on.tokens.issue(...anIssueOf(token))),
      );
      assert.equal(refused?.status, 'rejected');
      assert.ok(others.every((outcome) => outcome.status === 'fulfilled' && outcome.value));
      assert.deepEqual(await on.eventsOf(bad.id), []);
    });
  });

  suite('inventory', () => {
    test('a token is found by its id and by its hash, as it was issued', async () => {
      const token = await tokenIn(on, on.agent, {
        maxUses: 3,
        allowedIps: ['192.0.2.1'],
        description: 'd',
      });
      const { tokenHashHex, keyId: _key, agentRevision: _revision, ...kept } = token;
      const record = { ...kept, uses: 0, revokedAt: null, state: 'live', isWhole: true, isStopped: false };
      assert.deepEqual(await on.tokens.find(token.id), record);
      assert.deepEqual(await on.tokens.findByHash(tokenHashHex), record);
    });

    test('an id or a hash that nobody has is not found', async () => {
      assert.equal(await on.tokens.find(uuidv7()), undefined);
      assert.equal(await on.tokens.findByHash(randomBytes(32).toString('hex')), undefined);
    });

    for (const [state, ways] of Object.entries(TOKEN_STATES)) {
      for (const [how, why] of ways) {
        test(`a token is ${state} when ${why}`, async () => {
          const token = await tokenIn(on, on.agent, { maxUses: 2 });
          await on.changeToken(token.id, how);
          assert.equal((await on.tokens.find(token.id))?.state, state);
          assert.equal((await on.tokens.findByHash(token.tokenHashHex))?.state, state);
          for (const wanted of Object.keys(TOKEN_STATES) as TokenState[]) {
            const listed = await on.tokens.list({
              agentId: on.agent.id,
              state: wanted,
              limit: 1000,
              before: undefined,
            });
            assert.equal(
              listed.some(({ id }) => id === token.id),
              wanted === state,
              `listed as ${wanted}`,
            );
          }
        });
      }
    }

    test('the highest tier among paths is that of those that exist', async () => {
      const standard = await on.keepSecret('standard');
      const sensitive = await on.keepSecret('sensitive');
      const critical = await on.keepSecret('critical');
      assert.equal(await on.tokens.highestTier([]), undefined);
      assert.equal(await on.tokens.highestTier(['nobody/knows']), undefined);
      assert.equal(await on.tokens.highestTier([standard, 'nobody/knows']), 'standard');
      assert.equal(await on.tokens.highestTier([standard, sensitive]), 'sensitive');
      assert.equal(await on.tokens.highestTier([critical, sensitive, standard]), 'critical');
    });

    test('all tokens of a revoked agent are revoked, without a row of theirs being written', async () => {
      const who = await agentIn(on);
      const token = await tokenIn(on, who);
      await on.agents.revoke(who.id, aWrite());
      const found = await on.tokens.find(token.id);
      assert.deepEqual([found?.state, found?.revokedAt], ['revoked', null]);
    });

    test('a list is newest first, pages without a gap, and holds nobody else’s', async () => {
      const who = await agentIn(on);
      const own: string[] = [];
      for (let made = 0; made < 5; made += 1) {
        own.unshift((await tokenIn(on, who)).id);
        await tokenIn(on, on.agent);
      }
      const page = (before: string | undefined, limit: number, agentId: string | undefined = who.id) =>
        on.tokens.list({ agentId, state: undefined, limit, before });
      assert.deepEqual(
        (await page(undefined, 100)).map(({ id }) => id),
        own,
      );
      const paged: string[] = [];
      for (let last: string | undefined; ; last = paged.at(-1)) {
        const some = await page(last, 2);
        if (some.length === 0) break;
        assert.ok(some.length <= 2);
        paged.push(...some.map(({ id }) => id));
      }
      assert.deepEqual(paged, own);
      const everybody = (
        await on.tokens.list({ agentId: undefined, state: undefined, limit: 1000, before: undefined })
      ).map(({ id }) => id);
      assert.deepEqual(everybody, [...everybody].sort().reverse());
      assert.ok(own.every((id) => everybody.includes(id)) && everybody.length > own.length);
    });
  });

  suite('revoking', () => {
    const revocation = (actor: NewAgent, id: string) => ({
      actorKeyId: actor.key.keyId,
      event: anEvent({ eventType: 'token.revoked', resourceType: 'scoped_token', resourceId: id }),
    });
    const revoke = (id: string, actor: NewAgent) => on.tokens.revoke(id, revocation(actor, id));
    const revokedEvents = async (id: string) =>
      (await on.eventsOf(id)).filter((type) => type === 'token.revoked').length;

    test('of ten who revoke it at once one writes the event, and the others change nothing', async () => {
      const token = await tokenIn(on, on.agent);
      const outcomes = await Promise.all(Array.from({ length: 10 }, () => revoke(token.id, on.agent)));
      assert.deepEqual(outcomes.sort(), ['revoked', ...Array(9).fill('unchanged')].sort());
      assert.equal(await revokedEvents(token.id), 1);
      const found = await on.tokens.find(token.id);
      assert.equal(await revoke(token.id, on.agent), 'unchanged');
      assert.deepEqual(await on.tokens.find(token.id), found, 'the first time stands');
    });

    test('an administrator revokes anybody’s', async () => {
      const admin = await agentIn(on, { role: 'admin' });
      const token = await tokenIn(on, on.agent);
      assert.equal(await revoke(token.id, admin), 'revoked');
    });

    test('another agent revokes nothing and leaves no event', async () => {
      const token = await tokenIn(on, on.agent);
      assert.equal(await revoke(token.id, await agentIn(on)), 'unchanged');
      assert.equal((await on.tokens.find(token.id))?.state, 'live');
      assert.equal(await revokedEvents(token.id), 0);
    });

    const deadActors: Record<string, (who: NewAgent) => Promise<unknown>> = {
      'whose key is revoked': endings['the key is revoked'] ?? assert.fail(),
      'whose key has expired': endings['the key has expired'] ?? assert.fail(),
      'who is revoked': endings['its agent is revoked'] ?? assert.fail(),
      'whose key nobody knows': async (who) => void Object.assign(who, { key: aKey() }),
    };
    for (const [what, end] of Object.entries(deadActors)) {
      for (const role of ['agent', 'admin'] as const) {
        test(`an actor of role ${role} ${what} revokes nothing and leaves no event`, async () => {
          const actor = await agentIn(on, { role });
          const token = await tokenIn(on, role === 'agent' ? actor : on.agent);
          await end(actor);
          assert.equal(await revoke(token.id, actor), 'actor_not_live');
          assert.equal((await on.tokens.find(token.id))?.revokedAt, null);
          assert.equal(await revokedEvents(token.id), 0);
        });
      }
    }
  });
}
