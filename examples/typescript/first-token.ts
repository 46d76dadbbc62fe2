/**
 * Issues an intent token and verifies it as a tool would: with a JWT library and the published keys.
 *   WRIT_URL=http://127.0.0.1:3000 WRIT_KEY=ak_live_… npx tsx examples/typescript/first-token.ts
 */
import { createRemoteJWKSet, jwtVerify } from 'jose';

const url = process.env['WRIT_URL'] ?? 'http://127.0.0.1:3000';
/** What the server was given as ISSUER_URL and TOKEN_AUDIENCE: a verifier has them in its own configuration. */
const issuer = process.env['WRIT_ISSUER'] ?? url;
const audience = process.env['WRIT_AUDIENCE'] ?? 'writ';
const apiKey = process.env['WRIT_KEY'];
if (apiKey === undefined) throw new Error('set WRIT_KEY to an API key');

const response = await fetch(`${url}/token/issue`, {
  method: 'POST',
  headers: { 'X-API-Key': apiKey, 'Content-Type': 'application/json' },
  body: JSON.stringify({
    plan: {
      goal: 'look at the weather',
      steps: [{ action: 'get_weather', mcp: 'weather-mcp', params: { city: 'Boston' } }],
    },
    policy: { allow: ['weather-mcp/*'] },
    expires_in: 300,
  }),
});
const answer = (await response.json()) as {
  token: string;
  token_id: string;
  plan_hash: string;
  message?: string;
};
if (!response.ok) throw new Error(`no token: ${answer.message}`);

const keys = createRemoteJWKSet(new URL(`${url}/.well-known/jwks.json`));
const { payload } = await jwtVerify(answer.token, keys, {
  issuer,
  audience,
  algorithms: ['EdDSA'],
  requiredClaims: ['exp', 'jti'],
});
if (payload['token_use'] !== 'intent') throw new Error('not an intent token');
if (payload['plan_hash'] !== answer.plan_hash) throw new Error('a token over another plan');
console.log(`token ${payload.jti} over plan ${payload['plan_hash']} until ${payload.exp}`);
