/** What an administrator may make of principals and keys (contract section 2), and that nobody else may, nor ends themselves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonValue } from '../../../src/domain/json/strict-json.ts';
import type { ErrorCode } from '../../../src/errors.ts';
import { generateApiKey } from '../../../src/keys/credentials/api-key-hash.ts';
import { type AgentSpec, createAgentManager } from '../../../src/use-cases/principals/manage-principals.ts';
import { keyIsDead, TOMORROW, YESTERDAY } from '../../storage/five-stores.ts';
import { assertDenied, CONTEXT, useCasesInMemory } from '../../support/use-cases-in-memory.ts';

async function aBench() {
  const { stores, shared, join } = useCasesInMemory();
  const manager = createAgentManager({
    ...shared,
    store: stores.agents,
    now: () => new Date(),
    makeKey: async () => {
      const { text, keyId } = generateApiKey();
      return { text, keyId, prefix: text.slice(0, 24), hash: 'a hash' };
    },
  });
  const admin = await join({ role: 'admin' });
  const spec = (changes: Partial<AgentSpec>): AgentSpec => ({
    name: 'never',
    role: 'agent',
    email: null,
    description: null,
    allowedScopes: null,
    allowedNamespaces: null,
    policy: null,
    keyExpiresAt: null,
    ...changes,
  });
  const create = (changes: Partial<AgentSpec>) => manager.create(spec(changes), admin.caller, CONTEXT);
  return { stores, join, manager, admin, create, spec };
}

const AN_ID = '01890a5d-ac96-774b-bcce-b302099a8057';
/** Past, and in the year 10000. */
const NO_END_OF_A_KEY = [YESTERDAY, new Date(0), new Date(253_402_300_800_000)];

type Refused = readonly [Partial<AgentSpec>, ErrorCode, pointer: string];

const REFUSED: readonly Refused[] = [
  ...['', 'n'.repeat(65), 'a\u0000b', 'a\nb', '\u007f', AN_ID, AN_ID.toUpperCase()].map(
    (name) => [{ name }, 'VALIDATION_ERROR', '/name'] as const,
  ),
  [{ allowedScopes: ['secrets:read'] }, 'INVALID_SCOPE', '/allowed_scopes/0'],
  [{ allowedScopes: ['secrets:read:a/b', 'manage:agents'] }, 'INVALID_SCOPE', '/allowed_scopes/1'],
  [{ allowedScopes: ['secrets:read:a/**'] }, 'INVALID_SCOPE', '/allowed_scopes/0'],
  [{ allowedScopes: ['secrets:read:a/\u0000'] }, 'INVALID_SCOPE', '/allowed_scopes/0'],
  [{ allowedNamespaces: ['a/../b'] }, 'INVALID_PATH', '/allowed_namespaces/0'],
  [{ allowedNamespaces: ['a', '*'] }, 'INVALID_PATH', '/allowed_namespaces/1'],
  ...(
    [
      [{ deny: ['**'] }, '/deny/0'],
      [{ rate_limit: 5 }, '/rate_limit'],
      [{ name: 'n' }, '/name'],
      [{ max_amount: 5 }, '/max_amount'],
      [[], ''],
    ] satisfies [JsonValue, string][]
  ).map(([policy, place]) => [{ policy }, 'INVALID_POLICY', `/policy${place}`] as const),
  ...NO_END_OF_A_KEY.map(
    (keyExpiresAt) => [{ keyExpiresAt }, 'VALIDATION_ERROR', '/key_expires_at'] as const,
  ),
  ...(['admin', 'approver'] as const).flatMap((role): Refused[] => [
    [{ role, allowedScopes: [] }, 'VALIDATION_ERROR', '/allowed_scopes'],
    [{ role, allowedNamespaces: ['a/b'] }, 'VALIDATION_ERROR', '/allowed_namespaces'],
    [{ role, policy: { deny: [] } }, 'VALIDATION_ERROR', '/policy'],
  ]),
];

test('what is not acceptable is refused at its place and makes nothing', async () => {
  const { stores, create } = await aBench();
  const before = [(await stores.agents.list({ limit: 1000, after: undefined })).length, stores.events.length];
  for (const [changes, code, pointer] of REFUSED) {
    await assertDenied(create(changes), code, JSON.stringify(changes), pointer);
  }
  const after = [(await stores.agents.list({ limit: 1000, after: undefined })).length, stores.events.length];
  assert.deepEqual(after, before);
});

test('what would not be accepted at creation is not accepted later, and changes nothing', async () => {
  const { stores, manager, admin, join } = await aBench();
  for (const role of ['agent', 'approver', 'admin'] as const) {
    const { agent } = await join({ role });
    const before = await stores.agents.find(agent.id);
    for (const [changes, code, pointer] of REFUSED) {
      const { allowedScopes, allowedNamespaces, policy } = changes;
      const grants = { allowedScopes, allowedNamespaces, policy };
      const given = Object.fromEntries(Object.entries(grants).filter(([, value]) => value !== undefined));
      const isOfRole = (changes.role ?? 'agent') === role;
      if (Object.keys(given).length === 0 || !isOfRole) continue;
      const asked = manager.update(agent.id, given, admin.caller, CONTEXT);
      await assertDenied(asked, code, `${role} ${JSON.stringify(given)}`, pointer);
    }
    assert.deepEqual(await stores.agents.find(agent.id), before);
  }
});

test('nobody revokes themselves or the key in use, and the attempt is on record', async () => {
  const { stores, manager, admin } = await aBench();
  const { agent, caller } = admin;
  for (const self of [agent.id, agent.id.toUpperCase(), agent.name]) {
    await assertDenied(manager.revoke(self, caller, CONTEXT), 'FORBIDDEN', self);
    await assertDenied(
      manager.revokeKey({ agent: self, keyId: caller.keyId }, caller, CONTEXT),
      'FORBIDDEN',
      self,
    );
  }
  const found = await stores.agents.find(agent.id);
  assert.deepEqual([found?.revokedAt, found?.keys[0]?.revokedAt], [null, null]);
  assert.deepEqual(await stores.eventsOf(agent.id), ['auth.denied']);
  assert.deepEqual(await stores.eventsOf(caller.keyId), ['auth.denied']);
});

test('a key is ended under its own principal alone, once, and another of the same principal may end it', async () => {
  const { stores, manager, admin, join } = await aBench();
  const { agent } = await join();
  const stranger = await join();
  const { key } = await manager.addKey(agent.id, { name: null, expiresAt: TOMORROW }, admin.caller, CONTEXT);
  const end = (of: string, keyId = key.keyId) =>
    manager.revokeKey({ agent: of, keyId }, admin.caller, CONTEXT);
  await assertDenied(end(stranger.agent.id), 'NOT_FOUND');
  await assertDenied(end(agent.id, 'f'.repeat(16)), 'NOT_FOUND');
  await end(agent.id);
  await end(agent.id);
  assert.deepEqual(await stores.eventsOf(key.keyId), ['key.created', 'key.revoked']);
});

test('a key that would have expired, or never would by the calendar, is refused at its place and not made', async () => {
  const { stores, manager, admin, join } = await aBench();
  const { agent } = await join();
  for (const expiresAt of NO_END_OF_A_KEY) {
    const added = manager.addKey(agent.id, { name: null, expiresAt }, admin.caller, CONTEXT);
    await assertDenied(added, 'VALIDATION_ERROR', expiresAt.toISOString(), '/expires_at');
  }
  assert.equal((await stores.agents.find(agent.id))?.keys.length, 1);
});

test('one that does not exist, or no longer, gets neither change nor key', async () => {
  const { manager, admin, join } = await aBench();
  const { agent } = await join();
  await manager.revoke(agent.id, admin.caller, CONTEXT);
  await manager.revoke(agent.id, admin.caller, CONTEXT);
  for (const target of ['nobody', AN_ID, agent.id, agent.name, 'a\u0000']) {
    const change = manager.update(target, { description: 'x' }, admin.caller, CONTEXT);
    await assertDenied(change, 'NOT_FOUND', target);
    const added = manager.addKey(target, { name: null, expiresAt: null }, admin.caller, CONTEXT);
    await assertDenied(added, 'NOT_FOUND', target);
  }
});

for (const what of ['its agent is revoked', 'the key is revoked', 'the key has expired']) {
  test(`an administrator changes nothing when ${what}`, async () => {
    const { stores, manager, admin, join, create } = await aBench();
    const { agent } = await join();
    await keyIsDead(stores)[what]?.(admin.agent);
    const before = [await stores.agents.find(agent.id), await stores.agents.countAgents()];
    const { caller } = admin;
    const code = what === 'the key has expired' ? 'AUTH_EXPIRED_KEY' : 'AUTH_INVALID_KEY';
    const key = { agent: agent.id, keyId: agent.key.keyId };
    for (const asked of [
      create({ name: 'late' }),
      manager.update(agent.id, { description: 'x' }, caller, CONTEXT),
      manager.addKey(agent.id, { name: null, expiresAt: null }, caller, CONTEXT),
      manager.revokeKey(key, caller, CONTEXT),
      manager.revoke(agent.id, caller, CONTEXT),
    ]) {
      await assertDenied(asked, code);
    }
    assert.deepEqual([await stores.agents.find(agent.id), await stores.agents.countAgents()], before);
  });
}
