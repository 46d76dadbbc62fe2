/**
 * `writ/verify`: checks intent tokens and the steps of their plans offline (contract sections 4.3, 4.4 and 4.6), in
 * Node, browsers and workers. Keys come from the caller alone, root and size from the verified claims alone, and
 * whatever is not a grant rejects.
 */

import { portableSha256 } from './domain/crypto/hashing.ts';
import { type IntentClaims, readIntentClaims } from './domain/intent-tokens/intent-claims.ts';
import { parseIntentJwt, refuseSignature } from './domain/intent-tokens/intent-jwt.ts';
import { type ProvenStep, proveStep } from './domain/intent-tokens/proven-step.ts';
import type { JsonObject, JsonValue } from './domain/json/strict-json.ts';
import { type Address, parseClientAddress } from './domain/network/ip-address.ts';
import { parsePolicy } from './domain/policies/policy.ts';
import { refuseAtRuntime } from './domain/policies/runtime-policy.ts';
import { downloadKeySet } from './verify/jwks-download.ts';
import { type FindKey, fetchedKeys, fixedKeys, type JsonWebKeySet } from './verify/jwks-source.ts';
import { parseStepRequest, requireStepRequest, type StepRequest } from './verify/step-request.ts';
import { VerificationError } from './verify/verification-error.ts';

export type { ActionRequest, WholeStepRequest } from './verify/step-request.ts';
export type { VerificationErrorCode } from './verify/verification-error.ts';
export type { JsonObject, JsonValue, JsonWebKeySet, ProvenStep, StepRequest };
export { VerificationError };

/** The keys themselves, or the `/.well-known/jwks.json` of the Writ server that is trusted; never from a token. */
export type KeySource =
  | { readonly jwks: JsonWebKeySet; readonly jwksUrl?: undefined }
  | { readonly jwksUrl: string | { readonly href: string }; readonly jwks?: undefined };

export type VerifierOptions = KeySource & {
  /** The server's `ISSUER_URL`. */
  readonly issuer: string;
  /** The server's `TOKEN_AUDIENCE`. */
  readonly audience: string;
  /** Default: the system's clock. */
  readonly clock?: (() => Date) | undefined;
};

/** A token whose signature, times, issuer and audience are right. Whether it was revoked only the server knows. */
export interface VerifiedToken {
  readonly jti: string;
  /** Of a delegation the first token of the chain, otherwise `jti`: what remembers or counts uses goes by it. */
  readonly rootJti: string;
  /** The principal whose API key asked for the token. */
  readonly clientId: string;
  readonly expiresAt: Date;
  /** Lower-case hex SHA-256 of the canonical plan. */
  readonly planHash: string;
  /** Lower-case hex. */
  readonly merkleRoot: string;
  /** Twice the number of steps. */
  readonly treeSize: number;
  readonly policy: JsonObject;
  /** Of a delegation: the only actions it allows. `verifyStep` enforces them. */
  readonly allowedActions: readonly string[] | undefined;
  /** Of a delegation: the key that its holder can prove possession of (RFC 7800). Not checked here. */
  readonly cnf: JsonObject | undefined;
  /** Everything that was signed. */
  readonly claims: JsonObject;
}

export interface VerifiedStep {
  readonly token: VerifiedToken;
  readonly step: ProvenStep;
}

export interface Verifier {
  /** Decides about the token only, about no step. Rejects with `TOKEN_INVALID`, `TOKEN_EXPIRED`, `KEYS_UNAVAILABLE`. */
  verifyToken(jwt: string): Promise<VerifiedToken>;
  /** Resolves only where the step may be carried out now. Rejects with any `VerificationErrorCode`. */
  verifyStep(jwt: string, request: StepRequest): Promise<VerifiedStep>;
}

const OPTIONS: ReadonlySet<string> = new Set(['jwks', 'jwksUrl', 'issuer', 'audience', 'clock']);

/** @throws TypeError for options that cannot make a verifier. */
export function createVerifier(options: VerifierOptions): Verifier {
  const { issuer, audience, clock = () => new Date() } = options;
  const unknown = Object.keys(options).find((name) => !OPTIONS.has(name));
  if (unknown !== undefined) throw new TypeError(`createVerifier does not know the option ${unknown}`);
  requireText('issuer', issuer);
  requireText('audience', audience);
  if (typeof clock !== 'function') throw new TypeError('clock must be a function that returns a Date');
  const findKey = findKeyIn(options, clock);

  const verify = async (jwt: string): Promise<{ claims: IntentClaims; nowSeconds: number }> => {
    const parsed = parseIntentJwt(jwt);
    if (!parsed.ok) throw refusal(parsed);
    const key = await findKey(parsed.jws.kid);
    const refused = refuseSignature(await key?.verify(parsed.jws));
    if (refused !== undefined) throw refusal(refused);
    const nowSeconds = clock().getTime() / 1000;
    const read = readIntentClaims(parsed.payload, { issuer, audience, nowSeconds });
    if (!read.ok) throw refusal(read);
    return { claims: read.claims, nowSeconds };
  };

  return {
    verifyToken: async (jwt) => verifiedToken((await verify(jwt)).claims),
    verifyStep: async (jwt, request) => {
      requireStepRequest(request);
      const { claims, nowSeconds } = await verify(jwt);
      const proven = proveStep(claims, parseStepRequest(request), portableSha256);
      if (!proven.ok) throw new VerificationError(proven.code, proven.reason);
      requirePolicy(claims, request, nowSeconds);
      return { token: verifiedToken(claims), step: proven.step };
    },
  };
}

function requireText(name: string, value: unknown): void {
  if (typeof value !== 'string' || value === '')
    throw new TypeError(`${name} must be the one that Writ signs`);
}

function findKeyIn({ jwks, jwksUrl }: KeySource, clock: () => Date): FindKey {
  if ((jwks === undefined) === (jwksUrl === undefined)) throw new TypeError('give either jwks or jwksUrl');
  if (jwks !== undefined) return fixedKeys(jwks);
  const { href, protocol } = new URL(typeof jwksUrl === 'object' ? jwksUrl.href : String(jwksUrl));
  if (protocol !== 'https:' && protocol !== 'http:') throw new TypeError('jwksUrl must be http or https');
  const now = () => ({ monotonicMs: performance.now(), wallMs: clock().getTime() });
  return fetchedKeys({ url: href, download: downloadKeySet, now });
}

const refusal = ({ code, reason }: { code: 'TOKEN_INVALID' | 'TOKEN_EXPIRED'; reason: string }) =>
  new VerificationError(code, `The token is refused: ${reason}.`);

/** What the policy restricts at the time of use; `allow`, `deny` and `allowed_tools` were decided when it was signed. */
function requirePolicy(claims: IntentClaims, request: StepRequest, nowSeconds: number): void {
  const parsed = parsePolicy(claims.policy);
  if (!parsed.ok)
    throw new VerificationError('POLICY_DENIED', 'The signed policy has a part that is unknown here.');
  const refused = refuseAtRuntime(parsed.policy, { nowSeconds, clientAddress: addressOf(request) });
  if (refused !== undefined) throw new VerificationError(refused.code, refused.reason);
  if (parsed.policy.rateLimit !== undefined && request.acceptUncounted !== true) {
    throw new VerificationError(
      'RATE_LIMIT',
      'The policy has a rate_limit, which only the server counts: use POST /token/verify, or set acceptUncounted.',
    );
  }
}

/** Undefined for a text that is no address, which no list admits. */
function addressOf({ clientIp }: StepRequest): Address | undefined {
  const parsed = clientIp === undefined ? undefined : parseClientAddress(clientIp);
  return parsed?.ok === true ? parsed.address : undefined;
}

function verifiedToken(claims: IntentClaims): VerifiedToken {
  return {
    jti: claims.jti,
    rootJti: claims.rootJti,
    clientId: claims.clientId,
    expiresAt: new Date(claims.expiresAtSeconds * 1000),
    planHash: claims.planHashHex,
    merkleRoot: claims.merkleRootHex,
    treeSize: claims.treeSize,
    policy: claims.policy,
    allowedActions: claims.allowedActions,
    cnf: claims.confirmation,
    claims: claims.all,
  };
}
