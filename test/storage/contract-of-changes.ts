/** What a change of secrets promises: all of it, or nothing. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import { WritError } from '../../src/errors.ts';
import type { NewAgent } from '../../src/use-cases/principals/ports.ts';
import type { NewScopedToken } from '../../src/use-cases/scoped-tokens/ports.ts';
import type { LockedSecret } from '../../src/use-cases/secrets/ports.ts';
import { anEvent, storedAgent } from './builders.ts';
import type { ContractStores } from './contract-stores.ts';
import { keyIsDead, noLongerAsRead, YESTERDAY } from './five-stores.ts';
import {
  aCreation,
  anAdvance,
  aSealedValue,
  keyGuard,
  storedSecret,
  storedToken,
  tokenGuard,
} from './secret-builders.ts';

export function contractOfChanges(on: ContractStores): void {
  suite('changing', () => {
    const countOf = async (namespace: string): Promise<number | undefined> =>
      (
        await on.sql<{ n: number }>('select secret_count as n from namespaces where namespace = $1', [
          namespace,
        ])
      )[0]?.n;
    const versionsOf = async (id: string): Promise<number[]> =>
      (
        await on.sql<{ version: number }>(
          'select version from secret_versions where secret_id = $1 order by version',
          [id],
        )
      ).map(({ version }) => version);
    /** Everything that a change could leave behind. */
    const traces = () =>
      on.sql(
        `select (select count(*) from secrets) as secrets, (select count(*) from secret_versions) as versions,
             (select count(*) from audit_events) as events, (select sum(uses) from scoped_tokens) as uses,
             (select sum(revision) from secrets) as revisions, (select sum(secret_count) from namespaces) as counted`,
      );

    test('a creation makes secret, version, count and event together, and tells what it made', async () => {
      const creation = aCreation(`${uuidv7()}/KEY`, { attributes: { tags: ['x'], metadata: { a: 1 } } });
      const event = anEvent({
        eventType: 'secret.created',
        resourceType: 'secret',
        resourceId: creation.path,
      });
      const seen: LockedSecret[] = [];
      const made = await on.store.change({ guard: keyGuard(on.agent), paths: [creation.path] }, (stored) => {
        seen.push(...stored.values());
        return { changes: [creation], event };
      });
      assert.deepEqual(seen, []);
      assert.ok(made !== 'not_granted');
      const { createdAt, updatedAt, rotationDueAt, ...record } = made[0] ?? assert.fail();
      const { kind: _kind, sealed: _sealed, attributes, ...where } = creation;
      assert.deepEqual({ ...record }, { ...where, ...attributes, version: 1 });
      assert.ok(Math.abs(createdAt.getTime() - Date.now()) < 60_000 && updatedAt >= createdAt);
      assert.equal(rotationDueAt, null);
      assert.deepEqual(await versionsOf(creation.id), [1]);
      assert.equal(await countOf(creation.namespace), 1);
      assert.deepEqual(await on.eventsOf(creation.path), ['secret.created']);
    });

    test('a version is added to what is there, under lock and a new revision, and nothing else is lost', async () => {
      const { record } = await storedSecret(on.database, on.agent, {
        attributes: { description: 'old', tags: ['a'] },
      });
      const locked: LockedSecret[] = [];
      const advance = anAdvance(record, { attributes: { tier: 'critical', metadata: null, tags: [] } });
      const made = await on.store.change({ guard: keyGuard(on.agent), paths: [record.path] }, (stored) => {
        locked.push(...stored.values());
        return { changes: [advance], event: anEvent() };
      });
      assert.deepEqual(
        locked.map(({ id, version, expired }) => [id, version, expired]),
        [[record.id, 1, false]],
      );
      assert.ok(made !== 'not_granted');
      const [after] = made;
      assert.deepEqual(
        [after?.id, after?.version, after?.tier, after?.tags, after?.description],
        [record.id, 2, 'critical', [], null],
      );
      assert.deepEqual(after?.createdAt, record.createdAt);
      assert.deepEqual(await versionsOf(record.id), [1, 2]);
      assert.equal(await countOf(record.namespace), 1);
    });

    test('a deletion takes every version along; the last of a namespace takes its count along', async () => {
      const namespace = uuidv7();
      const one = await storedSecret(on.database, on.agent, { path: `${namespace}/one` });
      const two = await storedSecret(on.database, on.agent, { path: `${namespace}/two` });
      await on.change([one.record.path], [anAdvance(one.record)]);
      for (const [{ record }, left] of [
        [one, 1],
        [two, undefined],
      ] as const) {
        const outcome = await on.change([record.path], [{ kind: 'delete', id: record.id, namespace }]);
        assert.deepEqual(outcome, []);
        assert.deepEqual(await versionsOf(record.id), []);
        assert.equal(await on.reader.find({ path: record.path, version: undefined }), undefined);
        assert.equal(await countOf(namespace), left);
      }
      const again = await storedSecret(on.database, on.agent, { path: `${namespace}/one` });
      assert.notEqual(again.record.id, one.record.id);
      assert.equal(await countOf(namespace), 1);
    });

    test('many changes are one: the records come in the order of the changes', async () => {
      const namespace = uuidv7();
      const { record } = await storedSecret(on.database, on.agent, { path: `${namespace}/m` });
      const changes = [
        aCreation(`${namespace}/z`),
        anAdvance(record),
        aCreation(`${namespace}/a`),
        aCreation(`${namespace}/B`),
      ];
      const made = await on.change(
        [`${namespace}/z`, record.path, `${namespace}/a`, `${namespace}/B`],
        changes,
      );
      assert.ok(made !== 'not_granted');
      assert.deepEqual(
        made.map(({ key, version }) => [key, version]),
        [
          ['z', 1],
          ['m', 2],
          ['a', 1],
          ['B', 1],
        ],
      );
      assert.equal(await countOf(namespace), 4);
    });

    test('an expired secret is under lock too, and says so', async () => {
      const { record } = await storedSecret(on.database, on.agent, { attributes: { expiresAt: YESTERDAY } });
      const seen: LockedSecret[] = [];
      await on.store.change({ guard: keyGuard(on.agent), paths: [record.path] }, (stored) => {
        seen.push(...stored.values());
        return { changes: [], event: anEvent() };
      });
      assert.deepEqual(
        seen.map(({ id, expired }) => [id, expired]),
        [[record.id, true]],
      );
    });

    test('only what was asked for is under lock and shown', async () => {
      const { record } = await storedSecret(on.database, on.agent);
      await storedSecret(on.database, on.agent);
      const seen: string[] = [];
      await on.store.change({ guard: keyGuard(on.agent), paths: [record.path, 'nobody/knows'] }, (stored) => {
        seen.push(...stored.keys());
        return { changes: [], event: anEvent() };
      });
      assert.deepEqual(seen, [record.path]);
    });

    test('a change by a limited token takes exactly one use, whatever it changes; an unlimited one none', async () => {
      const limited = await storedToken(on.database, on.agent, { maxUses: 2 });
      const unlimited = await storedToken(on.database, on.agent);
      const creations = () => [aCreation(`${uuidv7()}/a`), aCreation(`${uuidv7()}/b`)];
      assert.notEqual(await on.change([], creations(), tokenGuard(on.agent, limited)), 'not_granted');
      assert.notEqual(await on.change([], creations(), tokenGuard(on.agent, unlimited)), 'not_granted');
      assert.deepEqual([await on.usesOf(limited.id), await on.usesOf(unlimited.id)], [1, 0]);
      assert.notEqual(await on.change([], creations(), tokenGuard(on.agent, limited)), 'not_granted');
      assert.equal(
        await on.change([], creations(), tokenGuard(on.agent, limited)),
        'not_granted',
        'none is left',
      );
      assert.equal(await on.usesOf(limited.id), 2);
    });

    test('what a rule throws undoes the use and comes out as it was thrown', async () => {
      const token = await storedToken(on.database, on.agent, { maxUses: 5 });
      const before = await traces();
      const thrown = new WritError('FORBIDDEN', 'on purpose');
      const refused = on.store.change({ guard: tokenGuard(on.agent, token), paths: ['a/b'] }, () => {
        throw thrown;
      });
      await assert.rejects(refused, (error) => error === thrown);
      assert.deepEqual(await traces(), before);
      assert.equal(await on.usesOf(token.id), 0);
    });

    test('a path that came into being meanwhile undoes everything, the use and the other paths included', async () => {
      const { record } = await storedSecret(on.database, on.agent);
      const token = await storedToken(on.database, on.agent, { maxUses: 5 });
      const before = await traces();
      // As if it had not been there when the rows were locked.
      const changes = [aCreation(`${uuidv7()}/KEY`), aCreation(record.path)];
      assert.equal(await on.change([], changes, tokenGuard(on.agent, token)), 'not_granted');
      assert.deepEqual(await traces(), before);
    });

    for (const kind of ['create', 'add-version'] as const) {
      test(`a value under another key-encryption key is refused whole: ${kind}`, async () => {
        const { record } = await storedSecret(on.database, on.agent);
        const token = await storedToken(on.database, on.agent, { maxUses: 5 });
        const before = await traces();
        const sealed = aSealedValue('the kek of yesterday');
        const good = aCreation(`${uuidv7()}/GOOD`);
        const bad =
          kind === 'create' ? aCreation(`${uuidv7()}/BAD`, { sealed }) : anAdvance(record, { sealed });
        await assert.rejects(
          on.change([record.path], [good, bad], tokenGuard(on.agent, token)),
          (error) => error instanceof WritError && error.code === 'UNAVAILABLE',
        );
        assert.deepEqual(await traces(), before);
      });
    }

    const tokenIsDead: Record<string, (who: NewAgent, token: NewScopedToken) => Promise<unknown>> = {
      ...noLongerAsRead(on),
      'it is revoked': (_, { id }) => on.changeToken(id, { revoked: true }),
      'it has expired': (_, { id }) => on.changeToken(id, { expired: true }),
      'it is another agent’s': (_, { id }) => on.changeToken(id, { agentId: on.agent.id }),
      'it is gone': (_, { id }) => on.sql('delete from scoped_tokens where id = $1', [id]),
    };
    const nothingHappens = async (guard: ReturnType<typeof keyGuard>): Promise<void> => {
      const before = await traces();
      let asked = false;
      const outcome = await on.store.change({ guard, paths: ['a/b'] }, () => {
        asked = true;
        return { changes: [aCreation(`${uuidv7()}/KEY`)], event: anEvent() };
      });
      assert.equal(outcome, 'not_granted');
      assert.equal(asked, false, 'no rule is asked');
      assert.deepEqual(await traces(), before);
    };
    for (const maxUses of [3, null]) {
      for (const [what, end] of Object.entries(tokenIsDead)) {
        test(`a ${maxUses === null ? 'token' : 'limited token'} changes nothing when ${what}`, async () => {
          const who = await storedAgent(on.database);
          const token = await storedToken(on.database, who, { maxUses });
          await end(who, token);
          await nothingHappens(tokenGuard(who, token));
        });
      }
    }
    for (const [what, end] of Object.entries(keyIsDead(on))) {
      test(`an API key changes nothing when ${what}`, async () => {
        const who = await storedAgent(on.database);
        await end(who);
        await nothingHappens(keyGuard(who));
      });
    }
  });
}
