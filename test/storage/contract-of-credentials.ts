/** What authentication is told of a key. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { WritError } from '../../src/errors.ts';
import { agentIn, aKey, aWrite } from './builders.ts';
import { type FiveStores, TOMORROW, YESTERDAY } from './five-stores.ts';

export function contractOfCredentials(on: FiveStores): void {
  suite('credentials', () => {
    test('an unknown key id is not found', async () => {
      assert.equal(await on.credentials.findKey('0'.repeat(16)), undefined);
    });

    test('a key is read with its principal, live', async () => {
      const agent = await agentIn(on, {
        allowedScopes: ['secrets:read:prod/*'],
        policyText: '{"deny":["bank/*"]}',
      });
      const stored = await on.credentials.findKey(agent.key.keyId);
      assert.equal(stored?.hash, agent.key.hash);
      assert.deepEqual([stored?.revoked, stored?.expired], [false, false]);
      assert.deepEqual([stored?.caller.keyId, stored?.caller.keyPrefix], [agent.key.keyId, agent.key.prefix]);
      const principal = stored?.caller.principal;
      assert.deepEqual(
        [principal?.id, principal?.name, principal?.role, principal?.revision],
        [agent.id, agent.name, 'agent', 1],
      );
      assert.equal(principal?.effectiveScopes.length, 1);
      assert.notEqual(principal?.policy, null);
    });

    test('revocation of the key, revocation of its agent and expiry each show', async () => {
      const store = on.credentials;
      const byKey = await agentIn(on);
      await on.agents.revokeKey({ agentId: byKey.id, keyId: byKey.key.keyId }, aWrite());
      assert.equal((await store.findKey(byKey.key.keyId))?.revoked, true);
      const byAgent = await agentIn(on);
      await on.agents.revoke(byAgent.id, aWrite());
      assert.equal((await store.findKey(byAgent.key.keyId))?.revoked, true);
      const old = await agentIn(on, { key: aKey({ expiresAt: YESTERDAY }) });
      assert.equal((await store.findKey(old.key.keyId))?.expired, true);
      const young = await agentIn(on, { key: aKey({ expiresAt: TOMORROW }) });
      assert.equal((await store.findKey(young.key.keyId))?.expired, false);
    });

    test('a stored policy that does not parse is a fault, never a grant', async () => {
      const agent = await agentIn(on);
      await on.agents.update(agent.id, { policyText: '{"rate_limit":1}' }, aWrite());
      await assert.rejects(on.credentials.findKey(agent.key.keyId), (error) => {
        assert.ok(!(error instanceof WritError));
        return true;
      });
    });

    test('the use of a key is noted at most once in 55 seconds', async () => {
      const store = on.credentials;
      const agent = await agentIn(on);
      const lastUse = async () => (await on.agents.find(agent.id))?.keys[0]?.lastUsedAt?.getTime();
      await store.noteUse(agent.key.keyId);
      const first = await lastUse();
      assert.ok(first !== undefined);
      await store.noteUse(agent.key.keyId);
      assert.equal(await lastUse(), first);
      await on.restKey(agent.key.keyId, 56);
      await store.noteUse(agent.key.keyId);
      assert.ok(((await lastUse()) ?? 0) >= first);
    });
  });
}
