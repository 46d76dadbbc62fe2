/**
 * Writers raced over two server processes: versions have no gaps, every acknowledged one keeps its own value, an import
 * is whole, and whoever ends a writer's credential is heard although the writers never pause.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RACE_ROUNDS } from '../../support/effort.ts';
import { mayAskAgain } from '../../support/issuing.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { assertChanged, readDuring } from './readers-in-flight.ts';
import {
  type Asked,
  aName,
  anAgentWith,
  aSecretOf,
  assertNamespacesCounted,
  aTokenOf,
  isBusy,
  isDone,
  openSite,
  type Reply,
  type Site,
  tally,
  toPut,
  toRead,
} from './secret-books.ts';

const WRITERS = 32;
/** So many rounds in a row are not told to come back later by a busy machine. */
const LATE_ROUNDS = 20;

/**
 * Every acknowledged version has its own number and is read back with the value that was sent with it; together with
 * what was there they are 1, 2, 3 and so on.
 */
async function assertWholeHistory(
  site: Site,
  path: string,
  written: readonly { readonly value: string; readonly reply: Reply }[],
): Promise<void> {
  const acknowledged = written.filter(({ reply }) => isDone(reply));
  for (const { value, reply } of acknowledged) {
    const version = Number(reply.body['version']);
    const back = await site.ask(toRead(path, site.adminKey, version), version);
    assert.deepEqual(
      [back.status, back.body['version'], back.body['value']],
      [200, version, value],
      back.text,
    );
  }
  const stored = await site.sql<{ version: number }>(
    `select held.version from secrets secret join secret_versions held on held.secret_id = secret.id
     where secret.path = $1 order by held.version`,
    [path],
  );
  const numbers = acknowledged.map(({ reply }) => Number(reply.body['version'])).sort((a, b) => a - b);
  const all = stored.map(({ version }) => version);
  assert.deepEqual(
    all,
    all.map((_, index) => index + 1),
    'no gap',
  );
  assert.deepEqual(numbers, all.slice(all.length - numbers.length), 'every version is one writer’s');
  const [newest] = await site.sql<{ version: number }>('select version from secrets where path = $1', [path]);
  assert.equal(newest?.version, all.length);
  const events = await site.sql<{ n: number }>(
    `select (metadata ->> 'version')::int as n from audit_events where resource_id = $1
     and event_type in ('secret.created', 'secret.updated', 'secret.rotated') order by 1`,
    [path],
  );
  assert.deepEqual(
    events.map(({ n }) => n),
    all,
    'one event for each version',
  );
}

test('writers on two processes', { skip: postgresSkip }, async (t) => {
  const site = await openSite(t);
  const { adminKey } = site;
  const freshPath = () => `${aName('written')}/KEY`;
  const writtenBy = (index: number) => `value of writer ${index}`;
  const withValues = (replies: readonly Reply[]) =>
    replies.map((reply, index) => ({ reply, value: writtenBy(index) }));

  const toRotate = (path: string, value: string): Asked => ({
    method: 'POST',
    path: `/v1/secrets/${path}/rotate`,
    by: adminKey,
    json: { new_value: value },
  });
  const KINDS: Record<string, (path: string, index: number) => Asked> = {
    'PUT of a path that is new': (path, index) => toPut(path, writtenBy(index), adminKey),
    'PUT of a path that is there': (path, index) => toPut(path, writtenBy(index), adminKey),
    rotate: (path, index) => toRotate(path, writtenBy(index)),
    'PUT and rotate in turn': (path, index) =>
      index % 4 < 2 ? toPut(path, writtenBy(index), adminKey) : toRotate(path, writtenBy(index)),
  };
  for (const [what, requestOf] of Object.entries(KINDS)) {
    await t.test(
      `${WRITERS} at once, ${what}: each gets a version of its own, and none is lost`,
      async (each) => {
        const path = freshPath();
        const isNew = what.endsWith('new');
        if (!isNew) await aSecretOf(site, { path });
        const replies = await site.race(WRITERS, (index) => requestOf(path, index), site.askOnce);
        const { '201': created = 0, '200': updated = 0, ...others } = tally(replies);
        // On a slow machine the lock, or a connection to the database, is not had in time.
        const { '503 BUSY': busy = 0, '503 UNAVAILABLE': unavailable = 0, ...wrong } = others;
        assert.deepEqual(wrong, {});
        assert.equal(created, isNew ? 1 : 0);
        assert.equal(created + updated + busy + unavailable, WRITERS);
        await assertWholeHistory(site, path, withValues(replies));
        each.diagnostic(`told to come back later: ${busy + unavailable}`);
      },
    );
  }

  await t.test(
    'of 16 writers that name one version exactly one writes, and the others learn which is newest',
    async () => {
      const { path } = await aSecretOf(site);
      const replies = await site.race(16, (index) => ({
        ...toPut(path, writtenBy(index), adminKey),
        ifMatch: 1,
      }));
      const { '503 BUSY': busy = 0, ...others } = tally(replies);
      assert.deepEqual(others, { '200': 1, '409 VERSION_CONFLICT': 15 - busy });
      const refused = replies.filter(({ status }) => status === 409);
      assert.ok(refused.every(({ text }) => /newest version is 2/.test(text)));
      await assertWholeHistory(site, path, withValues(replies));
    },
  );

  await t.test('of 16 who create one path exactly one does, and its value stays', async () => {
    for (let round = 1; round <= RACE_ROUNDS; round += 1) {
      const path = freshPath();
      const create = (index: number): Asked => ({
        method: 'POST',
        path: '/v1/secrets',
        by: adminKey,
        json: { path, value: writtenBy(index) },
      });
      const replies = await site.race(16, create);
      assert.deepEqual(tally(replies), { '201': 1, '409 ALREADY_EXISTS': 15 }, `round ${round}`);
      await assertWholeHistory(site, path, withValues(replies));
    }
    await assertNamespacesCounted(site);
  });

  await t.test(
    'imports of the same keys in different orders: each is whole, and neither waits for the other',
    async (each) => {
      const KEYS = Array.from({ length: 20 }, (_, index) => `KEY_${(index * 7) % 20}`);
      let roundsWithLate = 0;
      let rounds = 0;
      // On a busy machine one of the two may be told to come back later; two that wait for each other are in every round.
      const isOver = () => rounds >= RACE_ROUNDS && (roundsWithLate < rounds || rounds >= LATE_ROUNDS);
      for (; !isOver(); rounds += 1) {
        const namespace = aName('imported');
        // Some of the keys are there already, and some new ones come between them; in every second round all are new.
        for (const key of KEYS.slice(0, rounds % 2 === 0 ? 6 : 0))
          await aSecretOf(site, { path: `${namespace}/${key}` });
        const importOf = (index: number): Asked => {
          const keys = index % 2 === 0 ? KEYS : [...KEYS].reverse();
          const content = keys.map((key) => `${key}=import-${index}`).join('\n');
          return { method: 'POST', path: '/v1/secrets/import', by: adminKey, json: { namespace, content } };
        };
        const replies = await site.race(2, importOf, site.askOnce);
        const imported = replies.filter(isDone).length;
        const late = replies.filter(mayAskAgain);
        assert.deepEqual(tally(late), tally(replies.filter((reply) => !isDone(reply))));
        assert.ok(imported > 0, 'one of the two is whole');
        if (late.length > 0) roundsWithLate += 1;
        // Whose import a key’s newest value is, and that of the version before it.
        for (let back = 0; back < imported; back += 1) {
          const values = await Promise.all(
            KEYS.map(async (key, index) => {
              const path = `${namespace}/${key}`;
              const newest = await site.ask(toRead(path, adminKey), index);
              const version = Number(newest.body['version']) - back;
              return (await site.ask(toRead(path, adminKey, version), index)).body['value'];
            }),
          );
          assert.match(String(values[0]), /^import-\d$/);
          assert.equal(new Set(values).size, 1, `one import gave ${back} before the newest to all keys`);
        }
      }
      await assertNamespacesCounted(site);
      assert.ok(roundsWithLate < rounds, 'in every round one of the two was told to come back later');
      each.diagnostic(`rounds in which one was told to come back later: ${roundsWithLate}`);
    },
  );

  await t.test(
    'delete against put: what is there at the end is one writer’s, whole, or nothing',
    async () => {
      for (let round = 1; round <= RACE_ROUNDS; round += 1) {
        const { path } = await aSecretOf(site, { value: 'before' });
        const replies = await site.race(12, (index) =>
          index % 3 === 0
            ? { method: 'DELETE', path: `/v1/secrets/${path}`, by: adminKey }
            : toPut(path, writtenBy(index), adminKey),
        );
        const shown = Object.keys(tally(replies));
        const documented = ['200', '201', '204', '404 SECRET_NOT_FOUND', '503 BUSY'];
        assert.deepEqual(
          shown.filter((name) => !documented.includes(name)),
          [],
        );
        const last = await site.ask(toRead(path, adminKey));
        const written = replies.filter(({ status }) => status === 200 || status === 201);
        if (last.status === 404) assert.ok(replies.some(({ status }) => status === 204));
        else {
          const own = replies.findIndex(
            ({ body }) => body['id'] === last.body['id'] && body['version'] === last.body['version'],
          );
          assert.ok(own >= 0, 'the newest version was acknowledged to its writer');
          assert.equal(last.body['value'], writtenBy(own));
        }
        // Nobody was told of a version that another one has.
        const told = written.map(({ body }) => `${body['id']} ${body['version']}`);
        assert.equal(new Set(told).size, told.length);
        const deletions = replies.filter(({ status }) => status === 204).length;
        const creations = 1 + replies.filter(({ status }) => status === 201).length;
        assert.equal(
          creations - deletions,
          last.status === 404 ? 0 : 1,
          'every deletion ended one that was made',
        );
      }
      await assertNamespacesCounted(site);
      const orphans = await site.sql(
        'select 1 from secret_versions held where not exists (select from secrets where id = held.secret_id)',
      );
      assert.deepEqual(orphans, []);
    },
  );

  interface Ending {
    readonly of: string;
    /** Whether the writers have tokens or the agent’s key. */
    readonly by: 'token' | 'key';
    readonly end: (who: { agentId: string; keyId: string; tokenId: string }) => Omit<Asked, 'by'>;
    readonly code: string;
  }
  const ENDINGS: readonly Ending[] = [
    {
      of: 'token is revoked',
      by: 'token',
      end: ({ tokenId }) => ({ method: 'DELETE', path: `/v1/tokens/${tokenId}` }),
      code: 'TOKEN_REVOKED',
    },
    {
      of: 'key is revoked',
      by: 'key',
      end: ({ agentId, keyId }) => ({ method: 'DELETE', path: `/v1/agents/${agentId}/keys/${keyId}` }),
      code: 'UNAUTHORIZED',
    },
    {
      of: 'agent is revoked',
      by: 'token',
      end: ({ agentId }) => ({ method: 'DELETE', path: `/v1/agents/${agentId}` }),
      code: 'TOKEN_REVOKED',
    },
    {
      of: 'agent is narrowed',
      by: 'key',
      end: ({ agentId }) => ({
        method: 'PATCH',
        path: `/v1/agents/${agentId}`,
        json: { allowed_scopes: [] },
      }),
      code: 'SCOPE_DENIED',
    },
  ];
  for (const { of, by, end, code } of ENDINGS) {
    await t.test(`writers that never pause do not keep off who ends them: their ${of}`, async () => {
      const agent = await anAgentWith(site, ['secrets:*:*']);
      const token = await aTokenOf(site, agent.key, { scopes: ['secrets:write:*'] });
      const who = { agentId: agent.id, keyId: agent.keyId, tokenId: token.id };
      const writers = Array.from({ length: 24 }, () =>
        toPut(`${aName('busy')}/KEY`, 'x', by === 'token' ? token.text : agent.key),
      );
      const observed = await readDuring(site, writers, async () => {
        // What is documented so may be asked again; no writer may win for ever.
        let answer = await site.askOnce({ ...end(who), by: adminKey });
        for (let again = 0; mayAskAgain(answer) && again < 4; again += 1) {
          answer = await site.askOnce({ ...end(who), by: adminKey });
        }
        assert.ok([200, 204].includes(answer.status), answer.text);
      });
      assertChanged(observed, {
        before: ({ status }) => status === 200 || status === 201,
        between: isBusy,
        after: (reply) => reply.code === code,
      });
      await assertNamespacesCounted(site);
    });
  }
});
