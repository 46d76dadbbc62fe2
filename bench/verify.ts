/**
 * `npm run bench:verify`: what `writ/verify` takes to verify a token with one step of its plan, beside `jwtVerify` of
 * jose, which verifies the token alone. Rounds of both alternate in one process, so that other work on the machine
 * meets both; the figure is the median of the rounds' ratios.
 */

import { generateKeyPairSync, sign } from 'node:crypto';
import { parseArgs } from 'node:util';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { portableSha256 } from '../src/domain/crypto/hashing.ts';
import { jwkThumbprint, publishedJwk } from '../src/domain/crypto/jwk.ts';
import { parsePlan } from '../src/domain/intent-tokens/plan.ts';
import { digestPlan } from '../src/domain/intent-tokens/plan-digest.ts';
import type { createVerifier as CreateVerifier } from '../src/verify.ts';
import { median, table } from './figures.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '41' },
    calls: { type: 'string', default: '300' },
    steps: { type: 'string', default: '10' },
    at: { type: 'string', default: '1' },
  },
});
const [rounds, calls, stepCount, atOnce] = [values.rounds, values.calls, values.steps, values.at].map(Number);

const ISSUER = 'https://writ.example';
const AUDIENCE = 'writ';
const steps = Array.from({ length: stepCount ?? 10 }, (_, index) => ({
  action: `tool.${index}`,
  mcp: 'travel-mcp',
  params: { city: 'Berlin', day: index, options: { units: 'metric', hourly: true } },
}));

function makeToken() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const { x = '' } = publicKey.export({ format: 'jwk' });
  const kid = jwkThumbprint(x, portableSha256);
  const parsed = parsePlan({ goal: 'travel', steps });
  const digested = parsed.ok ? digestPlan(parsed.plan, portableSha256) : undefined;
  if (digested?.ok !== true) throw new Error('the plan of the benchmark is a plan');
  const { digest } = digested;
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: ISSUER,
    sub: '019a0000-0000-7000-8000-000000000002',
    client_id: '019a0000-0000-7000-8000-000000000002',
    aud: AUDIENCE,
    iat: now,
    nbf: now - 5,
    exp: now + 3600,
    jti: '019a0000-0000-7000-8000-000000000001',
    token_use: 'intent',
    plan_hash: digest.planHashHex,
    merkle_root: digest.merkleRootHex,
    tree_size: digest.treeSize,
    policy: { allow: ['*'], deny: [] },
    policy_hash: digest.planHashHex,
    identity: { user_id: null, agent_id: null, context_id: null, api_key_id: '0123456789abcdef' },
  };
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const input = `${part({ alg: 'EdDSA', kid, typ: 'JWT' })}.${part(claims)}`;
  const jwt = `${input}.${sign(null, Buffer.from(input), privateKey).toString('base64url')}`;
  return {
    jwt,
    proofs: digest.stepProofs,
    jwks: { keys: [publishedJwk(Buffer.from(x, 'base64url'), { kid, alg: 'EdDSA' })] },
  };
}

/** Wall and processor time of one call, in microseconds. */
async function measure(
  call: (index: number) => Promise<unknown>,
): Promise<{ wallUs: number; cpuUs: number }> {
  const count = calls ?? 300;
  const width = atOnce ?? 1;
  const before = process.cpuUsage();
  const started = performance.now();
  for (let index = 0; index < count; index += width) {
    await Promise.all(Array.from({ length: width }, (_, offset) => call(index + offset)));
  }
  const elapsed = performance.now() - started;
  const { user, system } = process.cpuUsage(before);
  return { wallUs: (elapsed * 1000) / count, cpuUs: (user + system) / count };
}

const { jwt, proofs, jwks } = makeToken();
// What is measured is what is published.
const { createVerifier }: { createVerifier: typeof CreateVerifier } = await import(
  new URL('../dist/verify.js', import.meta.url).href
);
const verifier = createVerifier({ jwks, issuer: ISSUER, audience: AUDIENCE });
const keySet = createLocalJWKSet(jwks);
const josePolicy = { issuer: ISSUER, audience: AUDIENCE, algorithms: ['EdDSA'], typ: 'JWT' };

const CONTESTANTS = {
  'jose, token': () => jwtVerify(jwt, keySet, josePolicy),
  'writ/verify, token': () => verifier.verifyToken(jwt),
  'writ/verify, token and step': (index: number) => {
    const stepIndex = index % steps.length;
    const step = steps[stepIndex] ?? {};
    return verifier.verifyStep(jwt, { stepIndex, step, proof: proofs[stepIndex] });
  },
};

const measured = new Map(
  Object.keys(CONTESTANTS).map((name) => [
    name,
    { wallUs: [], cpuUs: [] } as Record<'wallUs' | 'cpuUs', number[]>,
  ]),
);
for (let round = -3; round < (rounds ?? 41); round += 1) {
  for (const [name, call] of Object.entries(CONTESTANTS)) {
    const { wallUs, cpuUs } = await measure(call);
    // The first rounds are the compiler's.
    if (round < 0) continue;
    measured.get(name)?.wallUs.push(wallUs);
    measured.get(name)?.cpuUs.push(cpuUs);
  }
}

const base = measured.get('jose, token');
const ratio = (of: 'wallUs' | 'cpuUs', figures: readonly number[]): string =>
  median(figures.map((figure, round) => (base?.[of][round] ?? Number.NaN) / figure)).toFixed(2);
console.log(
  table([
    ['', 'wall µs', 'cpu µs', 'speed by wall', 'speed by cpu'],
    ...[...measured].map(([name, { wallUs, cpuUs }]) => [
      name,
      median(wallUs).toFixed(1),
      median(cpuUs).toFixed(1),
      ratio('wallUs', wallUs),
      ratio('cpuUs', cpuUs),
    ]),
  ]),
);
console.log(
  `${rounds} rounds of ${calls} calls, ${atOnce} at once, a plan of ${steps.length} steps, node ${process.version}`,
);
