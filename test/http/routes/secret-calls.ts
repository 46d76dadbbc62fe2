/** Requests about secrets, short enough that a test shows only what it varies. */
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { buildTestApp, type CreatedAgent, type TestAnswer, type TestApp } from '../../support/app.ts';
import { openApiCheckOf } from '../../support/openapi-check.ts';
import type { Overrides } from '../../support/test-config.ts';
import { resealRows } from '../../support/test-seals.ts';

export type Tier = 'standard' | 'sensitive' | 'critical';

export interface SecretView {
  readonly id: string;
  readonly namespace: string;
  readonly key: string;
  readonly path: string;
  readonly version: number;
  readonly secret_type: string;
  readonly access_tier: Tier;
  readonly tier: Tier;
  readonly metadata: Record<string, unknown> | null;
  readonly description: string | null;
  readonly tags: readonly string[];
  readonly created_at: string;
  readonly updated_at: string;
  readonly expires_at: string | null;
  readonly rotate_after_days: number | null;
  readonly rotation_due_at: string | null;
  /** To an administrator only. */
  readonly canary?: boolean;
  /** Only where a secret was read. */
  readonly value?: string;
}

export interface ListView {
  readonly namespace: string;
  readonly items: readonly SecretView[];
  readonly next_cursor: string | null;
}

export interface AuditRow {
  readonly event_type: string;
  readonly actor_id: string;
  readonly actor_type: string;
  readonly resource_type: string;
  readonly resource_id: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly request_id: string;
}

export interface ScopedToken {
  readonly id: string;
  readonly token: string;
}

export interface Asked {
  readonly json?: unknown;
  readonly raw?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface TokenSpec {
  /** The key it is issued with; default: the administrator's. */
  readonly by?: string;
  readonly scopes?: readonly string[];
  readonly maxUses?: number;
  /** What an approval would have given, of the secrets that are there; written past the app. */
  readonly tier?: Tier;
}

export interface SecretCalls extends TestApp {
  /** `as` is an API key, a scoped token, or nothing; the target follows the method. */
  ask<Body = SecretView>(as: string | undefined, line: string, asked?: Asked): Promise<TestAnswer<Body>>;
  /** Written by the administrator; `v` is its value unless named. */
  aSecret(path: string, members?: Record<string, unknown>): Promise<SecretView>;
  anAgent(...scopes: readonly string[]): Promise<CreatedAgent>;
  /** Costs less than another agent. */
  rescope(agent: CreatedAgent, ...scopes: readonly string[]): Promise<void>;
  aToken(spec?: TokenSpec): Promise<ScopedToken>;
  /** As if the token were of an approval that named the secrets which are there now, each with this tier. */
  bind(token: ScopedToken, tier: Tier): Promise<void>;
  usesOf(token: ScopedToken): Promise<number>;
  /** As if its time had come. */
  expire(...paths: readonly string[]): Promise<void>;
  /** The events that are there after `effect` and were not before, oldest first. */
  eventsOf(effect: () => Promise<unknown>): Promise<readonly AuditRow[]>;
}

export async function buildSecretCalls(
  t: Pick<TestContext, 'after'>,
  overrides: Overrides = {},
): Promise<SecretCalls> {
  const app = await buildTestApp(t, overrides);
  const { call, sql, adminKey } = app;

  const ask: SecretCalls['ask'] = (as, line, { json, raw, headers } = {}) => {
    const [method = '', url = ''] = line.split(' ');
    return call({
      method,
      url,
      headers: { ...credential(as), ...headers },
      ...(json === undefined ? {} : { json }),
      ...(raw === undefined ? {} : { raw }),
    });
  };

  const bind: SecretCalls['bind'] = async ({ id }, tier) => {
    await sql(
      `update scoped_tokens set access_tier = $2,
         bound_secrets = (select array_agg($2 || ' ' || id || ' ' || path) from secrets)
       where id = $1`,
      [id, tier],
    );
    await resealRows(sql, 'scoped_tokens', 'id = $1', [id]);
  };

  const events = (except: readonly string[]) =>
    sql<AuditRow & { id: string }>(
      `select id, event_type, actor_id, actor_type, resource_type, resource_id, metadata, request_id
       from audit_events where not (id = any($1::uuid[])) order by created_at, id`,
      [except],
    );

  return {
    ...app,
    ask,
    aSecret: async (path, members = {}) => {
      const answer = await ask(adminKey, `PUT /v1/secrets/${path}`, { json: { value: 'v', ...members } });
      assert.ok(answer.status === 201 || answer.status === 200, answer.text);
      return answer.body;
    },
    anAgent: (...scopes) => app.createAgent({ allowed_scopes: scopes }),
    rescope: async ({ id }, ...scopes) => {
      const answer = await ask(adminKey, `PATCH /v1/agents/${id}`, { json: { allowed_scopes: scopes } });
      assert.equal(answer.status, 200, answer.text);
    },
    aToken: async ({ by = adminKey, scopes = ['secrets:*:*'], maxUses, tier } = {}) => {
      const json = { scopes, ...(maxUses === undefined ? {} : { max_uses: maxUses }) };
      const answer = await ask<{ token: string; token_id: string }>(by, 'POST /v1/tokens', { json });
      assert.equal(answer.status, 201, answer.text);
      const { token, token_id: id } = answer.body;
      if (tier !== undefined) await bind({ id, token }, tier);
      return { id, token };
    },
    bind,
    usesOf: async ({ id }) => {
      const [row] = await sql<{ uses: number }>('select uses from scoped_tokens where id = $1', [id]);
      return row?.uses ?? Number.NaN;
    },
    expire: async (...paths) => {
      const rows = await sql(
        "update secrets set expires_at = now() - interval '1 second' where path = any($1::text[]) returning id",
        [paths],
      );
      assert.equal(rows.length, paths.length);
      await resealRows(sql, 'secrets', 'path = any($1::text[])', [paths]);
    },
    eventsOf: async (effect) => {
      const before = (await events([])).map(({ id }) => id);
      await effect();
      return (await events(before)).map(({ id: _, ...event }) => event);
    },
  };
}

/** Sends a target byte by byte as it is written, which `call` would normalise; the answer is checked as there. */
export type RawAsk = <Body = SecretView>(
  as: string | undefined,
  line: string,
  json?: unknown,
) => Promise<TestAnswer<Body>>;

export async function listenForRaw(t: Pick<TestContext, 'after'>, { app }: TestApp): Promise<RawAsk> {
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  const check = await openApiCheckOf(app);
  return async <Body>(as: string | undefined, line: string, json?: unknown) => {
    const at = line.indexOf(' ');
    const [method, url] = [line.slice(0, at), line.slice(at + 1)];
    const answer = await send<Body>({ agent, port }, { method, url, as, json });
    check({ method, url, ...answer });
    return answer;
  };
}

function send<Body>(
  server: { agent: Agent; port: number },
  asked: { method: string; url: string; as: string | undefined; json: unknown },
): Promise<TestAnswer<Body>> {
  const text = asked.json === undefined ? undefined : JSON.stringify(asked.json);
  return new Promise((resolve, reject) => {
    const sent = request({
      host: '127.0.0.1',
      ...server,
      method: asked.method,
      path: asked.url,
      headers: {
        ...credential(asked.as),
        ...(text === undefined ? {} : { 'content-type': 'application/json' }),
      },
    });
    sent.on('error', reject);
    sent.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const received = Buffer.concat(chunks).toString();
        const headers = response.headers as Record<string, string | undefined>;
        const body = (received === '' ? undefined : JSON.parse(received)) as Body;
        resolve({ status: response.statusCode ?? 0, headers, text: received, body });
      });
    });
    sent.end(text);
  });
}

function credential(as: string | undefined): Record<string, string> {
  if (as === undefined) return {};
  return as.startsWith('ast_tok_') ? { authorization: `Bearer ${as}` } : { 'x-api-key': as };
}
