/** `GET /.well-known/jwks.json`: the keys that verifiers pin (RFC 7517, RFC 8037). */

import Type from 'typebox';
import type { PublishedEd25519Jwk } from '../../domain/crypto/jwk.ts';
import type { Routes } from '../routing/route.ts';
import { oneOf, strictObject } from '../routing/schemas.ts';

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
      const headers = { 'cache-control': 'public, max-age=300', etag, 'access-control-allow-origin': '*' };
      const known = (request.headers['if-none-match'] ?? '')
        .split(',')
        .map((tag) => tag.trim().replace(/^W\//, ''));
      if (known.includes(etag) || known.includes('*')) return { status: 304, headers };
      return { status: 200, body: { keys: deps.publishedKeys() }, headers };
    },
  });
}
