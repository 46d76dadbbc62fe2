/** What the owner of a database may write past Writ, one entry for each way, and what it is meant to open. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { generateApiKey, hashApiKey } from '../../../src/keys/credentials/api-key-hash.ts';
import { generateScopedToken } from '../../../src/keys/credentials/scoped-token-secret.ts';
import type { SealedTable } from '../../../src/storage/engine/sealed-rows.ts';
import type { CreatedAgent, TestAnswer, TestApp } from '../../support/app.ts';
import { TEST_BCRYPT_COST } from '../../support/bcrypt-cost.ts';
import { A_PLAN } from '../../support/issuing.ts';
import { resealRows } from '../../support/test-seals.ts';

export interface Attack {
  readonly table: SealedTable;
  /** That it changes. */
  readonly columns: readonly string[];
  readonly what: string;
  /** What the row grants it grants before as well; it is to grant nothing any more. */
  readonly opensBefore?: true;
  /** Of a process that reads the row afresh; default: INTEGRITY_ERROR. */
  readonly refused?: { readonly status: number; readonly code: string };
  prepare(app: TestApp): Promise<{
    readonly forge: () => Promise<unknown>;
    readonly probe: (on: TestApp) => Promise<TestAnswer>;
    /** The condition and values of the forged row: for the control. Undefined: something else stops it as well. */
    readonly forged: readonly [string, readonly unknown[]] | undefined;
  }>;
}

let made = 0;
function nextName(): string {
  made += 1;
  return `ns-${made}`;
}

const get = (url: string, key: string) => (on: TestApp) => on.call({ method: 'GET', url, key });
const getBy = (url: string, token: string) => (on: TestApp) =>
  on.call({ method: 'GET', url, headers: { authorization: `Bearer ${token}` } });

async function aSecret({ call, adminKey }: TestApp, path: string, more: object = {}): Promise<string> {
  const json = { value: 'first', ...more };
  const answer = await call<{ id: string }>({
    method: 'PUT',
    url: `/v1/secrets/${path}`,
    key: adminKey,
    json,
  });
  assert.ok(answer.status < 300, answer.text);
  return answer.body.id;
}

async function aToken({ call }: TestApp, key: string, json: object): Promise<{ id: string; token: string }> {
  const answer = await call<{ token: string; token_id: string }>({
    method: 'POST',
    url: '/v1/tokens',
    key,
    json,
  });
  assert.equal(answer.status, 201, answer.text);
  return { id: answer.body.token_id, token: answer.body.token };
}

/** A secret at a path of its own, and an agent that may read what `scopes` say of its namespace. */
async function aReader(
  app: TestApp,
  {
    scopes,
    secret = {},
    ...more
  }: { scopes?: (ns: string) => string[]; secret?: object } & Record<string, unknown> = {},
): Promise<{ ns: string; path: string; secretId: string; agent: CreatedAgent }> {
  const ns = nextName();
  const path = `${ns}/K`;
  const secretId = await aSecret(app, path, secret);
  const spec = scopes === undefined ? {} : { allowed_scopes: scopes(ns) };
  return { ns, path, secretId, agent: await app.createAgent({ ...spec, ...more }) };
}

const reads = (ns: string): string[] => [`secrets:read:${ns}/*`];
const other = (): string[] => ['secrets:read:elsewhere/*'];

/** One `update` of the agent's row; the probe reads a secret with its key. */
const agentAttack = (
  columns: readonly string[],
  what: string,
  set: string | ((ns: string) => string),
  options: { scopes?: (ns: string) => string[]; opensBefore?: true; control?: false } = {},
): Attack => ({
  table: 'agents',
  columns,
  what,
  ...(options.opensBefore === undefined ? {} : { opensBefore: true }),
  prepare: async (app) => {
    const { ns, path, agent } = await aReader(app, { scopes: options.scopes ?? other });
    const change = typeof set === 'string' ? set : set(ns);
    return {
      forge: () => app.sql(`update agents set ${change} where id = $1`, [agent.id]),
      probe: get(`/v1/secrets/${path}`, agent.key),
      forged: options.control === false ? undefined : ['id = $1', [agent.id]],
    };
  },
});

/** One `update` of a token's row; the probe reads a secret with the token. */
const tokenAttack = (
  columns: readonly string[],
  what: string,
  set: string,
  options: {
    token?: object;
    secret?: object;
    before?: (app: TestApp, token: { id: string; token: string }, path: string) => Promise<unknown>;
    opensBefore?: true;
    control?: false;
  } = {},
): Attack => ({
  table: 'scoped_tokens',
  columns,
  what,
  ...(options.opensBefore === undefined ? {} : { opensBefore: true }),
  prepare: async (app) => {
    const { ns, path, agent } = await aReader(app, { scopes: reads, secret: options.secret ?? {} });
    const token = await aToken(app, agent.key, { scopes: reads(ns), ...options.token });
    await options.before?.(app, token, path);
    return {
      forge: () =>
        app.sql(
          `update scoped_tokens set ${set.replaceAll('NS', ns)} where token_hash = (select token_hash from scoped_tokens where id = $1)`,
          [token.id],
        ),
      probe: getBy(`/v1/secrets/${path}`, token.token),
      forged: options.control === false ? undefined : ['agent_id = $1', [agent.id]],
    };
  },
});

/** One `update` of a secret's row; the probe reads it as the agent that may. */
const secretAttack = (
  columns: readonly string[],
  what: string,
  set: string,
  options: {
    secret?: object;
    version?: number;
    before?: (app: TestApp, path: string) => Promise<unknown>;
    opensBefore?: true;
    control?: false;
  } = {},
): Attack => ({
  table: 'secrets',
  columns,
  what,
  ...(options.opensBefore === undefined ? {} : { opensBefore: true }),
  prepare: async (app) => {
    const { path, agent, secretId } = await aReader(app, { scopes: reads, secret: options.secret ?? {} });
    await options.before?.(app, path);
    const query = options.version === undefined ? '' : `?version=${options.version}`;
    return {
      forge: () => app.sql(`update secrets set ${set} where id = $1`, [secretId]),
      probe: get(`/v1/secrets/${path}${query}`, agent.key),
      forged: options.control === false ? undefined : ['id = $1', [secretId]],
    };
  },
});

async function keyText(): Promise<{ text: string; keyId: string; hash: string }> {
  const { text, keyId } = generateApiKey();
  return { text, keyId, hash: await hashApiKey(text, TEST_BCRYPT_COST) };
}

const keyOf = (agent: CreatedAgent): readonly [string, readonly unknown[]] => ['key_id = $1', [agent.keyId]];
/** Expires, as Writ would have written it. */
async function expireKey(app: TestApp, agent: CreatedAgent): Promise<void> {
  await app.sql(`update api_keys set expires_at = now() - interval '1 hour' where key_id = $1`, [
    agent.keyId,
  ]);
  await resealRows(app.sql, 'api_keys', ...keyOf(agent));
}

/** Of a key that was revoked: live in SQL, which asks only whether there is a seal. */
const bringBack = ({ keyId }: CreatedAgent): [string, unknown[]] => [
  `update api_keys set revoked_at = null, seal = '\\x00' where key_id = $1`,
  [keyId],
];

async function aSecondKey({ call, adminKey }: TestApp, { id }: CreatedAgent): Promise<string> {
  const url = `/v1/agents/${id}/keys`;
  const made = await call<{ api_key: string }>({ method: 'POST', url, key: adminKey, json: {} });
  assert.equal(made.status, 201, made.text);
  return made.body.api_key;
}

const RANDOM_SEAL = `seal = '\\x${randomBytes(32).toString('hex')}'`;

export const ROW_ATTACKS: readonly Attack[] = [
  {
    table: 'agents',
    columns: ['id', 'seal'],
    what: 'all of the row of another principal, its seal included, but its id',
    prepare: async (app) => {
      const { path, agent } = await aReader(app, { scopes: other });
      const wide = await app.createAgent({ allowed_scopes: ['secrets:*:*'] });
      return {
        forge: async () => {
          const rows = await app.sql('select * from agents where id = $1', [wide.id]);
          await app.sql(`update agents set name = name || ' gone' where id = $1`, [wide.id]);
          const { name, role, allowed_scopes, seal } = rows[0] ?? {};
          await app.sql(
            `update agents set name = $2, role = $3, allowed_scopes = $4, seal = $5 where id = $1`,
            [agent.id, name, role, allowed_scopes, seal],
          );
        },
        probe: get(`/v1/secrets/${path}`, agent.key),
        forged: ['id = $1', [agent.id]],
      };
    },
  },
  agentAttack(['name'], 'another name', `name = name || ' of operations'`, {
    scopes: reads,
    opensBefore: true,
  }),
  {
    ...agentAttack(['role'], 'an agent made an administrator', `role = 'admin'`),
    prepare: async (app) => {
      const agent = await app.createAgent();
      return {
        forge: () => app.sql(`update agents set role = 'admin' where id = $1`, [agent.id]),
        probe: get('/v1/agents', agent.key),
        forged: ['id = $1', [agent.id]],
      };
    },
  },
  agentAttack(['allowedScopes'], 'wider scopes', (ns) => `allowed_scopes = array['secrets:read:${ns}/*']`),
  {
    ...agentAttack(['allowedNamespaces'], 'another namespace', ''),
    prepare: async (app) => {
      const { ns, path, agent } = await aReader(app, { allowed_namespaces: ['elsewhere'] });
      return {
        forge: () => app.sql('update agents set allowed_namespaces = $2 where id = $1', [agent.id, [ns]]),
        probe: get(`/v1/secrets/${path}`, agent.key),
        forged: ['id = $1', [agent.id]],
      };
    },
  },
  {
    ...agentAttack(['policy'], 'no policy any more', ''),
    prepare: async (app) => {
      const agent = await app.createAgent({ policy: { deny: ['*'] } });
      return {
        forge: () => app.sql('update agents set policy = null where id = $1', [agent.id]),
        probe: (on) =>
          on.call({ method: 'POST', url: '/token/issue', key: agent.key, json: { plan: A_PLAN } }),
        forged: ['id = $1', [agent.id]],
      };
    },
  },
  agentAttack(['seal'], 'no seal', 'seal = null', { scopes: reads, opensBefore: true }),
  agentAttack(['seal'], 'a seal of random bytes', RANDOM_SEAL, { scopes: reads, opensBefore: true }),
  {
    ...agentAttack(['revokedAt'], 'a revocation taken back', ''),
    prepare: async (app) => {
      const { path, agent } = await aReader(app, { scopes: reads });
      const probe = get(`/v1/secrets/${path}`, agent.key);
      assert.equal((await probe(app)).status, 200);
      const revoked = await app.call({ method: 'DELETE', url: `/v1/agents/${agent.id}`, key: app.adminKey });
      assert.ok(revoked.status < 300, revoked.text);
      return {
        forge: () => app.sql('update agents set revoked_at = null where id = $1', [agent.id]),
        probe,
        forged: ['id = $1', [agent.id]],
      };
    },
  },
  {
    table: 'api_keys',
    columns: ['seal'],
    what: 'a principal and a key that nobody made',
    prepare: async (app) => {
      const { text, keyId, hash } = await keyText();
      return {
        forge: async () => {
          const [agent] = await app.sql<{ id: string }>(
            `insert into agents (id, name, role) values (gen_random_uuid(), $1, 'admin') returning id`,
            [nextName()],
          );
          await app.sql('insert into api_keys (key_id, agent_id, prefix, hash) values ($1, $2, $3, $4)', [
            keyId,
            agent?.id,
            'ak_live_',
            hash,
          ]);
        },
        probe: get('/v1/agents', text),
        forged: undefined,
      };
    },
  },
  {
    table: 'api_keys',
    columns: ['keyId', 'hash'],
    what: 'id and hash of another key in the row of an administrator',
    prepare: async (app) => {
      const { text, keyId, hash } = await keyText();
      const admin = await app.createAgent({ role: 'admin' });
      return {
        forge: () =>
          app.sql('update api_keys set key_id = $2, hash = $3 where key_id = $1', [admin.keyId, keyId, hash]),
        probe: get('/v1/agents', text),
        forged: ['key_id = $1', [keyId]],
      };
    },
  },
  {
    table: 'api_keys',
    columns: ['agentId'],
    what: 'a key given to an administrator',
    prepare: async (app) => {
      const agent = await app.createAgent();
      const admin = await app.createAgent({ role: 'admin' });
      return {
        forge: () => app.sql('update api_keys set agent_id = $2 where key_id = $1', [agent.keyId, admin.id]),
        probe: get('/v1/agents', agent.key),
        forged: keyOf(agent),
      };
    },
  },
  {
    table: 'api_keys',
    columns: ['expiresAt'],
    what: 'an expired key that lives on',
    prepare: async (app) => {
      const { path, agent } = await aReader(app, { scopes: reads });
      await expireKey(app, agent);
      return {
        forge: () => app.sql('update api_keys set expires_at = null where key_id = $1', [agent.keyId]),
        probe: get(`/v1/secrets/${path}`, agent.key),
        forged: keyOf(agent),
      };
    },
  },
  {
    table: 'api_keys',
    columns: ['revokedAt'],
    what: 'a revocation taken back, in a process that had just let the key in',
    prepare: async (app) => {
      const { path, agent } = await aReader(app, { scopes: reads });
      const probe = get(`/v1/secrets/${path}`, agent.key);
      assert.equal((await probe(app)).status, 200);
      const url = `/v1/agents/${agent.id}/keys/${agent.keyId}`;
      const revoked = await app.call({ method: 'DELETE', url, key: app.adminKey });
      assert.ok(revoked.status < 300, revoked.text);
      return {
        forge: () => app.sql('update api_keys set revoked_at = null where key_id = $1', [agent.keyId]),
        probe,
        forged: keyOf(agent),
      };
    },
  },
  {
    table: 'api_keys',
    columns: ['seal'],
    what: 'the seal of another key',
    opensBefore: true,
    prepare: async (app) => {
      const { path, agent } = await aReader(app, { scopes: reads });
      return {
        forge: () =>
          app.sql(
            `update api_keys set seal = (select seal from api_keys where key_id <> $1 and seal is not null limit 1)
             where key_id = $1`,
            [agent.keyId],
          ),
        probe: get(`/v1/secrets/${path}`, agent.key),
        forged: keyOf(agent),
      };
    },
  },
  {
    table: 'api_keys',
    columns: ['revokedAt', 'seal'],
    what: 'a revoked key brought back, whose token another key of its agent asks for again',
    prepare: async (app) => {
      const agent = await app.createAgent();
      const second = await aSecondKey(app, agent);
      const issue = (key: string) => (on: TestApp) =>
        on.call({
          method: 'POST',
          url: '/token/issue',
          key,
          headers: { 'idempotency-key': agent.id },
          json: { plan: A_PLAN },
        });
      assert.equal((await issue(agent.key)(app)).status, 200);
      const url = `/v1/agents/${agent.id}/keys/${agent.keyId}`;
      const revoked = await app.call({ method: 'DELETE', url, key: app.adminKey });
      assert.ok(revoked.status < 300, revoked.text);
      return {
        forge: () => app.sql(...bringBack(agent)),
        probe: issue(second),
        forged: keyOf(agent),
      };
    },
  },
  ...['by an administrator', 'by another key of its agent'].map(
    (by): Attack => ({
      table: 'api_keys',
      columns: ['revokedAt', 'seal'],
      what: `a key revoked ${by} and brought back with any seal, in a process that had just let it in`,
      opensBefore: true,
      prepare: async (app) => {
        const { ns, agent } = await aReader(app, { scopes: reads });
        const second = await aSecondKey(app, agent);
        const forge = async (): Promise<void> => {
          const revoked = await app.call(
            by === 'by an administrator'
              ? { method: 'DELETE', url: `/v1/agents/${agent.id}/keys/${agent.keyId}`, key: app.adminKey }
              : { method: 'POST', url: `/api-keys/${agent.keyId}/revoke`, key: second },
          );
          assert.ok(revoked.status < 300, revoked.text);
          await app.sql(...bringBack(agent));
        };
        const json = { scopes: reads(ns) };
        const probe = (on: TestApp) => on.call({ method: 'POST', url: '/v1/tokens', key: agent.key, json });
        return { forge, probe, forged: keyOf(agent) };
      },
    }),
  ),
  tokenAttack(['id'], 'another id', 'id = gen_random_uuid()', { opensBefore: true }),
  {
    ...tokenAttack(['tokenHash'], 'the hash of another token', ''),
    prepare: async (app) => {
      const { ns, path, agent } = await aReader(app, { scopes: reads });
      const { id } = await aToken(app, agent.key, { scopes: reads(ns) });
      const { text, hashHex } = generateScopedToken();
      return {
        forge: () =>
          app.sql(`update scoped_tokens set token_hash = decode($2, 'hex') where id = $1`, [id, hashHex]),
        probe: getBy(`/v1/secrets/${path}`, text),
        forged: ['id = $1', [id]],
      };
    },
  },
  {
    ...tokenAttack(['agentId'], 'another owner', ''),
    prepare: async (app) => {
      const { ns, path, agent } = await aReader(app, { scopes: reads });
      const { id, token } = await aToken(app, agent.key, { scopes: reads(ns) });
      const narrowed = await app.call({
        method: 'PATCH',
        url: `/v1/agents/${agent.id}`,
        key: app.adminKey,
        json: { allowed_scopes: other() },
      });
      assert.equal(narrowed.status, 200, narrowed.text);
      const wide = await app.createAgent({ allowed_scopes: reads(ns) });
      return {
        forge: () => app.sql('update scoped_tokens set agent_id = $2 where id = $1', [id, wide.id]),
        probe: getBy(`/v1/secrets/${path}`, token),
        forged: ['id = $1', [id]],
      };
    },
  },
  {
    ...tokenAttack(['scopes'], 'wider scopes', ''),
    prepare: async (app) => {
      const { ns, path, agent } = await aReader(app, { scopes: (name) => [...reads(name), ...other()] });
      const { id, token } = await aToken(app, agent.key, { scopes: other() });
      return {
        forge: () => app.sql('update scoped_tokens set scopes = $2 where id = $1', [id, reads(ns)]),
        probe: getBy(`/v1/secrets/${path}`, token),
        forged: ['id = $1', [id]],
      };
    },
  },
  tokenAttack(['maxUses'], 'more uses, of a token that is used up', 'max_uses = 100', {
    token: { max_uses: 1 },
    before: async (app, { token }, path) =>
      assert.equal((await getBy(`/v1/secrets/${path}`, token)(app)).status, 200),
  }),
  tokenAttack(['maxUses'], 'no limit of uses', 'max_uses = null', {
    token: { max_uses: 1 },
    before: async (app, { token }, path) =>
      assert.equal((await getBy(`/v1/secrets/${path}`, token)(app)).status, 200),
  }),
  tokenAttack(['allowedIps'], 'any address', 'allowed_ips = null', { token: { allowed_ips: ['192.0.2.7'] } }),
  tokenAttack(
    ['tier', 'boundSecrets'],
    'a higher tier, and a secret that nobody approved',
    `access_tier = 'critical',
     bound_secrets = (select array_agg('critical ' || id || ' ' || path) from secrets where namespace = 'NS')`,
    { secret: { access_tier: 'critical' } },
  ),
  tokenAttack(['expiresAt'], 'an expired token that lives on', `expires_at = now() + interval '1 day'`, {
    before: async (app, { id }) => {
      await app.sql(`update scoped_tokens set expires_at = now() - interval '1 hour' where id = $1`, [id]);
      await resealRows(app.sql, 'scoped_tokens', 'id = $1', [id]);
    },
  }),
  tokenAttack(['revokedAt'], 'a revocation taken back, where reads had been repeated', 'revoked_at = null', {
    before: async (app, { id, token }, path) => {
      for (let time = 0; time < 3; time += 1) {
        assert.equal((await getBy(`/v1/secrets/${path}`, token)(app)).status, 200);
      }
      const url = `/v1/tokens/${id}`;
      const revoked = await app.call({ method: 'DELETE', url, key: app.adminKey });
      assert.ok(revoked.status < 300, revoked.text);
    },
  }),
  {
    table: 'scoped_tokens',
    columns: ['revokedAt', 'seal'],
    what: 'a token that was revoked and brought back with any seal, in a process that had just let it in',
    opensBefore: true,
    prepare: async (app) => {
      const { ns, path, agent } = await aReader(app, { scopes: reads });
      const { id, token } = await aToken(app, agent.key, { scopes: reads(ns) });
      const probe = getBy(`/v1/secrets/${path}`, token);
      const forge = async (): Promise<void> => {
        assert.equal((await probe(app)).status, 200);
        const revoked = await app.call({ method: 'DELETE', url: `/v1/tokens/${id}`, key: app.adminKey });
        assert.ok(revoked.status < 300, revoked.text);
        await app.sql(`update scoped_tokens set revoked_at = null, ${RANDOM_SEAL} where id = $1`, [id]);
        assert.equal((await probe(app)).status, 500, 'the first request after it');
      };
      return { forge, probe, forged: ['id = $1', [id]] };
    },
  },
  tokenAttack(['seal'], 'no seal', 'seal = null', { opensBefore: true }),
  tokenAttack(
    ['seal'],
    'the seal of another token',
    'seal = (select seal from scoped_tokens other where other.seal <> scoped_tokens.seal limit 1)',
    { opensBefore: true },
  ),
  {
    ...tokenAttack(['seal'], 'a token that nobody issued', ''),
    prepare: async (app) => {
      const { ns, path, agent } = await aReader(app, { scopes: reads });
      const { text, hashHex } = generateScopedToken();
      return {
        forge: () =>
          app.sql(
            `insert into scoped_tokens (id, token_hash, agent_id, key_id, scopes, access_tier, created_at, expires_at)
             values (gen_random_uuid(), decode($1, 'hex'), $2, $3, $4, 'critical', now(), now() + interval '1 day')`,
            [hashHex, agent.id, agent.keyId, reads(ns)],
          ),
        probe: getBy(`/v1/secrets/${path}`, text),
        forged: [`token_hash = decode($1, 'hex')`, [hashHex]],
      };
    },
  },
  {
    ...secretAttack(['id'], 'another id, with its versions', ''),
    opensBefore: true,
    prepare: async (app) => {
      const { path, agent, secretId } = await aReader(app, { scopes: reads });
      return {
        forge: async () => {
          const [copy] = await app.sql<{ id: string }>(
            `with old as (delete from secrets where id = $1 returning *)
             insert into secrets select gen_random_uuid(), path, namespace, key, secret_type, access_tier, metadata,
               description, tags, version, first_readable_version, revision, created_at, updated_at, expires_at, seal
             from old returning id`,
            [secretId],
          );
          assert.ok(copy);
        },
        probe: get(`/v1/secrets/${path}`, agent.key),
        // The versions are bound to the id by their encryption.
        forged: undefined,
      };
    },
  },
  {
    ...secretAttack(['path'], 'a path that others may read', ''),
    prepare: async (app) => {
      const { agent } = await aReader(app, { scopes: () => ['secrets:read:lobby/*'] });
      const { secretId } = await aReader(app);
      const key = nextName();
      return {
        forge: () =>
          app.sql(`update secrets set namespace = 'lobby', key = $2, path = 'lobby/' || $2 where id = $1`, [
            secretId,
            key,
          ]),
        probe: get(`/v1/secrets/lobby/${key}`, agent.key),
        // The value is bound to the path by its encryption.
        forged: undefined,
      };
    },
  },
  secretAttack(['tier'], 'a lower tier', `access_tier = 'standard'`, { secret: { access_tier: 'critical' } }),
  secretAttack(['version'], 'an old version as the newest', 'version = 1', {
    before: (app, path) => aSecret(app, path, { value: 'second' }),
  }),
  secretAttack(['firstReadableVersion'], 'a version from before an expiry', 'first_readable_version = 1', {
    version: 1,
    before: async (app, path) => {
      await app.sql(`update secrets set expires_at = now() - interval '1 hour' where path = $1`, [path]);
      await resealRows(app.sql, 'secrets', 'path = $1', [path]);
      await aSecret(app, path, { value: 'second', expires_at: null });
    },
  }),
  secretAttack(['expiresAt'], 'an expired secret that lives on', 'expires_at = null', {
    before: async (app, path) => {
      await app.sql(`update secrets set expires_at = now() - interval '1 hour' where path = $1`, [path]);
      await resealRows(app.sql, 'secrets', 'path = $1', [path]);
    },
  }),
  secretAttack(['canary'], 'a canary that sings no more', 'canary = false', {
    secret: { canary: true },
    opensBefore: true,
  }),
  secretAttack(['seal'], 'no seal', 'seal = null', { opensBefore: true }),
  secretAttack(['seal'], 'a seal of random bytes', RANDOM_SEAL, { opensBefore: true }),
];

/** Of rows that no request names: how one is changed, up to the `where`. */
export const OTHER_ATTACKS: readonly {
  readonly table: SealedTable;
  readonly columns: readonly string[];
  readonly what: string;
  readonly forge: string;
}[] = [
  ...Object.entries({
    kid: `kid = $1 || 'x'`,
    publicKey: `public_key = (select public_key from signing_keys where state = 'active')`,
    wrappedPrivateKey: `wrapped_private_key = (select wrapped_private_key from signing_keys where state = 'active')`,
    kekId: `kek_id = '0000000000000000'`,
    state: `state = 'next'`,
    seal: `seal = (select seal from signing_keys where state = 'active')`,
  }).map(([column, set]) => ({
    table: 'signing_keys' as const,
    columns: [column],
    what: column,
    forge: `update signing_keys set ${set}`,
  })),
  ...Object.entries({
    name: `name = 'other'`,
    value: `value = 'https://elsewhere.example'`,
    seal: 'seal = null',
  }).map(([column, set]) => ({
    table: 'settings' as const,
    columns: [column],
    what: column,
    forge: `update settings set ${set}`,
  })),
  ...Object.entries({
    id: 'id = gen_random_uuid()',
    payload: `payload = '{"type":"approval.granted"}'`,
    seal: RANDOM_SEAL,
  }).map(([column, set]) => ({
    table: 'webhook_outbox' as const,
    columns: [column],
    what: column,
    forge: `update webhook_outbox set ${set}`,
  })),
];
