/**
 * Guarantees tokens as Writ signs them, over plans and with proofs that `domain` makes, and a signer that signs
 * anything else, so that a test shows only what is wrong with a token.
 */
import assert from 'node:assert/strict';
import { createPublicKey, type KeyObject, sign } from 'node:crypto';
import { portableSha256 } from '../../src/domain/crypto/hashing.ts';
import { jwkThumbprint, type PublishedEd25519Jwk, publishedJwk } from '../../src/domain/crypto/jwk.ts';
import { parsePlan } from '../../src/domain/intent-tokens/plan.ts';
import { digestPlan, type PlanDigest } from '../../src/domain/intent-tokens/plan-digest.ts';
import type { JsonObject } from '../../src/domain/json/strict-json.ts';
import { anEd25519Key } from '../support/ed25519-keys.ts';

export const NOW_SECONDS = 1_800_000_000;
export const ISSUER = 'https://writ.example';
export const AUDIENCE = 'writ';

export const STEPS = [
  { action: 'read', mcp: 'files', params: { path: '/a' } },
  { action: 'send', mcp: 'mail', params: { to: ['x'], n: 1.5 } },
  { action: 'send', mcp: 'chat' },
  { action: 'note', text: 'no mcp' },
  { action: 'read', mcp: 'files', params: { path: 'ü\u2028' } },
] as const;

export interface TestSigner {
  readonly kid: string;
  readonly publicKey: Uint8Array;
  readonly jwk: PublishedEd25519Jwk;
  /** The Ed25519 signature of the text's bytes. */
  sign(text: string): Uint8Array;
}

export function aSigner(privateKey: KeyObject = anEd25519Key().privateKey): TestSigner {
  const { x = '' } = createPublicKey(privateKey).export({ format: 'jwk' });
  const publicKey = new Uint8Array(Buffer.from(x, 'base64url'));
  const kid = jwkThumbprint(x, portableSha256);
  return {
    kid,
    publicKey,
    jwk: publishedJwk(publicKey, { kid, alg: 'EdDSA' }),
    sign: (text) => new Uint8Array(sign(null, Buffer.from(text), privateKey)),
  };
}

export const base64url = (data: string | Uint8Array): string => Buffer.from(data).toString('base64url');

/** A compact JWS over texts, signed as they are. */
export function signTexts(
  signer: Pick<TestSigner, 'sign'>,
  header: string | Uint8Array,
  payload: string,
): string {
  const input = `${base64url(header)}.${base64url(payload)}`;
  return `${input}.${base64url(signer.sign(input))}`;
}

export function signClaims(
  signer: Pick<TestSigner, 'sign' | 'kid'>,
  claims: object,
  header: object = {},
): string {
  const whole = { alg: 'EdDSA', kid: signer.kid, typ: 'JWT', ...header };
  return signTexts(signer, JSON.stringify(whole), JSON.stringify(claims));
}

export function digestOf(steps: readonly object[]): PlanDigest {
  const parsed = parsePlan({ goal: 'verify', steps } as unknown as JsonObject);
  assert.ok(parsed.ok, parsed.ok ? '' : parsed.message);
  const result = digestPlan(parsed.plan, portableSha256);
  assert.ok(result.ok);
  return result.digest;
}

export type Claims = Readonly<Record<string, unknown>>;

export function claimsOver(digest: PlanDigest, changes: object = {}): Claims {
  return {
    iss: ISSUER,
    sub: 'someone',
    client_id: '019a0000-0000-7000-8000-000000000002',
    aud: AUDIENCE,
    iat: NOW_SECONDS - 10,
    nbf: NOW_SECONDS - 15,
    exp: NOW_SECONDS + 50,
    jti: '019a0000-0000-7000-8000-000000000001',
    token_use: 'intent',
    plan_hash: digest.planHashHex,
    merkle_root: digest.merkleRootHex,
    tree_size: digest.treeSize,
    policy: { allow: ['*'], deny: [] },
    policy_hash: '0c'.repeat(32),
    identity: { user_id: null, agent_id: null, context_id: null, api_key_id: '0123456789abcdef' },
    ...changes,
  };
}

export const claimsIn = (jwt: string): Claims =>
  JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString()) as Claims;

/** A token over `STEPS`, or over `plan.steps`, with `claims` changed. */
export function aToken(signer: TestSigner, claims: object = {}, steps: readonly object[] = STEPS) {
  const digest = digestOf(steps);
  return { jwt: signClaims(signer, claimsOver(digest, claims)), proofs: digest.stepProofs, digest };
}
