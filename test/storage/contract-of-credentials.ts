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

    test('of the uses of a key the latest stays, and one after its end is none', async () => {
      const [used, unused] = [await agentIn(on), await agentIn(on)];
      const revision = async () => (await on.credentials.findKey(used.key.keyId))?.caller.principal.revision;
      const before = await revision();
      const note = (seconds: number, ipAddress: string | null) =>
        on.credentials.noteUses([
          { keyId: used.key.keyId, at: new Date(Date.now() + seconds * 1000), ipAddress },
        ]);
      const lastFrom = async ({ id }: { id: string }) => (await on.agents.find(id))?.keys[0]?.lastUsedIp;
      await note(-60, '192.0.2.1');
      await note(-30, '192.0.2.2');
      await note(-45, '192.0.2.3');
      assert.equal(await lastFrom(used), '192.0.2.2');
      assert.equal(await lastFrom(unused), null);
      assert.equal(await revision(), before, 'nobody has to read the agent again');
      assert.equal((await on.credentials.findKey(used.key.keyId))?.isWhole, true);
      await on.agents.revokeKey({ agentId: used.id, keyId: used.key.keyId }, aWrite());
      await note(-20, '192.0.2.4');
      assert.equal(await lastFrom(used), '192.0.2.4', 'what was noted before the end is written after it');
      await note(60, '192.0.2.5');
      assert.equal(await lastFrom(used), '192.0.2.4');
      await on.credentials.noteUses([{ keyId: '0'.repeat(16), at: new Date(), ipAddress: null }]);
    });
  });
}
