/** Builders for tests about verifying intent tokens: a plan, what is issued for it, questions, and forged relatives. */
import assert from 'node:assert/strict';
import { after, type TestContext } from 'node:test';
import { createMasterKeys } from '../../../src/keys/encryption/master-keys.ts';
import { openSigningKey } from '../../../src/keys/signing/signing-key.ts';
import { createSigningThread } from '../../../src/keys/signing/signing-thread.ts';
import { readSigningKeys } from '../../../src/storage/signing-keys/signing-key-store.ts';
import { assertRefused, type TestAnswer, type TestApp, type TestRequest } from '../../support/app.ts';
import { TEST_KEK } from '../../support/test-seals.ts';
import type { TestSigner } from '../../verify/signed-tokens.ts';

export type Node = { readonly position: string; readonly sibling_hash: string };
export type StepProof = Readonly<Record<string, unknown>> & { readonly proof: readonly Node[] };
export type Claims = Readonly<Record<string, unknown>> & { readonly jti: string };

export interface Issued {
  readonly token: string;
  readonly token_id: string;
  readonly step_proofs: readonly [StepProof, StepProof, StepProof, StepProof, StepProof];
}
export interface Verified {
  readonly valid: boolean;
  readonly code: string;
  readonly reason?: string;
  readonly claims?: Claims;
  readonly step?: unknown;
}

export const STEPS = [
  { action: 'read', mcp: 'files', params: { path: '/a' } },
  { action: 'send', mcp: 'mail', params: { to: ['x'] } },
  { action: 'send', mcp: 'chat' },
  { action: 'note', text: 'no mcp' },
  { action: 'read', mcp: 'files', params: { path: 'ü\u2028' } },
] as const;
export const PLAN = { goal: 'verify', steps: STEPS };

export const claimsOf = (jwt: string): Claims =>
  JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString()) as Claims;

export async function issueWith(server: TestApp, key: string, body: object = {}): Promise<Issued> {
  const json = { plan: PLAN, expires_in: 600, ...body };
  const answer = await server.call<Issued>({ method: 'POST', url: '/token/issue', key, json });
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
}

export function asking(server: TestApp) {
  const ask = (json: object, request: Partial<TestRequest> = {}): Promise<TestAnswer<Verified>> =>
    server.call({ method: 'POST', url: '/token/verify', json, ...request });
  const expectCode = async (code: string, json: object, about?: string): Promise<Verified> => {
    const { status, body, text } = await ask(json);
    assert.equal(status, 200, `${about ?? ''} ${text}`);
    assert.equal(body.code, code, `${about ?? ''} ${text}`);
    assert.equal(body.valid, code === 'VALID');
    assert.equal(body.reason === undefined, code === 'VALID', 'a reason for whatever is not valid');
    return body;
  };
  const expect400 = async (
    json: object,
    pointer: string,
    about?: string,
    request: Partial<TestRequest> = {},
  ): Promise<void> =>
    assertRefused(
      await ask(json, request),
      { status: 400, code: 'VALIDATION_ERROR', details: { pointer } },
      about ?? JSON.stringify(json).slice(0, 200),
    );
  return { ask, expectCode, expect400 };
}

/** Signs with the server's own key, so that nothing but what was changed can be what refuses it. */
export async function forger(server: TestApp) {
  const [stored] = await readSigningKeys(server.database);
  assert.ok(stored !== undefined);
  const thread = createSigningThread();
  after(() => thread.close());
  const key = openSigningKey(stored, createMasterKeys([TEST_KEK]), thread);
  return async (from: Issued, changes: object): Promise<string> =>
    (await key.signJwt(JSON.stringify({ ...claimsOf(from.token), ...changes }))).jwt;
}

/** A row like that of `from`, as delegating to the same or another agent would write it. */
export async function rowLike(
  { sql }: TestApp,
  from: Issued,
  changes: { jti: string; ancestors?: readonly string[]; agentId?: string },
): Promise<void> {
  const inserted = await sql(
    `insert into intent_tokens (jti, plan_id, agent_id, key_id, kid, plan_hash, merkle_root, tree_size, policy, actions,
       issued_at, expires_at, root_jti, ancestors)
     select $1, plan_id, coalesce($4, agent_id), key_id, kid, plan_hash, merkle_root, tree_size, policy, actions,
       issued_at, expires_at, root_jti, $3 from intent_tokens where jti = $2 returning jti`,
    [changes.jti, from.token_id, changes.ancestors ?? [], changes.agentId ?? null],
  );
  assert.equal(inserted.length, 1);
}

/** The server's own key, as somebody would use it who has both the database and the master key. */
export async function serverSigner(t: TestContext, { database }: TestApp): Promise<Omit<TestSigner, 'jwk'>> {
  const [stored] = await readSigningKeys(database);
  assert.ok(stored !== undefined);
  const thread = createSigningThread();
  t.after(() => thread.close());
  const key = openSigningKey(stored, createMasterKeys([TEST_KEK]), thread);
  return {
    kid: key.kid,
    publicKey: key.publicKey,
    sign: (text) => new Uint8Array(Buffer.from(key.signText(text), 'hex')),
  };
}
