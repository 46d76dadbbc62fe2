/** Delegations over HTTP: keys of delegates, and a client that asks for tokens, delegations and verifications. */
import assert from 'node:assert/strict';
import type { TestAnswer, TestApp } from '../../support/app.ts';
import { anEd25519Key } from '../../support/ed25519-keys.ts';
import { claimsIn } from '../../verify/signed-tokens.ts';

export const STEPS = [
  { action: 'search', mcp: 'hotels', params: { city: 'Zürich' } },
  { action: 'book', mcp: 'hotels', params: { hotel: 17 } },
  { action: 'search', mcp: 'trains' },
  { action: 'note' },
] as const;

export interface Proof {
  readonly proof: readonly object[];
}

export interface Issued {
  readonly jwt: string;
  readonly jti: string;
  readonly proofs: readonly Proof[];
  /** The SDK's token object. */
  readonly token: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
}

export interface Delegated {
  readonly success: boolean;
  readonly delegation_id: string;
  readonly delegation: Readonly<Record<string, unknown>> & { readonly jwt_token: string };
  readonly expires_at: number;
  readonly status: string;
  readonly trust_delta: object;
}

export function aDelegateKey(): string {
  const { publicKey } = anEd25519Key();
  return Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url').toString('hex');
}

export function delegationClient({ call }: TestApp) {
  const ask = (key: string, json: object, url = '/delegation/create'): Promise<TestAnswer<Delegated>> =>
    call<Delegated>({ method: 'POST', url, key, json });
  return {
    ask,
    issue: async (key: string, json: object = {}): Promise<Issued> => {
      const { status, text, body } = await call<{
        token: Issued['token'] & { jwt_token: string };
        token_id: string;
        step_proofs: Proof[];
      }>({
        method: 'POST',
        url: '/iap/sdk/token',
        key,
        json: { plan: { goal: 'travel', steps: STEPS }, expires_in: 3600, ...json },
      });
      assert.equal(status, 200, text);
      const { token, step_proofs: proofs, token_id: jti } = body;
      return { token, proofs, jti, jwt: token.jwt_token, claims: claimsIn(token.jwt_token) };
    },
    delegate: async (key: string, token: unknown, json: object = {}) => {
      const answer = await ask(key, { token, delegate_public_key: aDelegateKey(), ...json });
      assert.equal(answer.status, 200, answer.text);
      const { delegation, delegation_id: jti } = answer.body;
      return { ...answer.body, jwt: delegation.jwt_token, jti, claims: claimsIn(delegation.jwt_token) };
    },
    /** The code with which a step is answered. */
    verify: async (
      key: string | undefined,
      { jwt, proofs }: { jwt: string; proofs: readonly Proof[] },
      stepIndex?: number,
      json: object = {},
    ): Promise<string> => {
      const step =
        stepIndex === undefined
          ? {}
          : { step_index: stepIndex, step: STEPS[stepIndex], proof: proofs[stepIndex]?.proof };
      const { status, text, body } = await call<{ code: string }>({
        method: 'POST',
        url: '/token/verify',
        ...(key === undefined ? {} : { key }),
        json: { token: jwt, ...step, ...json },
      });
      assert.equal(status, 200, text);
      return body.code;
    },
  };
}
