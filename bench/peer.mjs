/**
 * The peer: `oidc-provider`, issuing EdDSA JWT access tokens (RFC 9068) by client credentials, from memory: one
 * client, one resource, one Ed25519 key, nothing durable. Environment: PORT, CLIENT_ID, CLIENT_SECRET.
 */

import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

const { PORT, CLIENT_ID, CLIENT_SECRET } = process.env;
const { privateKey } = generateKeyPairSync('ed25519');

const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'EdDSA', use: 'sig', kid: 'bench' }] },
  cookies: { keys: ['unused'] },
  clients: [
    {
      client_id: CLIENT_ID,
      client_secret: CLIENT_SECRET,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: 'EdDSA',
      token_endpoint_auth_method: 'client_secret_post',
    },
  ],
  scopes: ['tool:use'],
  ttl: { ClientCredentials: 60 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({
        scope: 'tool:use',
        accessTokenTTL: 60,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'EdDSA' } },
      }),
    },
  },
});

process.on('SIGTERM', () => process.exit(0));
provider.listen(Number(PORT), '127.0.0.1');
