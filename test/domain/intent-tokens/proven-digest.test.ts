/** The digest of an action at a position of a plan: proven like the action, and named before it is allowed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { portableSha256 } from '../../../src/domain/crypto/hashing.ts';
import { proveActionDigest } from '../../../src/domain/intent-tokens/proven-digest.ts';
import { parseStepProof } from '../../../src/domain/intent-tokens/step-proof.ts';
import type { JsonValue } from '../../../src/domain/json/strict-json.ts';
import { digestOf, STEPS } from '../../verify/signed-tokens.ts';

const PLAN = digestOf(STEPS);
const ACTIONS = [...new Set(STEPS.map(({ action }) => action))];
const CLAIMS = { treeSize: PLAN.treeSize, merkleRootHex: PLAN.merkleRootHex, allowedActions: undefined };

function at(stepIndex: number) {
  const stated = PLAN.stepProofs[stepIndex];
  const parsed = parseStepProof((stated?.proof ?? []) as unknown as JsonValue);
  assert.ok(parsed.ok && stated !== undefined);
  return { stepIndex, actionDigestHex: stated.value_digest, action: undefined, proof: parsed.proof };
}
const prove = (
  asked: Parameters<typeof proveActionDigest>[1],
  {
    claims = CLAIMS,
    actions = ACTIONS,
  }: { claims?: Parameters<typeof proveActionDigest>[0]; actions?: string[] } = {},
) => proveActionDigest(claims, asked, actions, portableSha256);
const codeOf = (result: ReturnType<typeof prove>) => (result.ok ? 'VALID' : result.code);

test('each step’s digest is proven, with its name and without', () => {
  for (const [index, { action }] of STEPS.entries()) {
    for (const named of [undefined, action]) {
      assert.deepEqual(prove({ ...at(index), action: named }), {
        ok: true,
        step: { stepIndex: index, action, mcp: null },
      });
    }
  }
});

test('a digest at another position, of another action or with another proof is not', () => {
  const other = STEPS.findIndex(({ action }) => action !== STEPS[0]?.action);
  assert.ok(other > 0);
  assert.equal(codeOf(prove({ ...at(0), stepIndex: other })), 'MERKLE_PROOF_INVALID');
  assert.equal(
    codeOf(prove({ ...at(0), actionDigestHex: at(other).actionDigestHex })),
    'MERKLE_PROOF_INVALID',
  );
  assert.equal(codeOf(prove({ ...at(0), proof: at(other).proof })), 'MERKLE_PROOF_INVALID');
  assert.equal(codeOf(prove({ ...at(0), proof: [] })), 'MERKLE_PROOF_INVALID');
  assert.equal(codeOf(prove({ ...at(0), stepIndex: STEPS.length })), 'MERKLE_PROOF_INVALID');
});

test('a digest is that of the name beside it, or the question is a mismatch', () => {
  assert.equal(codeOf(prove({ ...at(0), action: 'other' })), 'STEP_MISMATCH');
  assert.equal(codeOf(prove({ ...at(0), action: `${STEPS[0]?.action} ` })), 'STEP_MISMATCH');
});

test('a delegation allows its own actions only, also where only the digest is known', () => {
  const action = STEPS[0]?.action ?? '';
  assert.equal(codeOf(prove(at(0), { claims: { ...CLAIMS, allowedActions: [action] } })), 'VALID');
  assert.equal(codeOf(prove(at(0), { claims: { ...CLAIMS, allowedActions: [] } })), 'POLICY_DENIED');
  const others = ACTIONS.filter((name) => name !== action);
  assert.equal(
    codeOf(prove(at(0), { actions: others })),
    'POLICY_DENIED',
    'its row does not hold the action',
  );
});
