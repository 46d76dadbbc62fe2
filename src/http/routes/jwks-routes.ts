/**
 * `GET /.well-known/jwks.json`: the keys that verifiers pin (RFC 7517, RFC 8037); `GET /iap/public-key`: the active one,
 * as the Python SDK reads it (contract section 4.8).
 */

import Type from 'typebox';
import { type PublishedEd25519Jwk, SIGNING_ALGS, type SigningAlg } from '../../domain/crypto/jwk.ts';
import { JWKS_MAX_AGE_SECONDS } from '../../domain/signing-keys/key-rotation.ts';
import { matchesEntityTag } from '../routing/entity-tag.ts';
import type { Routes } from '../routing/route.ts';
import { oneOf, strictObject } from '../routing/schemas.ts';

const CACHE_CONTROL = `public, max-age=${JWKS_MAX_AGE_SECONDS}`;

const Jwk = strictObject({
  kty: oneOf(['OKP']),
  crv: oneOf(['Ed25519']),
  x: Type.String({ pattern: '^[\\w-]{43}$' }),
  kid: Type.String({ description: 'RFC 7638 thumbprint' }),
  alg: Type.Optional(oneOf(['EdDSA'], 'absent where `SIGNING_ALG` is `Ed25519`')),
  use: oneOf(['sig']),
});

export interface SigningKeysDeps {
  readonly publishedKeys: () => readonly PublishedEd25519Jwk[];
  /** `alg` is the name under which it signs now. */
  readonly activeKey: () => {
    readonly publicKeyHex: string;
    readonly kid: string;
    readonly alg: SigningAlg;
  };
  /** Changes when the keys do. */
  readonly entityTag: () => string;
}

export function addSigningKeyRoutes(routes: Routes, deps: SigningKeysDeps): void {
  routes.public({
    method: 'GET',
    url: '/.well-known/jwks.json',
    tag: 'intent tokens',
    summary: 'The public signing keys',
    credential: 'none',
    headers: { 'If-None-Match': Type.String() },
    answerHeaders: {
      ETag: Type.String(),
      'Cache-Control': Type.String(),
      'Access-Control-Allow-Origin': Type.String({
        description: '`*`: verifiers in browsers fetch the keys',
      }),
    },
    answers: { 200: strictObject({ keys: Type.Array(Jwk) }), 304: null },
    handle: async ({ request }) => {
      const etag = deps.entityTag();
      // Public keys may be read from any origin (Fetch standard, CORS protocol); no other route says so.
      const headers = { 'cache-control': CACHE_CONTROL, etag, 'access-control-allow-origin': '*' };
      if (matchesEntityTag(request, etag)) return { status: 304, headers };
      return { status: 200, body: { keys: deps.publishedKeys() }, headers };
    },
  });

  routes.public({
    method: 'GET',
    url: '/iap/public-key',
    tag: 'intent tokens',
    summary: 'The active signing key',
    description: 'Verifiers that outlive a change of keys read the JWKS instead.',
    credential: 'none',
    answers: {
      200: strictObject({
        public_key: Type.String({ pattern: '^[0-9a-f]{64}$', description: '32 bytes, hex' }),
        kid: Jwk.properties.kid,
        alg: oneOf(SIGNING_ALGS),
      }),
    },
    handle: async () => {
      const { publicKeyHex, kid, alg } = deps.activeKey();
      return { status: 200, body: { public_key: publicKeyHex, kid, alg } };
    },
  });
}
