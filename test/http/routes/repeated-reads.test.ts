/**
 * A token that reads a secret again starts from what was read the last time. Whatever has changed since is seen all
 * the same: the guarded write requires it as it was, and a refusal rests on what is there now.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, openTestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { resealRows } from '../../support/test-seals.ts';
import { buildSecretCalls, type ListView, type ScopedToken } from './secret-calls.ts';

const BROKEN = { status: 500, code: 'INTEGRITY_ERROR' };

/** What is refused before anybody looks at the query (contract section 5.4). */
const BEFORE_THE_QUERY = [
  'TOKEN_INVALID',
  'TOKEN_REVOKED',
  'TOKEN_EXPIRED',
  'TOKEN_EXHAUSTED',
  'SCOPE_DENIED',
];

test('a read that is repeated', { skip: postgresSkip }, async (t) => {
  const calls = await buildSecretCalls(t);
  const { ask, aSecret, aToken, anAgent, rescope, sql, expire, usesOf, eventsOf, database } = calls;
  const KINDS = { 'an unlimited token': {}, 'a limited token': { maxUses: 100 } } as const;
  const elsewhere = await openTestApp(t, calls.databaseUrl);
  const usedUp = {
    end: ({ token }: { token: ScopedToken }) =>
      sql('update scoped_tokens set uses = max_uses where id = $1', [token.id]),
    refused: { status: 401, code: 'TOKEN_EXHAUSTED' },
  };
  let made = 0;

  /** A secret of its own, which a token of an agent of its own has just read. */
  const given = async (kind: keyof typeof KINDS) => {
    made += 1;
    const path = `made-${made}/K`;
    const secret = await aSecret(path, { value: `value of ${path}` });
    const agent = await anAgent('secrets:*:*');
    const token = await aToken({ by: agent.key, ...KINDS[kind] });
    const read = () => ask(token.token, `GET /v1/secrets/${path}`);
    const first = await read();
    assert.equal(first.status, 200, first.text);
    assert.equal(first.body.value, `value of ${path}`);
    return { path, secret, agent, token, read, first };
  };
  type Given = Awaited<ReturnType<typeof given>>;

  const during = async (effect: () => Promise<unknown>): Promise<number> => {
    const spy = t.mock.method(database, 'query');
    await effect();
    spy.mock.restore();
    return spy.mock.callCount();
  };

  for (const kind of Object.keys(KINDS) as (keyof typeof KINDS)[]) {
    await t.test(`by ${kind}: asks the database once, and is a use and an event like any other`, async () => {
      const { read, first, token } = await given(kind);
      const events = await eventsOf(async () => {
        assert.equal(
          await during(async () => {
            const again = await read();
            assert.deepEqual([again.status, again.body], [200, first.body]);
          }),
          1,
        );
      });
      assert.deepEqual(
        events.map(({ event_type, metadata }) => [event_type, metadata['token_id']]),
        [['secret.read', token.id]],
      );
      assert.equal(await usesOf(token), kind === 'a limited token' ? 2 : 0);
    });

    const gone: Readonly<
      Record<string, { end: (given: Given) => Promise<unknown>; refused: { status: number; code: string } }>
    > = {
      'the token was revoked': {
        end: ({ token, agent }) => ask(agent.key, `DELETE /v1/tokens/${token.id}`),
        refused: { status: 401, code: 'TOKEN_REVOKED' },
      },
      'the token has expired': {
        end: ({ token }) =>
          sql("update scoped_tokens set expires_at = now() - interval '1 s' where id = $1", [token.id]),
        refused: { status: 401, code: 'TOKEN_EXPIRED' },
      },
      'the token is gone': {
        end: ({ token }) => sql('delete from scoped_tokens where id = $1', [token.id]),
        refused: { status: 401, code: 'TOKEN_INVALID' },
      },
      'its agent was revoked': {
        end: ({ agent }) => ask(calls.adminKey, `DELETE /v1/agents/${agent.id}`),
        refused: { status: 401, code: 'TOKEN_REVOKED' },
      },
      'its agent was narrowed': {
        end: ({ agent }) => rescope(agent, 'secrets:read:other/*'),
        refused: { status: 403, code: 'SCOPE_DENIED' },
      },
      'its agent was narrowed past the app': {
        end: ({ agent }) =>
          sql("update agents set allowed_scopes = '{secrets:read:other/*}' where id = $1", [agent.id]),
        refused: BROKEN,
      },
      'the token was narrowed past the app': {
        end: ({ token }) =>
          sql("update scoped_tokens set scopes = '{secrets:read:other/*}' where id = $1", [token.id]),
        refused: BROKEN,
      },
      'the token was bound to an address past the app': {
        end: ({ token }) =>
          sql("update scoped_tokens set allowed_ips = '{192.0.2.1}' where id = $1", [token.id]),
        refused: BROKEN,
      },
      'the secret’s tier was raised': {
        end: ({ path }) => aSecret(path, { access_tier: 'sensitive' }),
        refused: { status: 403, code: 'APPROVAL_REQUIRED' },
      },
      'the tier was raised past the app': {
        end: ({ path }) => sql("update secrets set access_tier = 'critical' where path = $1", [path]),
        refused: { status: 403, code: 'APPROVAL_REQUIRED' },
      },
      'the secret was deleted': {
        end: ({ path }) => ask(calls.adminKey, `DELETE /v1/secrets/${path}`),
        refused: { status: 404, code: 'SECRET_NOT_FOUND' },
      },
      'the secret has expired': {
        end: ({ path }) => expire(path),
        refused: { status: 404, code: 'SECRET_NOT_FOUND' },
      },
      'the secret was moved past the app': {
        end: ({ path }) =>
          sql("update secrets set path = namespace || '/L', key = 'L' where path = $1", [path]),
        refused: { status: 404, code: 'SECRET_NOT_FOUND' },
      },
      'what is sealed was changed past the app': {
        end: ({ secret }) =>
          sql(
            'update secret_versions set ciphertext = set_byte(ciphertext, 0, get_byte(ciphertext, 0) # 1) where secret_id = $1',
            [secret.id],
          ),
        refused: { status: 500, code: 'INTEGRITY_ERROR' },
      },
    };
    for (const [what, { end, refused }] of Object.entries(gone)) {
      await t.test(`by ${kind}: is refused once ${what}, and consumes nothing`, async () => {
        const known = await given(kind);
        await known.read();
        const before = await usesOf(known.token);
        await end(known);
        for (let time = 1; time <= 2; time += 1) {
          const answer = await known.read();
          assertRefused(answer, refused, `time ${time}`);
          assert.ok(!answer.text.includes(`value of ${known.path}`), 'no value');
        }
        const after = await usesOf(known.token);
        assert.ok(Object.is(after, before) || what === 'the token is gone', `${before} uses, then ${after}`);
      });
    }

    const ends = kind === 'a limited token' ? { ...gone, 'the token was used up': usedUp } : gone;
    for (const [what, { end, refused }] of Object.entries(ends)) {
      if (!BEFORE_THE_QUERY.includes(refused.code)) continue;
      await t.test(`by ${kind}: with a query that is wrong is refused because ${what}`, async () => {
        const known = await given(kind);
        await ask(known.token.token, `GET /v1/secrets/${known.path}?version=1`);
        await end(known);
        const before = await usesOf(known.token);
        for (const query of [
          '?limit=5',
          '?cursor=x',
          '?x=1',
          '?version=x',
          '?version=1&x=1',
          '?version=1&version=1',
        ]) {
          const answer = await ask(known.token.token, `GET /v1/secrets/${known.path}${query}`);
          assertRefused(answer, refused, query);
        }
        assert.equal(await usesOf(known.token), before);
      });
    }

    await t.test(`by ${kind}: answers a page of the namespace that took the secret’s place`, async () => {
      const { path, token } = await given(kind);
      await ask(calls.adminKey, `DELETE /v1/secrets/${path}`);
      await aSecret(`${path}/BELOW`);
      const answer = await ask<ListView>(token.token, `GET /v1/secrets/${path}?limit=5`);
      assert.equal(answer.status, 200, answer.text);
      assert.equal(answer.body.namespace, path);
      assert.deepEqual(
        answer.body.items.map(({ key }) => key),
        ['BELOW'],
      );
    });

    const renewed: Readonly<Record<string, (given: Given) => Promise<unknown>>> = {
      'has a new version': ({ path }) => aSecret(path, { value: 'another' }),
      'was deleted and made again': async ({ path }) => {
        await ask(calls.adminKey, `DELETE /v1/secrets/${path}`);
        await aSecret(path, { value: 'another' });
      },
      'was written by another process': ({ path }) =>
        elsewhere.call({
          method: 'PUT',
          url: `/v1/secrets/${path}`,
          key: calls.adminKey,
          json: { value: 'another' },
        }),
    };
    for (const [what, change] of Object.entries(renewed)) {
      await t.test(`by ${kind}: opens the secret as it is when it ${what}`, async () => {
        const known = await given(kind);
        await change(known);
        for (let time = 1; time <= 2; time += 1) assert.equal((await known.read()).body.value, 'another');
      });
    }

    await t.test(`by ${kind}: keeps versions, secrets and tokens apart`, async () => {
      const [one, other] = [await given(kind), await given(kind)];
      await aSecret(one.path, { value: 'second' });
      const openedBy = async (token: ScopedToken, line: string) =>
        (await ask(token.token, `GET /v1/secrets/${line}`)).body.value;
      for (let time = 1; time <= 2; time += 1) {
        assert.equal(await openedBy(one.token, `${one.path}?version=1`), `value of ${one.path}`);
        assert.equal(await openedBy(one.token, one.path), 'second');
        assert.equal(await openedBy(other.token, one.path), 'second');
        assert.equal(await openedBy(one.token, other.path), `value of ${other.path}`);
      }
    });
  }

  await t.test(
    'ends with the last use, and an address that is not allowed is refused as the first time',
    async () => {
      const secret = await aSecret('last/K', { value: 'v' });
      assert.equal(secret.version, 1);
      const { body } = await ask<{ token: string; token_id: string }>(calls.adminKey, 'POST /v1/tokens', {
        json: { scopes: ['secrets:read:last/*'], max_uses: 2, allowed_ips: ['192.0.2.1'] },
      });
      const from = (remoteAddress: string) =>
        calls.call({ method: 'GET', url: '/v1/secrets/last/K', key: body.token, remoteAddress });
      assert.equal((await from('192.0.2.1')).status, 200);
      assertRefused(await from('192.0.2.2'), { status: 403, code: 'IP_NOT_ALLOWED' });
      assert.equal((await from('192.0.2.1')).status, 200);
      assertRefused(await from('192.0.2.1'), { status: 401, code: 'TOKEN_EXHAUSTED' });
      assertRefused(await from('192.0.2.2'), { status: 403, code: 'IP_NOT_ALLOWED' });
      assert.equal(await usesOf({ id: body.token_id, token: body.token }), 2);
    },
  );

  await t.test('of a large value reads it again, so that what is remembered stays small', async () => {
    await aSecret('large/K', { value: 'x'.repeat(5000) });
    const { token } = await aToken();
    const read = () => ask(token, 'GET /v1/secrets/large/K');
    await read();
    assert.equal(await during(read), 2);
  });
});

test('a key that is remembered gives no more than its agent has, once somebody has narrowed that by SQL', {
  skip: postgresSkip,
}, async (t) => {
  const { ask, anAgent, aToken, sql } = await buildSecretCalls(t);
  const agent = await anAgent('secrets:read:a/*', 'secrets:read:b/*');
  await aToken({ by: agent.key, scopes: ['secrets:read:b/*'] });
  await sql("update agents set allowed_scopes = '{secrets:read:a/*}' where id = $1", [agent.id]);
  await resealRows(sql, 'agents', 'id = $1', [agent.id]);
  const wide = await ask(agent.key, 'POST /v1/tokens', { json: { scopes: ['secrets:read:b/*'] } });
  assertRefused(wide, { status: 403, code: 'SCOPE_DENIED' });
  await aToken({ by: agent.key, scopes: ['secrets:read:a/*'] });
});
