/** Builders for tests about scoped tokens, so that a test shows only what it varies. */
import assert from 'node:assert/strict';
import { errorOf, type TestAnswer, type TestApp, type TestRequest } from '../../support/app.ts';

/** What `POST /v1/tokens` answers. */
export interface IssuedToken {
  readonly token: string;
  readonly value: string;
  readonly token_id: string;
  readonly scope: string;
  readonly scopes: string[];
  readonly expires_at: string;
  readonly created_at: string;
  readonly ttl_seconds: number;
  readonly max_uses: number | null;
  readonly uses_remaining: number | null;
  readonly allowed_ips: string[] | null;
  readonly description: string | null;
  readonly agent_id: string;
  readonly requires_approval: boolean;
}

/** An item of the inventory. */
export interface ListedToken extends Omit<IssuedToken, 'token' | 'value'> {
  readonly status: string;
  readonly revoked_at: string | null;
}

export interface TokenListing {
  readonly items: ListedToken[];
  readonly next_cursor: string | null;
}

export interface EventRow {
  readonly id: string;
  readonly event_type: string;
  readonly actor_id: string;
  readonly actor_type: string;
  readonly resource_type: string;
  readonly resource_id: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly ip_address: string | null;
  readonly request_id: string | null;
}

/** What a token may be moved to, past the app. */
export const ENDED = {
  revoked: 'revoked_at = clock_timestamp()',
  expired: "expires_at = clock_timestamp() - interval '1 millisecond'",
  exhausted: 'uses = max_uses',
} as const;

/** Asks again what a slow machine let wait for a lock too long: such an answer has no effect. */
export async function unlessBusy<Answer extends TestAnswer>(ask: () => Promise<Answer>): Promise<Answer> {
  for (let tries = 0; tries < 50; tries += 1) {
    const answer = await ask();
    if (errorOf(answer).code !== 'BUSY') return answer;
  }
  return ask();
}

export function tokenClient({ call, sql, adminKey }: TestApp) {
  const issue = (key: string, json: unknown): Promise<TestAnswer<IssuedToken>> =>
    call<IssuedToken>({ method: 'POST', url: '/v1/tokens', key, json });

  /** With a scoped token as credential. */
  const use = <Body = unknown>(token: string, request: TestRequest): Promise<TestAnswer<Body>> =>
    call<Body>({ ...request, headers: { authorization: `Bearer ${token}`, ...request.headers } });

  return {
    issue,
    use,
    read: (token: string, path: string, request: Partial<TestRequest> = {}) =>
      use<{ value?: string; items?: unknown[] }>(token, {
        method: 'GET',
        url: `/v1/secrets/${path}`,
        ...request,
      }),

    /** Over `secrets:*:*`, unless told otherwise. */
    make: async (key: string, spec: Readonly<Record<string, unknown>> = {}): Promise<IssuedToken> => {
      const { status, text, body } = await issue(key, { scopes: ['secrets:*:*'], ...spec });
      assert.equal(status, 201, text);
      return body;
    },

    /** By the administrator. */
    store: async (path: string, spec: Readonly<Record<string, unknown>> = {}): Promise<void> => {
      const json = { value: `value of ${path}`, ...spec };
      const { status, text } = await call({ method: 'PUT', url: `/v1/secrets/${path}`, key: adminKey, json });
      assert.ok(status === 200 || status === 201, text);
    },

    /** `uses` as the database has it. */
    usesOf: async ({ token_id }: Pick<IssuedToken, 'token_id'>): Promise<number> => {
      const [row] = await sql<{ uses: number }>('select uses from scoped_tokens where id = $1', [token_id]);
      assert.ok(row !== undefined);
      return row.uses;
    },

    end: async (
      { token_id }: Pick<IssuedToken, 'token_id'>,
      ...states: readonly (keyof typeof ENDED)[]
    ): Promise<void> => {
      for (const state of states) {
        await sql(`update scoped_tokens set ${ENDED[state]} where id = $1`, [token_id]);
      }
    },

    /** Oldest first. `where` is about `audit_events`. */
    events: (where: string, values: readonly unknown[] = []): Promise<EventRow[]> =>
      sql<EventRow & Record<string, unknown>>(
        `select id, event_type, actor_id, actor_type, resource_type, resource_id, metadata, ip_address, request_id
         from audit_events where ${where} order by id`,
        values,
      ),
  };
}
