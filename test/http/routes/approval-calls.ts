/** Requests about approvals, and the moving of their times, which no test waits for. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { CreatedAgent, TestAnswer } from '../../support/app.ts';
import { resealRows } from '../../support/test-seals.ts';
import { buildSecretCalls, type SecretCalls, type Tier } from './secret-calls.ts';

export interface OpenedView {
  readonly requires_approval: boolean;
  readonly approval_id: string;
  readonly status: string;
  readonly expires_at: string;
  readonly poll: string;
}

export interface ApprovalView {
  readonly id: string;
  readonly agent_id: string;
  readonly agent_name: string;
  readonly access_tier: Tier;
  readonly secret_count: number;
  readonly secrets: readonly { readonly path: string; readonly access_tier: Tier }[];
  readonly status: string;
  readonly scopes: readonly string[];
  readonly ttl_seconds: number;
  readonly max_uses: number | null;
  readonly allowed_ips: readonly string[] | null;
  readonly description: string | null;
  readonly created_at: string;
  readonly expires_at: string;
  readonly approvals: readonly {
    readonly approver_id: string;
    readonly approver_name: string;
    readonly key_id: string | null;
    readonly counts: boolean;
    readonly at: string;
    readonly reason: string | null;
  }[];
  readonly approvals_required: number;
  readonly effective_at: string | null;
  readonly denied_at: string | null;
  readonly reason: string | null;
  readonly request_digest: string;
}

export interface PollView {
  readonly id: string;
  readonly status: string;
  readonly expires_at: string;
  readonly approved_at?: string;
  readonly denied_at?: string;
  readonly reason?: string;
  readonly token?: string;
  readonly token_id?: string;
  readonly token_expires_at?: string;
  readonly scopes?: readonly string[];
}

export interface ApprovalCalls extends SecretCalls {
  /** Three of role `approver`. */
  readonly approvers: readonly [CreatedAgent, CreatedAgent, CreatedAgent];
  /** An approval that `by` (a key) asked for: its id. `require_approval` unless said otherwise. */
  opened(by: string, asked?: Record<string, unknown>): Promise<string>;
  approve(as: string, id: string, json?: unknown): Promise<TestAnswer<ApprovalView>>;
  deny(as: string, id: string, json?: unknown): Promise<TestAnswer<ApprovalView>>;
  poll(as: string, id: string): Promise<TestAnswer<PollView>>;
  /** As an administrator sees it. */
  view(id: string): Promise<ApprovalView>;
  /** As if the time to decide it were over. */
  lapse(id: string): Promise<void>;
  /** As if its delay were over. */
  passDelay(id: string): Promise<void>;
  /** As if the time to claim it were over. */
  endWindow(id: string): Promise<void>;
  /** So that they count as pending no more. */
  closeAll(): Promise<void>;
}

export async function buildApprovalCalls(t: Pick<TestContext, 'after'>): Promise<ApprovalCalls> {
  const calls = await buildSecretCalls(t);
  const { ask, sql, adminKey, createAgent } = calls;
  const anApprover = () => createAgent({ role: 'approver' });
  const move = async (id: string, column: string, to: string): Promise<void> => {
    const moved = await sql(`update approvals set ${column} = ${to} where id = $1 returning id`, [id]);
    assert.equal(moved.length, 1, 'there is such an approval');
    await resealRows(sql, 'approvals', 'id = $1', [id]);
  };
  const decide =
    (verb: string) =>
    (as: string, id: string, json?: unknown): Promise<TestAnswer<ApprovalView>> =>
      ask<ApprovalView>(as, `POST /v1/approvals/${id}/${verb}`, json === undefined ? {} : { json });
  return {
    ...calls,
    approvers: [await anApprover(), await anApprover(), await anApprover()],
    opened: async (by, asked = {}) => {
      const json = { scopes: ['secrets:read:plain/K'], require_approval: true, ...asked };
      const answer = await ask<OpenedView>(by, 'POST /v1/tokens', { json });
      assert.equal(answer.status, 202, answer.text);
      return answer.body.approval_id;
    },
    approve: decide('approve'),
    deny: decide('deny'),
    poll: (as, id) => ask<PollView>(as, `GET /v1/approvals/agent/${id}`),
    view: async (id) => {
      const answer = await ask<ApprovalView>(adminKey, `GET /v1/approvals/${id}`);
      assert.equal(answer.status, 200, answer.text);
      return answer.body;
    },
    lapse: (id) => move(id, 'expires_at', `clock_timestamp() - interval '1 second'`),
    passDelay: (id) => move(id, 'effective_at', `clock_timestamp() - interval '1 second'`),
    endWindow: (id) =>
      move(id, 'effective_at', 'clock_timestamp() - make_interval(secs => window_seconds + 1)'),
    closeAll: async () => {
      await sql(`update approvals set denied_at = clock_timestamp() where denied_at is null`);
    },
  };
}
