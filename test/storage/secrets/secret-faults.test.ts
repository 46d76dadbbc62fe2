/**
 * No event, no effect: while the database refuses the audit row, nothing of scoped tokens and secrets happens, nothing
 * is used up and nothing is told; afterwards the same request is granted.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { assertRefused, openTestApp, type TestApp, type TestRequest } from '../../support/app.ts';
import { adminQuery, createTestDatabase, postgresSkip } from '../../support/postgres.ts';

const VALUE = 'a-planted-value-5c1d';
const NEW_VALUE = 'another-planted-value-77aa';

interface ValidationIssue {
  readonly begin: string;
  readonly end: string;
}

const ROLE = `writ_test_serving_${process.pid}`;

const FAULTS: Record<string, ValidationIssue> = {
  'a trigger that raises': {
    begin: `
      create function no_events() returns trigger language plpgsql as $body$
      begin raise exception 'no room for ${VALUE}'; end $body$;
      create trigger no_events before insert on audit_events for each row execute function no_events()`,
    end: 'drop trigger no_events on audit_events; drop function no_events()',
  },
  'a right that was taken away': {
    begin: `revoke insert on audit_events from ${ROLE}`,
    end: `grant insert on audit_events to ${ROLE}`,
  },
  'a partition that takes no row': {
    begin: 'alter table audit_events_default add constraint no_events check (false) not valid',
    end: 'alter table audit_events_default drop constraint no_events',
  },
};

interface Scene extends TestApp {
  readonly key: string;
  readonly owner: pg.Client;
  token(maxUses?: number): Promise<{ text: string; id: string }>;
  /** The path of a new secret whose value is `VALUE`. */
  secret(): Promise<string>;
}

/** Serves as a role that owns nothing, which is how a right can be taken from it. */
async function sceneFor(t: TestContext): Promise<Scene> {
  const { url } = await createTestDatabase(t);
  const owner = new pg.Client({ connectionString: url });
  await owner.connect();
  await adminQuery(`create role ${ROLE} login`);
  await owner.query(`
    grant usage on schema public to ${ROLE};
    grant select, insert, update, delete on all tables in schema public to ${ROLE};
    revoke update, delete on audit_events, audit_events_default from ${ROLE}`);
  const asServing = new URL(url);
  asServing.username = ROLE;
  const app = await openTestApp(t, asServing.href);
  t.after(async () => {
    await owner.query(`drop owned by ${ROLE}`);
    await owner.end();
    await adminQuery(`drop role ${ROLE}`);
  });
  const { key } = await app.createAgent({ allowed_scopes: ['secrets:*:*'] });
  const given = async (request: TestRequest): Promise<Record<string, string>> => {
    const { status, text, body } = await app.call<Record<string, string>>(request);
    assert.equal(status, 201, text);
    return body;
  };
  let made = 0;
  return {
    ...app,
    key,
    owner,
    token: async (maxUses) => {
      const json = {
        scopes: ['secrets:*:*', 'namespaces:read'],
        ...(maxUses === undefined ? {} : { max_uses: maxUses }),
      };
      const body = await given({ method: 'POST', url: '/v1/tokens', key, json });
      return { text: String(body['token']), id: String(body['token_id']) };
    },
    secret: async () => {
      made += 1;
      const path = `faults-${made}/KEY`;
      await given({ method: 'PUT', url: `/v1/secrets/${path}`, key, json: { value: VALUE } });
      return path;
    },
  };
}

type Effect = (scene: Scene) => Promise<TestRequest>;

/** By the agent's key, by a token, and by a token with uses. */
const byEach = (what: string, request: (scene: Scene) => Promise<TestRequest>): Record<string, Effect> => {
  const bearing = (text: string) => ({ headers: { authorization: `Bearer ${text}` } });
  return {
    [`${what} with an API key`]: async (scene) => ({ ...(await request(scene)), key: scene.key }),
    [`${what} with a token`]: async (scene) => ({
      ...(await request(scene)),
      ...bearing((await scene.token()).text),
    }),
    [`${what} with a limited token`]: async (scene) => ({
      ...(await request(scene)),
      ...bearing((await scene.token(1)).text),
    }),
  };
};

const get = (url: string): TestRequest => ({ method: 'GET', url });
let fresh = 0;
const freshNamespace = (): string => {
  fresh += 1;
  return `fresh-${fresh}`;
};

const EFFECTS: Record<string, Effect> = {
  'issuing a token': async ({ key }) => ({
    method: 'POST',
    url: '/v1/tokens',
    key,
    json: { scopes: ['secrets:read:*'], max_uses: 3, description: 'd' },
  }),
  'revoking a token': async ({ key, token }) => ({
    method: 'DELETE',
    url: `/v1/tokens/${(await token()).id}`,
    key,
  }),
  'revoking a token as an administrator': async ({ adminKey, token }) => ({
    method: 'DELETE',
    url: `/v1/tokens/${(await token()).id}`,
    key: adminKey,
  }),
  ...byEach('reading', async ({ secret }) => get(`/v1/secrets/${await secret()}`)),
  ...byEach('reading a version', async ({ secret }) => get(`/v1/secrets/${await secret()}?version=1`)),
  ...byEach('listing a namespace', async ({ secret }) =>
    get(`/v1/secrets/${(await secret()).split('/')[0]}`),
  ),
  ...byEach('listing namespaces', async () => get('/v1/namespaces')),
  ...byEach('PUT of a new secret', async () => ({
    method: 'PUT',
    url: `/v1/secrets/${freshNamespace()}/KEY`,
    json: { value: NEW_VALUE },
  })),
  ...byEach('PUT of a new version', async ({ secret }) => ({
    method: 'PUT',
    url: `/v1/secrets/${await secret()}`,
    json: { value: NEW_VALUE },
  })),
  ...byEach('POST of a secret', async () => ({
    method: 'POST',
    url: '/v1/secrets',
    json: { path: `${freshNamespace()}/KEY`, value: NEW_VALUE },
  })),
  ...byEach('rotating', async ({ secret }) => ({
    method: 'POST',
    url: `/v1/secrets/${await secret()}/rotate`,
  })),
  ...byEach('deleting', async ({ secret }) => ({ method: 'DELETE', url: `/v1/secrets/${await secret()}` })),
  ...byEach('importing', async ({ secret }) => ({
    method: 'POST',
    url: '/v1/secrets/import',
    json: { namespace: (await secret()).split('/')[0], content: `KEY=${NEW_VALUE}\nNEW_KEY=${NEW_VALUE}` },
  })),
};

/** Every row that an effect could change or leave. */
async function state({ owner }: Scene): Promise<pg.QueryResultRow> {
  const tables = ['scoped_tokens', 'secrets', 'secret_versions', 'namespaces', 'audit_events'];
  const { rows } = await owner.query(
    `select ${tables.map((table) => `(select md5(string_agg(held::text, '|' order by held::text)) from ${table} held) as ${table}`).join()}`,
  );
  return rows[0] ?? assert.fail();
}

test('while no event can be written', { skip: postgresSkip }, async (t) => {
  const scene = await sceneFor(t);
  const { owner, call } = scene;
  const during = async <T>({ begin, end }: ValidationIssue, work: () => Promise<T>): Promise<T> => {
    await owner.query(begin);
    return work().finally(() => owner.query(end));
  };

  for (const [why, fault] of Object.entries(FAULTS)) {
    for (const [what, requestOf] of Object.entries(EFFECTS)) {
      await t.test(`${what} has no effect and tells nothing, because of ${why}`, async () => {
        const request = await requestOf(scene);
        const before = await state(scene);
        const answer = await during(fault, () => call(request));
        assertRefused(answer, { status: 503, code: 'AUDIT_UNAVAILABLE' });
        assert.match(answer.headers['retry-after'] ?? '', /^[1-9]\d*$/);
        assert.doesNotMatch(
          answer.text,
          new RegExp(`${VALUE}|${NEW_VALUE}|ast_tok_|faults-|fresh-|audit_events`),
        );
        assert.deepEqual(await state(scene), before);
        // Nothing was wrong with the request, and nothing of it was used up.
        const later = await call(request);
        assert.ok([200, 201, 204].includes(later.status), later.text);
        assert.notDeepEqual(await state(scene), before);
      });
    }

    await t.test(
      `a refusal that cannot be put on record is not answered as one, because of ${why}`,
      async () => {
        const narrow = await scene.createAgent({ allowed_scopes: ['secrets:read:elsewhere/*'] });
        const refused = [
          { ...get(`/v1/secrets/${await scene.secret()}`), key: narrow.key },
          { method: 'POST', url: '/v1/tokens', key: narrow.key, json: { scopes: ['secrets:read:*'] } },
        ];
        for (const request of refused) {
          const before = await state(scene);
          const answer = await during(fault, () => call(request));
          assertRefused(answer, { status: 503, code: 'AUDIT_UNAVAILABLE' });
          assert.deepEqual(await state(scene), before);
          assertRefused(await call(request), { status: 403, code: 'SCOPE_DENIED' });
          assert.notDeepEqual(await state(scene), before, 'the first refusal that is answered is on record');
        }
      },
    );
  }

  await t.test('a right that is missing on another table is not taken for the audit trail', async () => {
    const fault = {
      begin: `revoke insert on scoped_tokens from ${ROLE}`,
      end: `grant insert on scoped_tokens to ${ROLE}`,
    };
    const request = {
      method: 'POST',
      url: '/v1/tokens',
      key: scene.key,
      json: { scopes: ['secrets:read:*'] },
    };
    const before = await state(scene);
    assertRefused(await during(fault, () => call(request)), { status: 500, code: 'INTERNAL' });
    assert.deepEqual(await state(scene), before);
  });

  await t.test('what leaves no event goes on: introspection, and a token that nobody knows', async () => {
    const { text } = await scene.token(1);
    const asking = {
      method: 'POST',
      url: '/v1/tokens/introspect',
      headers: { authorization: `Bearer ${text}` },
    };
    for (const fault of Object.values(FAULTS)) {
      const answer = await during(fault, () => call<{ active: boolean }>(asking));
      assert.deepEqual([answer.status, answer.body.active], [200, true]);
      const stranger = {
        ...get('/v1/secrets/a/b'),
        headers: { authorization: `Bearer ast_tok_${'A'.repeat(43)}` },
      };
      assertRefused(await during(fault, () => call(stranger)), { status: 401, code: 'TOKEN_INVALID' });
    }
  });
});
