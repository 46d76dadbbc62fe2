/**
 * The worked example of docs/verifying.md, computed from its key and plan by node:crypto and the rules of that document
 * alone: nothing of the code that it documents takes part.
 */
import { createHash, createPrivateKey, sign } from 'node:crypto';

/** RFC 8037 appendix A.1: a published key, for examples only. */
export const EXAMPLE_JWK = {
  kty: 'OKP',
  crv: 'Ed25519',
  d: 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A',
  x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
};
/** RFC 8037 appendix A.3. */
const KID = 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k';

/** As the JSON of a request: the number is written `1.0` there. */
export const EXAMPLE_PLAN_TEXT =
  '{"goal":"find a hotel","steps":[{"action":"search","mcp":"hotels","params":{"city":"Zürich","nights":2}},' +
  '{"action":"book","mcp":"hotels","params":{"hotel":17,"rooms":1.0}},{"action":"note"}]}';
export const EXAMPLE_TIMES = { iat: 1_800_000_000, exp: 1_800_000_300 };
export const EXAMPLE_STEP_INDEX = 1;

const sha256 = (...parts: readonly (string | Uint8Array)[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const hexOf = (text: string): string => sha256(text).toString('hex');

/** Each line of the example, in the order of the document: what it is, and its text. */
export function workedExample() {
  const canonicalSteps = [
    '{"action":"search","mcp":"hotels","params":{"city":"Z\\u00fcrich","nights":2}}',
    '{"action":"book","mcp":"hotels","params":{"hotel":17,"rooms":1}}',
    '{"action":"note"}',
  ];
  const actions = ['search', 'book', 'note'];
  const canonicalPlan = `{"goal":"find a hotel","steps":[${canonicalSteps.join(',')}]}`;
  const digests = canonicalSteps.map((step, index) => ({
    action: hexOf(`"${actions[index]}"`),
    step: hexOf(step),
  }));
  const leafTexts = digests.flatMap(({ action, step }, index) => [
    `["/steps/[${index}]/action","${action}"]`,
    `["/steps/[${index}]","${step}"]`,
  ]);
  const leaves = leafTexts.map((text) => sha256('\x00', text));
  const [l0, l1, l2, l3, l4, l5] = leaves as [Buffer, Buffer, Buffer, Buffer, Buffer, Buffer];
  const n01 = sha256('\x01', l0, l1);
  const n23 = sha256('\x01', l2, l3);
  const n45 = sha256('\x01', l4, l5);
  const n03 = sha256('\x01', n01, n23);
  const root = sha256('\x01', n03, n45);

  const header = `{"alg":"EdDSA","kid":"${KID}","typ":"JWT"}`;
  const policy = '{"allow":["hotels/*","*"],"deny":[]}';
  const identity = '{"agent_id":null,"api_key_id":"0123456789abcdef","context_id":null,"user_id":"user-1"}';
  const payload = JSON.stringify({
    iss: 'https://writ.example',
    sub: 'user-1',
    client_id: '019a2b3c-0000-7000-8000-000000000001',
    aud: 'writ',
    iat: EXAMPLE_TIMES.iat,
    nbf: EXAMPLE_TIMES.iat - 5,
    exp: EXAMPLE_TIMES.exp,
    jti: '019a2b3c-0000-7000-8000-000000000002',
    token_use: 'intent',
    plan_hash: hexOf(canonicalPlan),
    merkle_root: root.toString('hex'),
    tree_size: leaves.length,
    policy: JSON.parse(policy) as object,
    policy_hash: hexOf(policy),
    identity: JSON.parse(identity) as object,
  });
  const signingInput = [header, payload].map((text) => Buffer.from(text).toString('base64url')).join('.');
  const privateKey = createPrivateKey({ key: EXAMPLE_JWK, format: 'jwk' });
  const signature = sign(null, Buffer.from(signingInput), privateKey);
  const jwt = `${signingInput}.${signature.toString('base64url')}`;
  const proof = [
    { position: 'right', sibling_hash: l3.toString('hex') },
    { position: 'left', sibling_hash: n01.toString('hex') },
    { position: 'right', sibling_hash: n45.toString('hex') },
  ];
  const jwks = {
    keys: [{ kty: 'OKP', crv: 'Ed25519', x: EXAMPLE_JWK.x, kid: KID, use: 'sig', alg: 'EdDSA' }],
  };
  const lines: readonly (readonly [what: string, text: string])[] = [
    ['public key, 32 bytes', Buffer.from(EXAMPLE_JWK.x, 'base64url').toString('hex')],
    ['hashed for the kid', `{"crv":"Ed25519","kty":"OKP","x":"${EXAMPLE_JWK.x}"}`],
    ['kid', KID],
    ['header', header],
    ['payload', payload],
    ['signing input', signingInput],
    ['signature, 64 bytes', signature.toString('hex')],
    ['signature in base64url', signature.toString('base64url')],
    ['canonical plan', canonicalPlan],
    ['plan_hash', hexOf(canonicalPlan)],
    ...canonicalSteps.flatMap((step, index): [string, string][] => [
      [`canonical step ${index}`, step],
      [`D(step ${index})`, digests[index]?.step ?? ''],
      [`D(action ${index})`, digests[index]?.action ?? ''],
    ]),
    ...leafTexts.flatMap((text, index): [string, string][] => [
      [`leaf ${index}`, text],
      [`hash of leaf ${index}`, leaves[index]?.toString('hex') ?? ''],
    ]),
    ['node 0-1', n01.toString('hex')],
    ['node 2-3', n23.toString('hex')],
    ['node 4-5', n45.toString('hex')],
    ['node 0-3', n03.toString('hex')],
    ['root', root.toString('hex')],
    ['proof of step 1', JSON.stringify(proof)],
  ];
  return { lines, jwt, jwks, proof, payload, canonicalPlan };
}

/** Fenced lines of the document: `what: text`. */
export function exampleLines(lines: ReturnType<typeof workedExample>['lines']): string[] {
  return lines.map(([what, text]) => `${what}: ${text}`);
}
