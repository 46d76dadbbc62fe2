/** What the store of principals and their keys promises. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import type { KeyRotation } from '../../src/use-cases/principals/ports.ts';
import { agentIn, aKey, anAgent, aWrite } from './builders.ts';
import { type FiveStores, TOMORROW, YESTERDAY } from './five-stores.ts';

export function contractOfAgents(on: FiveStores): void {
  const rotate = (agentId: string, rotation: Omit<KeyRotation, 'eventOf'>, write = aWrite()) =>
    on.agents.rotateKeys(
      agentId,
      {
        ...rotation,
        eventOf: ({ keyId }) => aWrite(null, { eventType: 'key.rotated', resourceId: keyId }).event,
      },
      write,
    );

  suite('agents', () => {
    test('a created agent is found by id, by id in capitals and by name, with its key and without its hash', async () => {
      const before = Date.now();
      const agent = await agentIn(on, {
        email: 'a@example.org',
        description: 'what for',
        allowedScopes: ['secrets:read:prod/*'],
        allowedNamespaces: ['prod'],
        policyText: '{"allow":["*"]}',
        key: aKey({ name: 'first', expiresAt: TOMORROW }),
      });
      for (const wanted of [agent.id, agent.id.toUpperCase(), agent.name]) {
        const found = await on.agents.find(wanted);
        assert.ok(found !== undefined, wanted);
        const { key, ...rest } = agent;
        const { keys, createdAt, revokedAt, ...view } = found;
        assert.deepEqual(view, rest);
        assert.ok(createdAt.getTime() > before - 60_000 && createdAt.getTime() < Date.now() + 60_000);
        assert.equal(revokedAt, null);
        assert.equal(keys.length, 1);
        const { hash: _hash, ...shown } = key;
        assert.deepEqual(
          { ...keys[0], createdAt: null },
          { ...shown, createdAt: null, lastUsedAt: null, lastUsedIp: null, revokedAt: null },
        );
        assert.doesNotMatch(JSON.stringify(found), /hash/);
      }
    });

    test('an agent, its key and its event appear together', async () => {
      const agent = anAgent();
      const write = aWrite(null, { resourceId: agent.id });
      assert.equal(await on.agents.create(agent, write), 'created');
      assert.deepEqual(await on.eventsOf(agent.id), ['agent.created']);
    });

    test('a name in use refuses the agent, its key and its event', async () => {
      const taken = await agentIn(on);
      const late = anAgent({ name: taken.name });
      assert.equal(await on.agents.create(late, aWrite(null, { resourceId: late.id })), 'name_taken');
      assert.equal(await on.agents.find(late.id), undefined);
      assert.equal(await on.credentials.findKey(late.key.keyId), undefined);
      assert.deepEqual(await on.eventsOf(late.id), []);
    });

    test('a name that looks like one in use is taken, and is free once that is revoked', async () => {
      // Unlike any other's of this database.
      const unique = uuidv7();
      for (const [index, [name, alike]] of (
        [
          ['Maria', 'maria'],
          ['MARIA', 'MARlA'],
          ['worker 1', 'worker l'],
          ['ci', 'c1'],
          ['root', 'r00t'],
          ['corner', 'comer'],
          ['Born', 'b0m'],
        ] as const
      ).entries()) {
        const tail = `${index} ${unique}`;
        const first = await agentIn(on, { name: `${name} ${tail}` });
        for (const late of [alike, name].map((one) => anAgent({ name: `${one} ${tail}` }))) {
          assert.equal(await on.agents.create(late, aWrite()), 'name_taken', late.name);
        }
        assert.equal((await on.agents.find(first.name))?.id, first.id);
        assert.equal(await on.agents.find(`${alike} ${tail}`), undefined, 'it is found by its own name only');
        assert.equal(await on.agents.revoke(first.id, aWrite()), 'revoked');
        assert.equal(await on.agents.create(anAgent({ name: `${alike} ${tail}` }), aWrite()), 'created');
      }
    });

    test('names that are told apart by what shows are two', async () => {
      const unique = uuidv7();
      for (const name of [
        'maria',
        'marias',
        'mar.ia',
        'mar-ia',
        'mar_ia',
        'mar ia',
        'mar@ia',
        'mana',
        'marja',
        'mar2a',
      ]) {
        assert.equal(
          await on.agents.create(anAgent({ name: `${name} ${unique}` }), aWrite()),
          'created',
          name,
        );
      }
    });

    test('an agent whose key cannot be stored is not stored either, nor its event', async () => {
      const first = await agentIn(on);
      const late = anAgent({ key: first.key });
      await assert.rejects(on.agents.create(late, aWrite(null, { resourceId: late.id })));
      assert.equal(await on.agents.find(late.id), undefined);
      assert.deepEqual(await on.eventsOf(late.id), []);
    });

    test('of fifty concurrent agents with one name exactly one is created', async () => {
      const name = `wanted ${uuidv7()}`;
      const outcomes = await Promise.all(
        Array.from({ length: 50 }, () => on.agents.create(anAgent({ name }), aWrite())),
      );
      assert.equal(outcomes.filter((outcome) => outcome === 'created').length, 1);
      assert.equal(outcomes.filter((outcome) => outcome === 'name_taken').length, 49);
    });

    test('the name of a revoked agent is free again, and its id still finds the old one', async () => {
      const old = await agentIn(on);
      assert.equal(await on.agents.revoke(old.id, aWrite()), 'revoked');
      assert.equal(await on.agents.find(old.name), undefined);
      const young = await agentIn(on, { name: old.name });
      assert.equal((await on.agents.find(old.name))?.id, young.id);
      assert.notEqual((await on.agents.find(old.id))?.revokedAt, null);
    });

    test('an id wins over a name that looks like it', async () => {
      const one = await agentIn(on);
      await agentIn(on, { name: one.id });
      assert.equal((await on.agents.find(one.id))?.name, one.name);
    });

    test('an update changes what it names, null clears, the rest stays, and the revision is another', async () => {
      const agent = await agentIn(on, {
        email: 'a@example.org',
        description: 'stays',
        allowedScopes: ['secrets:read:prod/*'],
      });
      const write = aWrite(null, { eventType: 'agent.updated', resourceId: agent.id });
      assert.equal(
        await on.agents.update(agent.id, { email: null, policyText: '{"deny":["x/*"]}' }, write),
        'updated',
      );
      const found = await on.agents.find(agent.id);
      assert.equal(found?.email, null);
      assert.equal(found?.description, 'stays');
      assert.deepEqual(found?.allowedScopes, ['secrets:read:prod/*']);
      assert.equal(found?.policyText, '{"deny":["x/*"]}');
      assert.notEqual((await on.credentials.findKey(agent.key.keyId))?.caller.principal.revision, 1);
      assert.deepEqual(await on.eventsOf(agent.id), ['agent.updated']);
    });

    test('an empty list is kept as one, apart from null', async () => {
      const agent = await agentIn(on, { allowedScopes: [], allowedNamespaces: null });
      const found = await on.agents.find(agent.id);
      assert.deepEqual(found?.allowedScopes, []);
      assert.equal(found?.allowedNamespaces, null);
    });

    test('a revoked agent is absent for every change, and nothing is written about it', async () => {
      const agent = await agentIn(on);
      await on.agents.revoke(agent.id, aWrite());
      const write = () => aWrite(null, { resourceId: agent.id });
      assert.equal(await on.agents.update(agent.id, { email: null }, write()), 'absent');
      assert.equal(await on.agents.revoke(agent.id, write()), 'absent');
      assert.equal(await on.agents.addKey(agent.id, aKey(), write()), 'absent');
      assert.deepEqual(await on.eventsOf(agent.id), []);
      assert.equal((await on.agents.find(agent.id))?.keys.length, 1);
    });

    test('a key is revoked once, and only as a key of its own agent', async () => {
      const agent = await agentIn(on);
      const other = await agentIn(on);
      const second = aKey();
      const write = () => aWrite(null, { eventType: 'key.revoked', resourceId: second.keyId });
      assert.equal(await on.agents.addKey(agent.id, second, aWrite()), 'added');
      assert.equal(await on.agents.revokeKey({ agentId: other.id, keyId: second.keyId }, write()), 'absent');
      const revision = async () => (await on.credentials.findKey(agent.key.keyId))?.caller.principal.revision;
      const before = await revision();
      assert.equal(await on.agents.revokeKey({ agentId: agent.id, keyId: second.keyId }, write()), 'revoked');
      assert.notEqual(await revision(), before, 'whoever remembers the key reads its row again');
      assert.equal(await on.agents.revokeKey({ agentId: agent.id, keyId: second.keyId }, write()), 'absent');
      assert.deepEqual(await on.eventsOf(second.keyId), ['key.revoked']);
      const found = await on.agents.find(agent.id);
      assert.deepEqual(
        found?.keys.map((key) => [key.keyId, key.revokedAt === null]),
        [
          [agent.key.keyId, true],
          [second.keyId, false],
        ],
      );
    });

    test('a list pages by id without a gap or a repetition', async () => {
      for (let made = 0; made < 5; made += 1) await agentIn(on);
      const everyone = await on.agents.list({ limit: 1000, after: undefined });
      const paged: string[] = [];
      for (let last: string | undefined; ; last = paged.at(-1)) {
        const page = await on.agents.list({ limit: 2, after: last });
        if (page.length === 0) break;
        paged.push(...page.map((agent) => agent.id));
      }
      assert.deepEqual(
        paged,
        everyone.map((agent) => agent.id),
      );
      assert.equal(new Set(paged).size, paged.length);
    });

    test('only active principals of role agent are counted', async () => {
      const before = await on.agents.countAgents();
      await agentIn(on, { role: 'admin' });
      await agentIn(on, { role: 'approver' });
      await agentIn(on);
      const gone = await agentIn(on);
      await on.agents.revoke(gone.id, aWrite());
      assert.equal(await on.agents.countAgents(), before + 1);
    });

    const deadActors: Record<string, () => Promise<string>> = {
      'an unknown key': async () => 'f'.repeat(16),
      'a revoked key': async () => {
        const admin = await agentIn(on, { role: 'admin' });
        await on.agents.revokeKey({ agentId: admin.id, keyId: admin.key.keyId }, aWrite());
        return admin.key.keyId;
      },
      'the key of a revoked administrator': async () => {
        const admin = await agentIn(on, { role: 'admin' });
        await on.agents.revoke(admin.id, aWrite());
        return admin.key.keyId;
      },
      'an expired key': async () =>
        (await agentIn(on, { role: 'admin', key: aKey({ expiresAt: YESTERDAY }) })).key.keyId,
      'the key of an agent': async () => (await agentIn(on)).key.keyId,
      'the key of an approver': async () => (await agentIn(on, { role: 'approver' })).key.keyId,
    };
    for (const [who, actor] of Object.entries(deadActors)) {
      test(`${who} changes nothing and leaves no event`, async () => {
        const actorKeyId = await actor();
        const target = await agentIn(on);
        const before = await on.agents.find(target.id);
        const events = await on.countEvents();
        const write = aWrite(actorKeyId);
        const late = anAgent();
        const outcomes = [
          await on.agents.create(late, write),
          await on.agents.update(target.id, { email: 'x@example.org' }, write),
          await on.agents.addKey(target.id, aKey(), write),
          await on.agents.revokeKey({ agentId: target.id, keyId: target.key.keyId }, write),
          await on.agents.revoke(target.id, write),
        ];
        assert.deepEqual(outcomes, Array(5).fill('actor_not_live'));
        assert.deepEqual(await on.agents.find(target.id), before);
        assert.equal(await on.agents.find(late.id), undefined);
        assert.equal(await on.countEvents(), events);
      });
    }

    test('a live administrator’s key changes what it says', async () => {
      const admin = await agentIn(on, { role: 'admin', key: aKey({ expiresAt: TOMORROW }) });
      const made = anAgent();
      assert.equal(await on.agents.create(made, aWrite(admin.key.keyId)), 'created');
      assert.equal(await on.agents.revoke(made.id, aWrite(admin.key.keyId)), 'revoked');
    });

    test('a rotation ends the older keys that it names, none of them later than it would', async () => {
      const SOON = new Date(Math.floor(Date.now() / 1000) * 1000 + 600_000);
      const agent = await agentIn(on);
      const [early, other, stranger] = [aKey({ expiresAt: SOON }), aKey(), (await agentIn(on)).key];
      for (const key of [early, other]) await on.agents.addKey(agent.id, key, aWrite());
      const before = (await on.credentials.findKey(agent.key.keyId))?.caller.principal.revision;
      const made = aKey();
      const older = [agent.key, early, stranger].map(({ keyId }) => keyId);
      const ended = await rotate(agent.id, { key: made, older, overlapSeconds: 3600 });
      assert.ok(typeof ended !== 'string');
      assert.deepEqual(
        ended.map(({ keyId }) => keyId),
        [agent.key.keyId, early.keyId].toSorted(),
      );
      const endOf = async ({ keyId }: { keyId: string }) =>
        (await on.credentials.findKey(keyId))?.caller.keyExpiresAt ?? null;
      const end = ended.find(({ keyId }) => keyId === agent.key.keyId)?.endsAt;
      assert.deepEqual(await endOf(agent.key), end);
      assert.ok(Math.abs((end?.getTime() ?? 0) - Date.now() - 3_600_000) < 60_000);
      assert.deepEqual(await endOf(early), SOON);
      for (const key of [other, stranger, made]) assert.equal(await endOf(key), null);
      for (const key of [agent.key, early, other, made])
        assert.equal((await on.credentials.findKey(key.keyId))?.isWhole, true, 'its seal fits');
      assert.deepEqual(await on.eventsOf(agent.key.keyId), ['key.rotated']);
      assert.deepEqual(await on.eventsOf(early.keyId), []);
      assert.notEqual((await on.credentials.findKey(made.keyId))?.caller.principal.revision, before);
    });

    test('a rotation without an overlap revokes them, and one of a dead agent has no effect', async () => {
      const agent = await agentIn(on);
      const made = aKey();
      await rotate(agent.id, { key: made, older: [agent.key.keyId], overlapSeconds: 0 });
      assert.equal((await on.credentials.findKey(agent.key.keyId))?.revoked, true);
      assert.equal((await on.credentials.findKey(made.keyId))?.revoked, false);
      await on.agents.revoke(agent.id, aWrite());
      const late = aKey();
      const write = aWrite(null, { resourceId: late.keyId });
      assert.equal(await rotate(agent.id, { key: late, older: [], overlapSeconds: 0 }, write), 'absent');
      assert.equal(await on.credentials.findKey(late.keyId), undefined);
      assert.deepEqual(await on.eventsOf(late.keyId), []);
    });

    test('of rotations at once each adds its key, and each older key is ended once', async () => {
      const agent = await agentIn(on);
      const made = Array.from({ length: 8 }, () => aKey());
      const outcomes = await Promise.all(
        made.map((key) => rotate(agent.id, { key, older: [agent.key.keyId], overlapSeconds: 0 })),
      );
      assert.equal(outcomes.flat().length, 1);
      for (const { keyId } of made) assert.equal((await on.credentials.findKey(keyId))?.revoked, false);
      assert.deepEqual(await on.eventsOf(agent.key.keyId), ['key.rotated']);
    });

    test('a rotation by a dead administrator has no effect', async () => {
      const [admin, agent] = [await agentIn(on, { role: 'admin' }), await agentIn(on)];
      await on.agents.revoke(admin.id, aWrite());
      const made = aKey();
      const by = aWrite(admin.key.keyId, { resourceId: made.keyId });
      const outcome = await rotate(agent.id, { key: made, older: [agent.key.keyId], overlapSeconds: 0 }, by);
      assert.equal(outcome, 'actor_not_live');
      assert.equal(await on.credentials.findKey(made.keyId), undefined);
      assert.equal((await on.credentials.findKey(agent.key.keyId))?.revoked, false);
    });
  });
}
