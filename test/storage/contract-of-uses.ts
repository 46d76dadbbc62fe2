/** What the guarded write behind a read promises: as many as may, with their events, and for the rest nothing. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import type { NewAgent } from '../../src/use-cases/principals/ports.ts';
import type { NewScopedToken } from '../../src/use-cases/scoped-tokens/ports.ts';
import type { SecretUses } from '../../src/use-cases/secrets/ports.ts';
import { anEvent, aWrite, storedAgent } from './builders.ts';
import { type ContractStores, EXPIRE } from './contract-stores.ts';
import { keyIsDead, noLongerAsRead, type TokenChange } from './five-stores.ts';
import {
  aKeyUse,
  anAdvance,
  aTokenUse,
  keyGuard,
  type StoredSecretOfTest,
  storedSecret,
  storedToken,
} from './secret-builders.ts';

type Use = Parameters<SecretUses['record']>[0];

export function contractOfUses(on: ContractStores): void {
  const isWritten = async ({ event }: Use): Promise<boolean> =>
    (await on.sql('select 1 from audit_events where id = $1', [event.id])).length === 1;

  /** One use by itself: what it was told, and what is left of it. */
  const outcomeOf = async (use: Use, token?: NewScopedToken) => ({
    granted: await on.uses.record(use),
    written: await isWritten(use),
    uses: token && (await on.usesOf(token.id)),
  });

  suite('using', () => {
    const BY = {
      'a limited token': { maxUses: 5 },
      'an unlimited token': { maxUses: null },
      'an API key': undefined,
    } as const;

    interface Case {
      readonly who: NewAgent;
      readonly token: NewScopedToken | undefined;
      readonly secret: StoredSecretOfTest;
    }

    const secretIsOther: Record<string, (given: Case) => Promise<unknown>> = {
      'the secret has a new version': ({ secret }) =>
        on.change([secret.record.path], [anAdvance(secret.record)]),
      'the secret was changed in any other way': ({ secret }) =>
        on.sql('update secrets set revision = revision + 1 where id = $1', [secret.record.id]),
      'the secret was written by somebody who counts no revision': ({ secret }) =>
        on.sql('update secrets set description = description where id = $1', [secret.record.id]),
      'what is sealed was written by somebody else': ({ secret }) =>
        on.sql('update secret_versions set nonce = nonce where secret_id = $1', [secret.record.id]),
      'the secret is gone': ({ secret }) =>
        on.change([secret.record.path], [{ kind: 'delete', ...secret.record }]),
      'the secret has expired': ({ secret }) =>
        on.sql(`update secrets set ${EXPIRE} where id = $1`, [secret.record.id]),
      'its version is gone': ({ secret }) =>
        on.sql('delete from secret_versions where secret_id = $1', [secret.record.id]),
    };
    const tokenIsDead: Record<string, (given: Case) => Promise<unknown>> = {
      'it is revoked': ({ token }) => on.changeToken(token?.id ?? '', { revoked: true }),
      'it has expired': ({ token }) => on.changeToken(token?.id ?? '', { expired: true }),
      'it is gone': ({ token }) => on.sql('delete from scoped_tokens where id = $1', [token?.id]),
    };

    for (const [by, kind] of Object.entries(BY)) {
      const given = async (): Promise<Case & { use: Use }> => {
        const who = await storedAgent(on.database);
        const token = kind && (await storedToken(on.database, who, kind));
        const secret = await storedSecret(on.database, on.agent);
        const { released } = secret;
        const use = token === undefined ? aKeyUse(who, { released }) : aTokenUse(who, token, { released });
        return { who, token, secret, use };
      };
      const taken = kind === undefined ? undefined : kind.maxUses === null ? 0 : 1;

      test(`${by} is granted what is as it was read, with its event`, async () => {
        const { use, who, token } = await given();
        const event = { ...use.event, metadata: { é: ['"', 1] }, ipAddress: '192.0.2.1', requestId: 'r' };
        const outcome = await outcomeOf({ ...use, event }, token);
        assert.deepEqual(outcome, { granted: true, written: true, uses: taken });
        assert.deepEqual(await on.storedEvents(event.resourceId), [
          {
            event_type: 'secret.read',
            actor_id: who.id,
            actor_type: 'agent',
            resource_type: 'secret',
            resource_id: event.resourceId,
            metadata: event.metadata,
            ip_address: '192.0.2.1',
            request_id: 'r',
          },
        ]);
      });

      test(`${by} is granted a canary with its alarm, or neither`, async () => {
        const { use, token, secret } = await given();
        const alarm = {
          event: anEvent({ eventType: 'secret.canary_touched', metadata: { secret_id: secret.record.id } }),
          notice: { id: uuidv7(), payload: '{}' },
        };
        const told = () =>
          on.sql(
            `select event_type, actor_id, resource_id, metadata,
               (select count(*)::int from webhook_outbox where id = $2 and seal is not null) as notices
             from audit_events where id = $1`,
            [alarm.event.id, alarm.notice.id],
          );
        const refused = { ...use, guard: { ...use.guard, agentRevision: 99 }, alarm };
        assert.equal(await on.uses.record(refused), false);
        assert.deepEqual(await told(), []);
        const others = [use, { ...use, event: { ...use.event, id: uuidv7() } }];
        const more = others.map((other) => ({ ...other, event: { ...other.event, id: uuidv7() } }));
        const outcomes = await Promise.all([{ ...use, alarm }, ...more].map((one) => on.uses.record(one)));
        assert.deepEqual(outcomes, [true, true, true], 'beside others in one group');
        const { actorId, resourceId } = use.event;
        assert.deepEqual(await told(), [
          {
            event_type: 'secret.canary_touched',
            actor_id: actorId,
            resource_id: resourceId,
            metadata: alarm.event.metadata,
            notices: 1,
          },
        ]);
        const again = { ...alarm, event: { ...alarm.event, id: uuidv7() } };
        const event = { ...use.event, id: uuidv7() };
        assert.equal(
          await on.uses.record({ ...use, event, alarm: again }),
          true,
          'a notice that is owed is no fault',
        );
        assert.equal(token && (await on.usesOf(token.id)), taken && 4 * taken);
      });

      test(`${by} is granted what releases no value`, async () => {
        const { use, token } = await given();
        const outcome = await outcomeOf({ ...use, released: undefined }, token);
        assert.deepEqual(outcome, { granted: true, written: true, uses: taken });
      });

      test(`${by} is not granted what was read on another server, although the rows look the same`, async () => {
        const { use, token, secret } = await given();
        const [secretXmin, heldXmin, ...start] = secret.released.rowsRead.split(' ');
        assert.match(start.join(' '), /^[0-9a-f]{13}$/);
        const rowsRead = `${secretXmin} ${heldXmin} 59d9bb9ba1f2a`;
        const outcome = await outcomeOf({ ...use, released: { ...secret.released, rowsRead } }, token);
        assert.deepEqual(outcome, { granted: false, written: false, uses: token && 0 });
      });

      test(`${by} is granted an earlier version that is still there, and none that never was`, async () => {
        const { use, token, secret } = await given();
        await on.change([secret.record.path], [anAdvance(secret.record)]);
        const earlier = await on.reader.find({ path: secret.record.path, version: 1 });
        const released = { ...secret.released, rowsRead: earlier?.rowsRead ?? assert.fail() };
        assert.equal(await on.uses.record({ ...use, released: { ...released, version: 3 } }), false);
        const outcome = await outcomeOf({ ...use, released }, token);
        assert.deepEqual(outcome, { granted: true, written: true, uses: taken });
      });

      const guards: Record<string, (given: Case) => Promise<unknown>> = {
        ...secretIsOther,
        ...Object.fromEntries(
          Object.entries(kind === undefined ? keyIsDead(on) : noLongerAsRead(on)).map(([what, end]) => [
            what,
            ({ who }: Case) => end(who),
          ]),
        ),
        ...(kind === undefined ? {} : tokenIsDead),
      };
      for (const [what, end] of Object.entries(guards)) {
        test(`${by} is granted nothing when ${what}`, async () => {
          const { use, token, ...rest } = await given();
          await end({ token, ...rest });
          const uses = token && (await on.usesOf(token.id));
          assert.deepEqual(await outcomeOf(use, token), { granted: false, written: false, uses });
          if (uses !== undefined) assert.equal(uses, 0);
        });
      }
    }

    test('an API key does not end with another key of its agent, nor a token with the key it was asked for', async () => {
      const who = await storedAgent(on.database);
      const token = await storedToken(on.database, who, { maxUses: 1 });
      await on.agents.revokeKey({ agentId: who.id, keyId: who.key.keyId }, aWrite());
      assert.equal(
        await on.uses.record(aTokenUse(who, token)),
        false,
        'before its owner’s row is read again',
      );
      const [owner] = await on.sql<{ revision: number }>('select revision from agents where id = $1', [
        who.id,
      ]);
      const asItIs = { agentRevision: owner?.revision ?? -1 };
      assert.equal(await on.uses.record(aTokenUse(who, token, asItIs)), true);
      assert.equal(await on.uses.record(aKeyUse(who, asItIs)), false);
    });

    test('a limited token is granted its last use and no further one', async () => {
      const token = await storedToken(on.database, on.agent, { maxUses: 2 });
      const outcomes = [];
      for (let asked = 0; asked < 4; asked += 1) {
        outcomes.push(await outcomeOf(aTokenUse(on.agent, token), token));
      }
      assert.deepEqual(outcomes, [
        { granted: true, written: true, uses: 1 },
        { granted: true, written: true, uses: 2 },
        { granted: false, written: false, uses: 2 },
        { granted: false, written: false, uses: 2 },
      ]);
    });
  });

  suite('using in groups', () => {
    /** What is put in while one statement is under way forms the next one: all of them in one transaction. */
    const inOneGroup = async (uses: readonly Use[]): Promise<boolean[]> => {
      const opener = aTokenUse(on.agent, await storedToken(on.database, on.agent));
      const [, ...outcomes] = await Promise.all([opener, ...uses].map((use) => on.uses.record(use)));
      const written = await on.sql<{ id: string; xact: string }>(
        'select id::text, xact::text from audit_events where id = any($1::uuid[])',
        [uses.map(({ event }) => event.id)],
      );
      const byId = new Set(written.map(({ id }) => id));
      assert.deepEqual(
        uses.map(({ event }) => byId.has(event.id)),
        outcomes,
        'an event for each grant, and no other',
      );
      assert.ok(new Set(written.map(({ xact }) => xact)).size <= 1, 'one transaction');
      return outcomes;
    };
    const times = <T>(count: number, make: (index: number) => T): T[] =>
      Array.from({ length: count }, (_, index) => make(index));
    const grantedOf = (outcomes: readonly boolean[]): number => outcomes.filter(Boolean).length;

    for (const [asked, maxUses, used] of [
      [5, 1, 0],
      [2, 2, 0],
      [64, 7, 0],
      [64, 40, 0],
      [3, 10, 0],
      [5, 10, 9],
      [5, 10, 6],
      [4, 3, 3],
      [250, 200, 0],
    ] as const) {
      const expected = Math.min(asked, maxUses - used);
      test(`${asked} uses of one token of which ${maxUses - used} of ${maxUses} are left: ${expected} are granted`, async () => {
        const token = await storedToken(on.database, on.agent, { maxUses });
        await on.changeToken(token.id, { uses: used });
        const outcomes = await inOneGroup(times(asked, () => aTokenUse(on.agent, token)));
        assert.equal(grantedOf(outcomes), expected);
        assert.equal(await on.usesOf(token.id), used + expected);
      });
    }

    test('limited and unlimited tokens, live and dead, in one group: each is judged by itself', async () => {
      const { released } = await storedSecret(on.database, on.agent);
      const narrowed = await storedAgent(on.database);
      const some = (maxUses: number | null, who = on.agent) => storedToken(on.database, who, { maxUses });
      const kinds: {
        token: NewScopedToken;
        asked: number;
        granted: number;
        end?: TokenChange;
        who?: NewAgent;
      }[] = [
        { token: await some(3), asked: 8, granted: 3 },
        { token: await some(20), asked: 8, granted: 8 },
        { token: await some(null), asked: 8, granted: 8 },
        { token: await some(5), asked: 8, granted: 0, end: { revoked: true } },
        { token: await some(5), asked: 8, granted: 0, end: { expired: true } },
        { token: await some(null), asked: 8, granted: 0, end: { expired: true } },
        { token: await some(5, narrowed), asked: 8, granted: 0, who: narrowed },
        { token: await some(null, narrowed), asked: 8, granted: 0, who: narrowed },
        { token: await some(1), asked: 8, granted: 1 },
      ];
      for (const { token, end } of kinds) if (end !== undefined) await on.changeToken(token.id, end);
      await on.agents.update(narrowed.id, { allowedScopes: [] }, aWrite());
      // The members of all tokens come in turn.
      const uses = times(8, () =>
        kinds.map(({ token, who = on.agent }) => aTokenUse(who, token, { released })),
      );
      const outcomes = await inOneGroup(uses.flat());
      for (const [index, { token, granted }] of kinds.entries()) {
        const own = outcomes.filter((_, member) => member % kinds.length === index);
        assert.equal(grantedOf(own), granted, `token ${index}`);
        assert.equal(await on.usesOf(token.id), token.maxUses === null ? 0 : granted);
      }
    });

    test('members whose secret was changed take no use from those of the same token whose was not', async () => {
      const same = await storedSecret(on.database, on.agent);
      const other = await storedSecret(on.database, on.agent);
      await on.change([other.record.path], [anAdvance(other.record)]);
      const token = await storedToken(on.database, on.agent, { maxUses: 4 });
      const uses = times(12, (index) =>
        aTokenUse(on.agent, token, { released: (index % 2 === 0 ? other : same).released }),
      );
      const outcomes = await inOneGroup(uses);
      assert.equal(grantedOf(outcomes.filter((_, index) => index % 2 === 0)), 0);
      assert.equal(grantedOf(outcomes.filter((_, index) => index % 2 === 1)), 4);
      assert.equal(await on.usesOf(token.id), 4);
    });

    test('a member that the database refuses fails alone, and what it asked for is not used up', async () => {
      const token = await storedToken(on.database, on.agent, { maxUses: 9 });
      const bad = aTokenUse(on.agent, token);
      const event = { ...bad.event, metadata: { text: 'a \u0000 byte' } };
      const [, refused, ...others] = await Promise.allSettled(
        [aTokenUse(on.agent, token), { ...bad, event }, ...times(5, () => aTokenUse(on.agent, token))].map(
          (use) => on.uses.record(use),
        ),
      );
      assert.equal(refused?.status, 'rejected');
      assert.ok(others.every((outcome) => outcome.status === 'fulfilled' && outcome.value));
      assert.equal(await on.usesOf(token.id), 6);
    });

    test('keys in one group are judged each by itself', async () => {
      const dead = await storedAgent(on.database);
      await on.agents.revoke(dead.id, aWrite());
      const uses = times(20, (index) => aKeyUse(index % 2 === 0 ? dead : on.agent));
      const outcomes = await Promise.all(uses.map((use) => on.uses.record(use)));
      assert.deepEqual(
        outcomes,
        uses.map((_, index) => index % 2 === 1),
      );
    });

    test('an id of one agent beside the key of another is nobody', async () => {
      const other = await storedAgent(on.database);
      const use = aKeyUse(on.agent);
      const guard = { ...keyGuard(on.agent), keyId: other.key.keyId, kind: 'api_key' as const };
      assert.deepEqual(await outcomeOf({ ...use, guard }), {
        granted: false,
        written: false,
        uses: undefined,
      });
    });
  });
}
