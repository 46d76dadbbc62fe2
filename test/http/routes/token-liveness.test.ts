/**
 * What a live token still opens (contract sections 2, 5.4): never more than its owner may now, and nothing once the
 * owner is revoked. Nothing is remembered that a change elsewhere would have to reach first.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  assertRefused,
  buildTestApp,
  type CreatedAgent,
  openTestApp,
  type TestRequest,
} from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { tokenClient } from './token-calls.ts';

const SCOPE_DENIED = { status: 403, code: 'SCOPE_DENIED' };
const REVOKED = { status: 401, code: 'TOKEN_REVOKED' };
const APPROVAL_REQUIRED = { status: 403, code: 'APPROVAL_REQUIRED' };

test('the owner of a token', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const other = await openTestApp(t, server.databaseUrl);
  const { make, use, read, store, usesOf } = tokenClient(server);
  const processes = [tokenClient(server), tokenClient(other)];
  const { adminKey, call, createAgent, sql } = server;
  for (const path of ['team/k', 'team/sub/k', 'own/k']) await store(path);

  const change = async ({ id }: CreatedAgent, json: unknown) => {
    const answer = await call({ method: 'PATCH', url: `/v1/agents/${id}`, key: adminKey, json });
    assert.equal(answer.status, 200, answer.text);
  };
  const end = async ({ id }: { id: string }) =>
    assert.equal((await call({ method: 'DELETE', url: `/v1/agents/${id}`, key: adminKey })).status, 204);

  await t.test('narrowed in its scopes, it narrows every live token at once, on every process', async () => {
    const agent = await createAgent({ allowed_scopes: ['secrets:*:*'] });
    const { token } = await make(agent.key);
    const readable = async (): Promise<string[][]> => {
      const seen: string[][] = [];
      for (const client of processes) {
        const open: string[] = [];
        for (const path of ['team/k', 'team/sub/k', 'own/k']) {
          const answer = await client.read(token, path);
          if (answer.status === 200) open.push(path);
          else assertRefused(answer, SCOPE_DENIED, path);
        }
        seen.push(open);
      }
      return seen;
    };
    const both = (...paths: string[]) => [paths, paths];
    assert.deepEqual(await readable(), both('team/k', 'team/sub/k', 'own/k'));
    for (const [allowed, open] of [
      [{ allowed_scopes: ['secrets:read:team/*'] }, ['team/k', 'team/sub/k']],
      [{ allowed_scopes: ['secrets:*:team/k'] }, ['team/k']],
      [{ allowed_scopes: ['secrets:write:*', 'namespaces:read'] }, []],
      [{ allowed_scopes: ['secrets:*:*'], allowed_namespaces: ['team/sub'] }, ['team/sub/k']],
      [{ allowed_namespaces: [] }, []],
      [{ allowed_scopes: [], allowed_namespaces: null }, []],
      [{ allowed_scopes: null }, []],
      [{ allowed_namespaces: ['own'] }, ['own/k']],
      [{ allowed_scopes: ['read:secrets'], allowed_namespaces: null }, ['team/k', 'team/sub/k', 'own/k']],
    ] as const) {
      await change(agent, allowed);
      assert.deepEqual(await readable(), both(...open), JSON.stringify(allowed));
    }
  });

  await t.test('narrowed, it narrows every kind of use, and a refused one is not counted', async () => {
    const agent = await createAgent({ allowed_scopes: ['secrets:*:*'] });
    const token = await make(agent.key, { scopes: ['secrets:*:*', 'namespaces:read'], max_uses: 1 });
    await change(agent, { allowed_scopes: ['secrets:*:elsewhere/*'] });
    for (const request of [
      { method: 'GET', url: '/v1/secrets/team/k' },
      { method: 'GET', url: '/v1/secrets/team' },
      { method: 'GET', url: '/v1/secrets?namespace=team' },
      { method: 'PUT', url: '/v1/secrets/team/k', json: { value: 'v' } },
      { method: 'POST', url: '/v1/secrets', json: { path: 'team/n', value: 'v' } },
      { method: 'POST', url: '/v1/secrets/import', json: { namespace: 'team', content: 'n=1' } },
      { method: 'POST', url: '/v1/secrets/team/k/rotate' },
      { method: 'DELETE', url: '/v1/secrets/team/k' },
    ] satisfies TestRequest[]) {
      assertRefused(await use(token.token, request), SCOPE_DENIED, `${request.method} ${request.url}`);
    }
    assert.equal(await usesOf(token), 0);
  });

  await t.test('widened, it widens no token', async () => {
    const agent = await createAgent({ allowed_scopes: ['secrets:read:team/*'] });
    const { token } = await make(agent.key, { scopes: ['read:secrets'] });
    await change(agent, { allowed_scopes: ['secrets:*:*'] });
    assert.equal((await read(token, 'team/k')).status, 200);
    assertRefused(await read(token, 'own/k'), SCOPE_DENIED);
    const put = { method: 'PUT', url: '/v1/secrets/team/k', json: { value: 'v' } };
    assertRefused(await use(token, put), SCOPE_DENIED);
  });

  await t.test('namespaces that a token lists are those that its owner may list now', async () => {
    const agent = await createAgent({ allowed_scopes: ['secrets:read:*'] });
    const { token } = await make(agent.key, { scopes: ['namespaces:read'] });
    const listed = async () => {
      const answer = await use<{ items: { namespace: string }[] }>(token, {
        method: 'GET',
        url: '/v1/namespaces',
      });
      assert.equal(answer.status, 200, answer.text);
      return answer.body.items.map(({ namespace }) => namespace);
    };
    assert.deepEqual(await listed(), ['own', 'team', 'team/sub']);
    await change(agent, { allowed_scopes: ['secrets:read:team/*'] });
    assert.deepEqual(await listed(), ['team', 'team/sub']);
    await change(agent, { allowed_namespaces: ['team/sub'] });
    assert.deepEqual(await listed(), ['team/sub']);
  });

  await t.test('an owner that may read nothing any more lends no token a look at any namespace', async () => {
    const agent = await createAgent({ allowed_scopes: ['secrets:read:*'] });
    const { token } = await make(agent.key, { scopes: ['namespaces:read'] });
    for (const allowed_scopes of [['secrets:write:*'], []]) {
      await change(agent, { allowed_scopes });
      const { text } = await use(token, { method: 'GET', url: '/v1/namespaces' });
      assert.doesNotMatch(text, /team|own/);
    }
  });

  await t.test('revoked, it ends every token at once, on every process', async () => {
    const agent = await createAgent({ allowed_scopes: ['secrets:*:*'] });
    const tokens = [await make(agent.key), await make(agent.key, { max_uses: 5 })];
    for (const client of processes) {
      for (const { token } of tokens) assert.equal((await client.read(token, 'team/k')).status, 200);
    }
    await end(agent);
    for (const client of processes) {
      for (const { token } of tokens) {
        assertRefused(await client.read(token, 'team/k'), REVOKED);
        const put = { method: 'PUT', url: '/v1/secrets/team/k', json: { value: 'v' } };
        assertRefused(await client.use(token, put), REVOKED);
      }
    }
  });

  await t.test('revoked as an administrator, it ends what it issued as well', async () => {
    const admin = await createAgent({ role: 'admin' });
    const { token } = await make(admin.key);
    assert.equal((await read(token, 'team/k')).status, 200);
    await end(admin);
    assertRefused(await read(token, 'team/k'), REVOKED);
  });

  await t.test('one owner’s end is no other’s', async () => {
    const [leaving, staying] = [
      await createAgent({ allowed_scopes: ['secrets:*:*'] }),
      await createAgent({ allowed_scopes: ['secrets:*:*'] }),
    ];
    const { token } = await make(staying.key);
    await make(leaving.key);
    await end(leaving);
    assert.equal((await read(token, 'team/k')).status, 200);
  });

  await t.test(
    'a new agent of the same name does not take over what was revoked with the old one',
    async () => {
      const name = 'phoenix';
      const agent = await createAgent({ name, allowed_scopes: ['secrets:*:*'] });
      const { token, token_id } = await make(agent.key);
      await end(agent);
      const reborn = await createAgent({ name, allowed_scopes: ['secrets:*:*'] });
      assertRefused(await read(token, 'team/k'), REVOKED);
      const seen = await call({ method: 'GET', url: `/v1/tokens/${token_id}`, key: reborn.key });
      assertRefused(seen, { status: 404, code: 'NOT_FOUND' });
    },
  );

  await t.test(
    'the key that made a token may be revoked or expire: the token does not end with it',
    async () => {
      const agent = await createAgent({ allowed_scopes: ['secrets:*:*'] });
      const second = await call<{ id: string; api_key: string }>({
        method: 'POST',
        url: `/v1/agents/${agent.id}/keys`,
        key: adminKey,
        json: {},
      });
      const [revoked, expired] = [await make(second.body.api_key, { max_uses: 4 }), await make(agent.key)];
      const url = `/v1/agents/${agent.id}/keys/${second.body.id}`;
      assert.equal((await call({ method: 'DELETE', url, key: adminKey })).status, 204);
      await sql("update api_keys set expires_at = now() - interval '1 second' where key_id = $1", [
        agent.keyId,
      ]);
      for (const client of processes) {
        for (const { token } of [revoked, expired]) {
          assert.equal((await client.read(token, 'team/k')).status, 200);
          const put = { method: 'PUT', url: '/v1/secrets/team/k', json: { value: 'v' } };
          assert.equal((await client.use(token, put)).status, 200);
        }
      }
    },
  );

  await t.test('actions do not imply each other', async () => {
    const requests = {
      read: { method: 'GET', url: '/v1/secrets/own/k' },
      write: { method: 'PUT', url: '/v1/secrets/own/k', json: { value: 'v' } },
      delete: { method: 'DELETE', url: '/v1/secrets/own/k' },
    } as const;
    for (const held of ['read', 'write', 'delete'] as const) {
      const { token } = await make(adminKey, { scopes: [`secrets:${held}:own/k`] });
      for (const asked of ['read', 'write', 'delete'] as const) {
        if (held === asked) continue;
        assertRefused(await use(token, requests[asked]), SCOPE_DENIED, `${asked} with ${held}`);
      }
      assert.ok((await use(token, requests[held])).status < 300, held);
    }
  });
});

test('the tier of a secret', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const other = await openTestApp(t, server.databaseUrl);
  const { make, use, read, store } = tokenClient(server);
  const agent = await server.createAgent({ allowed_scopes: ['secrets:*:team/*'] });

  await t.test(
    'raised, it closes the secret to live tokens at the next use; lowered, it opens it again',
    async () => {
      await store('team/moving');
      const tokens = [
        await make(agent.key, { scopes: ['secrets:read:team/*'] }),
        await make(agent.key, { scopes: ['secrets:read:team/moving'] }),
        await make(server.adminKey, { scopes: ['secrets:*:*'] }),
      ];
      for (const [access_tier, open] of [
        ['standard', true],
        ['sensitive', false],
        ['critical', false],
        ['standard', true],
      ] as const) {
        await store('team/moving', { access_tier });
        for (const client of [{ read }, tokenClient(other)]) {
          for (const { token } of tokens) {
            const answer = await client.read(token, 'team/moving');
            if (open) assert.equal(answer.status, 200, access_tier);
            else assertRefused(answer, APPROVAL_REQUIRED, access_tier);
          }
        }
      }
    },
  );

  await t.test('closes a secret, not its namespace, and for every action', async () => {
    await store('team/plain');
    await store('team/guarded', { access_tier: 'sensitive' });
    const { token } = await make(agent.key, { scopes: ['secrets:*:team/*'] });
    assert.equal((await read(token, 'team/plain')).status, 200);
    const list = await read(token, 'team');
    assert.equal(list.status, 200);
    assert.ok(list.text.includes('team/guarded'), 'its name is no secret to who may list it');
    for (const request of [
      { method: 'GET', url: '/v1/secrets/team/guarded' },
      { method: 'GET', url: '/v1/secrets/team/guarded?version=1' },
      { method: 'PUT', url: '/v1/secrets/team/guarded', json: { value: 'v' } },
      { method: 'PUT', url: '/v1/secrets/team/guarded', json: { value: 'v', tier: 'standard' } },
      { method: 'POST', url: '/v1/secrets/team/guarded/rotate' },
      { method: 'POST', url: '/v1/secrets/import', json: { namespace: 'team', content: 'guarded=1' } },
      { method: 'DELETE', url: '/v1/secrets/team/guarded' },
    ] satisfies TestRequest[]) {
      assertRefused(await use(token, request), APPROVAL_REQUIRED, `${request.method} ${request.url}`);
    }
  });
});

test('what is on record of a token’s uses', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { make, read, store, end, issue, events } = tokenClient(server);
  const agent = await server.createAgent({ allowed_scopes: ['secrets:*:team/*'] });
  await store('team/k');

  await t.test('a use names the owner as actor, and the token', async () => {
    const { token, token_id } = await make(agent.key, { scopes: ['secrets:read:team/*'] });
    const answer = await read(token, 'team/k', { remoteAddress: '192.0.2.1' });
    const [secret] = await server.sql<{ id: string }>("select id from secrets where path = 'team/k'");
    const rows = await events("metadata ->> 'token_id' = $1", [token_id]);
    assert.deepEqual(
      rows.map(({ id, ...row }) => row),
      [
        {
          event_type: 'secret.read',
          actor_id: agent.id,
          actor_type: 'agent',
          resource_type: 'secret',
          resource_id: 'team/k',
          metadata: { token_id, secret_id: secret?.id, version: 1 },
          ip_address: '192.0.2.1',
          request_id: answer.headers['x-request-id'],
        },
      ],
    );
  });

  await t.test(
    'refusals have one row of each kind, however many come at once, and a number at the end',
    async (t) => {
      const passing = await openTestApp(t, server.databaseUrl);
      const client = tokenClient(passing);
      const issued = await make(agent.key, { scopes: ['secrets:read:team/*'], max_uses: 1 });
      const many = (path: string) =>
        Promise.all(Array.from({ length: 6 }, () => client.read(issued.token, path)));
      await many('other/k');
      await many('other/l');
      await end(issued, 'exhausted');
      await many('team/k');
      await end(issued, 'expired');
      await many('team/k');
      const onRecord = async () => {
        const rows = await events("metadata ->> 'credential' = $1", [issued.token_id]);
        assert.ok(rows.every((row) => row.event_type === 'token.denied' && row.actor_id === agent.id));
        return rows.map(
          ({ resource_id, metadata }) => `${metadata['code']} ${resource_id} ${metadata['repeated'] ?? ''}`,
        );
      };
      const kinds = [
        'SCOPE_DENIED other/k ',
        'SCOPE_DENIED other/l ',
        'TOKEN_EXHAUSTED team/k ',
        'TOKEN_EXPIRED team/k ',
      ];
      assert.deepEqual(await onRecord(), kinds);
      await passing.app.close();
      const counted = kinds.map((kind) => `${kind}5`);
      assert.deepEqual((await onRecord()).sort(), [...kinds, ...counted].sort());
    },
  );

  await t.test('what is not there is on record, and what is about the form of a request is not', async () => {
    const { token, token_id } = await make(agent.key, { scopes: ['secrets:read:team/*'] });
    for (const path of ['team//k', 'team/absent', 'team/k?version=0', 'team/k?surprise=1']) {
      assert.ok((await read(token, path)).status >= 400, path);
    }
    const rows = await events("metadata ->> 'credential' = $1", [token_id]);
    assert.deepEqual(
      rows.map(({ event_type, resource_id }) => `${event_type} ${resource_id}`),
      ['token.denied team/absent'],
    );
  });

  await t.test(
    'where the event cannot be written there is no token, no end of one and no refusal',
    async () => {
      const { token, token_id } = await make(agent.key, { scopes: ['secrets:read:team/*'] });
      const count = () => server.sql<{ count: string }>('select count(*) from scoped_tokens');
      const before = await count();
      const unavailable = { status: 503, code: 'AUDIT_UNAVAILABLE' };
      await server.sql(
        "alter table audit_events add constraint refuses check (event_type !~ '^token[.]') not valid",
      );
      try {
        assertRefused(await issue(agent.key, { scope: 'secrets:read:team/*' }), unavailable);
        assertRefused(await issue(agent.key, { scope: 'secrets:read:other/*' }), unavailable);
        const url = `/v1/tokens/${token_id}`;
        assertRefused(await server.call({ method: 'DELETE', url, key: agent.key }), unavailable);
        assertRefused(await read(token, 'other/k'), unavailable);
      } finally {
        await server.sql('alter table audit_events drop constraint refuses');
      }
      assert.deepEqual(await count(), before);
      assert.equal((await read(token, 'team/k')).status, 200);
      assertRefused(await read(token, 'other/k'), SCOPE_DENIED);
      assert.equal((await events("metadata ->> 'credential' = $1", [token_id])).length, 1);
    },
  );
});
