/** What the store of scoped tokens promises. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite, test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import type { NewAgent } from '../../src/use-cases/principals/ports.ts';
import { aKey, anEvent, aWrite, storedAgent } from './builders.ts';
import { type ContractStores, EXPIRE } from './contract-stores.ts';
import { anIssueOf, aScopedToken, storedToken } from './secret-builders.ts';

export function contractOfTokens(on: ContractStores): void {
  suite('issuing', () => {
    test('a token and its event appear together, and of the token itself only the hash', async () => {
      const token = aScopedToken(on.agent, {
        scopes: ['secrets:read:prod/*', 'namespaces:read'],
        allowedIps: ['192.0.2.0/24', '2001:db8::1'],
        maxUses: 7,
        description: 'é "quoted" \\ {a,b}',
      });
      const [, event] = anIssueOf(token);
      const told = { ...event, metadata: { scopes: ['é'], n: 1 }, ipAddress: '192.0.2.1', requestId: 'r' };
      assert.equal(await on.tokens.issue(token, told), true);
      const [row] = await on.sql<{ token_hash: Uint8Array }>('select * from scoped_tokens where id = $1', [
        token.id,
      ]);
      assert.deepEqual(
        { ...row, token_hash: Buffer.from(row?.token_hash ?? []).toString('hex') },
        {
          id: token.id,
          token_hash: token.tokenHashHex,
          agent_id: on.agent.id,
          key_id: on.agent.key.keyId,
          scopes: token.scopes,
          allowed_ips: token.allowedIps,
          max_uses: 7,
          uses: 0,
          access_tier: 'standard',
          description: token.description,
          created_at: token.createdAt,
          expires_at: token.expiresAt,
          revoked_at: null,
          approval_id: null,
        },
      );
      const written = await on.sql(
        `select event_type, actor_id, actor_type, resource_type, metadata, ip_address, request_id
           from audit_events where resource_id = $1`,
        [token.id],
      );
      assert.deepEqual(written, [
        {
          event_type: 'token.issued',
          actor_id: on.agent.id,
          actor_type: 'agent',
          resource_type: 'scoped_token',
          metadata: { scopes: ['é'], n: 1 },
          ip_address: '192.0.2.1',
          request_id: 'r',
        },
      ]);
    });

    for (const [what, end] of Object.entries(on.keyIsDead)) {
      test(`nothing is issued when ${what}`, async () => {
        const who = await storedAgent(on.database);
        const token = aScopedToken(who);
        await end(who);
        assert.equal(await on.tokens.issue(...anIssueOf(token)), false);
        assert.equal(await on.tokens.find(token.id), undefined);
        assert.deepEqual(await on.eventsOf(token.id), []);
      });
    }

    test('members of one group are judged each by itself', async () => {
      const dead = await storedAgent(on.database);
      await on.agents().revoke(dead.id, aWrite());
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
      const { tokenHashHex } = await storedToken(on.database, on.agent);
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
      const token = await storedToken(on.database, on.agent, {
        maxUses: 3,
        allowedIps: ['192.0.2.1'],
        description: 'd',
      });
      const { tokenHashHex, keyId: _key, agentRevision: _revision, ...kept } = token;
      const record = { ...kept, uses: 0, revokedAt: null, state: 'live' };
      assert.deepEqual(await on.tokens.find(token.id), record);
      assert.deepEqual(await on.tokens.findByHash(tokenHashHex), record);
    });

    test('an id or a hash that nobody has is not found', async () => {
      assert.equal(await on.tokens.find(uuidv7()), undefined);
      assert.equal(await on.tokens.findByHash(randomBytes(32).toString('hex')), undefined);
    });

    const states: Record<string, readonly [string, string][]> = {
      live: [['max_uses = 2, uses = 1', 'a use is left']],
      exhausted: [['max_uses = 2, uses = 2', 'no use is left']],
      expired: [
        [EXPIRE, 'its time is over'],
        [`${EXPIRE}, max_uses = 2, uses = 2`, 'its time is over, and no use is left'],
      ],
      revoked: [
        ['revoked_at = clock_timestamp()', 'it was revoked'],
        [
          `revoked_at = clock_timestamp(), ${EXPIRE}, max_uses = 2, uses = 2`,
          'it was revoked, and all the rest',
        ],
      ],
    };
    for (const [state, ways] of Object.entries(states)) {
      for (const [how, why] of ways) {
        test(`a token is ${state} when ${why}`, async () => {
          const token = await storedToken(on.database, on.agent);
          await on.endToken(token.id, how);
          assert.equal((await on.tokens.find(token.id))?.state, state);
          assert.equal((await on.tokens.findByHash(token.tokenHashHex))?.state, state);
          const read = await on.reader.findByToken({
            tokenHashHex: token.tokenHashHex,
            path: undefined,
            version: undefined,
          });
          assert.equal(read?.token.state, state);
          for (const wanted of Object.keys(states) as (keyof typeof states)[]) {
            const listed = await on.tokens.list({
              agentId: on.agent.id,
              state: wanted as 'live',
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

    test('all tokens of a revoked agent are revoked, without a row of theirs being written', async () => {
      const who = await storedAgent(on.database);
      const token = await storedToken(on.database, who);
      await on.agents().revoke(who.id, aWrite());
      const found = await on.tokens.find(token.id);
      assert.deepEqual([found?.state, found?.revokedAt], ['revoked', null]);
    });

    test('a list is newest first, pages without a gap, and holds nobody else’s', async () => {
      const who = await storedAgent(on.database);
      const own: string[] = [];
      for (let made = 0; made < 5; made += 1) {
        own.unshift((await storedToken(on.database, who)).id);
        await storedToken(on.database, on.agent);
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
      (await on.eventsOf(id)).filter(({ event_type }) => event_type === 'token.revoked').length;

    test('of ten who revoke it at once one writes the event, and the others change nothing', async () => {
      const token = await storedToken(on.database, on.agent);
      const outcomes = await Promise.all(Array.from({ length: 10 }, () => revoke(token.id, on.agent)));
      assert.deepEqual(outcomes.sort(), ['revoked', ...Array(9).fill('unchanged')].sort());
      assert.equal(await revokedEvents(token.id), 1);
      const found = await on.tokens.find(token.id);
      assert.equal(await revoke(token.id, on.agent), 'unchanged');
      assert.deepEqual(await on.tokens.find(token.id), found, 'the first time stands');
    });

    test('an administrator revokes anybody’s', async () => {
      const admin = await storedAgent(on.database, { role: 'admin' });
      const token = await storedToken(on.database, on.agent);
      assert.equal(await revoke(token.id, admin), 'revoked');
    });

    test('another agent revokes nothing and leaves no event', async () => {
      const token = await storedToken(on.database, on.agent);
      assert.equal(await revoke(token.id, await storedAgent(on.database)), 'unchanged');
      assert.equal((await on.tokens.find(token.id))?.state, 'live');
      assert.equal(await revokedEvents(token.id), 0);
    });

    const deadActors: Record<string, (who: NewAgent) => Promise<unknown>> = {
      'whose key is revoked': on.keyIsDead['the key is revoked'] ?? assert.fail(),
      'whose key has expired': on.keyIsDead['the key has expired'] ?? assert.fail(),
      'who is revoked': on.noLongerAsRead['its agent is revoked'] ?? assert.fail(),
      'whose key nobody knows': async (who) => void Object.assign(who, { key: aKey() }),
    };
    for (const [what, end] of Object.entries(deadActors)) {
      for (const role of ['agent', 'admin'] as const) {
        test(`an actor of role ${role} ${what} revokes nothing and leaves no event`, async () => {
          const actor = await storedAgent(on.database, { role });
          const token = await storedToken(on.database, role === 'agent' ? actor : on.agent);
          await end(actor);
          assert.equal(await revoke(token.id, actor), 'actor_not_live');
          assert.equal((await on.tokens.find(token.id))?.revokedAt, null);
          assert.equal(await revokedEvents(token.id), 0);
        });
      }
    }
  });
}
