/** Whose scoped tokens one sees and ends (contract section 5.5): an agent its own, an administrator all. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createScopedTokenManager } from '../../../src/use-cases/scoped-tokens/manage-scoped-tokens.ts';
import { keyIsDead, type TokenChange } from '../../storage/five-stores.ts';
import { tokenIn } from '../../storage/secret-builders.ts';
import { assertDenied, CONTEXT, useCasesInMemory } from '../../support/use-cases-in-memory.ts';

const NOBODYS = '01890000-0000-7000-8000-000000000000';

async function aBench() {
  const { stores, shared, join } = useCasesInMemory();
  const manager = createScopedTokenManager({ ...shared, store: stores.tokens });
  const [owner, other, admin] = [await join(), await join(), await join({ role: 'admin' })];
  const stateOf = async (id: string) => (await stores.tokens.find(id))?.state;
  return { stores, manager, owner, other, admin, stateOf };
}

test('another’s token is not found, in the very words of one that never was', async () => {
  const { stores, manager, owner, other, stateOf } = await aBench();
  const token = await tokenIn(stores, owner.agent);
  const words = new Set<string>();
  for (const id of [token.id, token.id.toUpperCase(), NOBODYS, 'nonsense', '', '0', `${NOBODYS}0`]) {
    for (const ask of [manager.get(id, other.caller), manager.revoke(id, other.caller, CONTEXT)]) {
      words.add((await assertDenied(ask, 'NOT_FOUND', id)).publicMessage);
    }
  }
  assert.equal(words.size, 1);
  assert.equal(await stateOf(token.id), 'live');
});

test('its owner and an administrator see it and end it, whatever is left of it, each with its event', async () => {
  const { stores, manager, owner, admin, stateOf } = await aBench();
  const ends: readonly TokenChange[] = [{}, { uses: 1 }, { expired: true }];
  for (const { caller } of [owner, admin]) {
    for (const end of ends) {
      const { id } = await tokenIn(stores, owner.agent, { maxUses: 1 });
      await stores.changeToken(id, end);
      assert.equal((await manager.get(id, caller)).id, id);
      await manager.revoke(id, caller, CONTEXT);
      await manager.revoke(id, caller, CONTEXT);
      assert.equal(await stateOf(id), 'revoked');
      const [revoked, ...others] = stores.events.filter((event) => event.resourceId === id).slice(1);
      assert.deepEqual(others, []);
      assert.equal(revoked?.eventType, 'token.revoked');
      assert.deepEqual([revoked?.actorId, revoked?.actorType], [caller.principal.id, caller.principal.role]);
      assert.deepEqual(revoked?.metadata, { key_id: caller.keyId, agent_id: owner.agent.id });
    }
  }
});

test('a list holds one’s own, an administrator’s everybody’s', async () => {
  const { stores, manager, owner, other, admin } = await aBench();
  const [mine, theirs] = [await tokenIn(stores, owner.agent), await tokenIn(stores, other.agent)];
  const query = { state: undefined, limit: 10, before: undefined };
  for (const [{ caller }, expected] of [
    [owner, [mine]],
    [other, [theirs]],
    [admin, [theirs, mine]],
  ] as const) {
    const found = await manager.list(query, caller);
    assert.deepEqual(
      found.map(({ id }) => id),
      expected.map(({ id }) => id),
    );
  }
});

for (const what of ['its agent is revoked', 'the key is revoked', 'the key has expired']) {
  test(`nobody ends a token when ${what}, which is what is said and not what became of the token`, async () => {
    const { stores, manager, owner, admin } = await aBench();
    const token = await tokenIn(stores, owner.agent);
    const code = what === 'the key has expired' ? 'AUTH_EXPIRED_KEY' : 'AUTH_INVALID_KEY';
    for (const { agent, caller } of [admin, owner]) {
      await keyIsDead(stores)[what]?.(agent);
      await assertDenied(manager.revoke(token.id, caller, CONTEXT), code);
    }
    assert.equal((await stores.tokens.find(token.id))?.revokedAt, null);
    assert.deepEqual(await stores.eventsOf(token.id), ['token.issued']);
  });
}
