/** The digest of a plan: published hashes and proofs, what it binds, and how little it costs. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { bytesToHex, portableSha256, type Sha256 } from '../../../src/domain/crypto/hashing.ts';
import { leafHash } from '../../../src/domain/crypto/merkle.ts';
import { type Plan, parsePlan } from '../../../src/domain/intent-tokens/plan.ts';
import {
  actionPath,
  digestPlan,
  MAX_CANONICAL_BYTES,
  type PlanDigest,
} from '../../../src/domain/intent-tokens/plan-digest.ts';
import { canonicalText } from '../../../src/domain/json/canonical-json.ts';
import { type JsonObject, type JsonValue, readStrictJson } from '../../../src/domain/json/strict-json.ts';

interface Vector {
  plan: JsonObject;
  canonical_plan: string;
  plan_hash: string;
  tree_size: number;
  leaves: string[];
  merkle_root: string;
  step_proofs: unknown[];
}
const { plans }: { plans: Vector[] } = JSON.parse(
  readFileSync(new URL('../../vectors/merkle.json', import.meta.url), 'utf8'),
);

const nodeSha256: Sha256 = {
  hex: (text) => createHash('sha256').update(text).digest('hex'),
  bytes: (data) => createHash('sha256').update(data).digest(),
  nodeHex: ({ left, right }) => createHash('sha256').update(`01${left}${right}`, 'hex').digest('hex'),
};

function aPlan(value: JsonValue): Plan {
  const result = parsePlan(value);
  assert.ok(result.ok);
  return result.plan;
}

function digestOf(value: JsonValue, sha256 = portableSha256): PlanDigest {
  const result = digestPlan(aPlan(value), sha256);
  assert.ok(result.ok);
  return result.digest;
}

for (const [row, vector] of plans.entries()) {
  test(`published plan ${row} has its text, hash, root and step proofs, whoever hashes`, () => {
    for (const sha256 of [portableSha256, nodeSha256]) {
      const digest = digestOf(vector.plan, sha256);
      assert.deepEqual(digest, {
        canonicalText: vector.canonical_plan,
        planHashHex: vector.plan_hash,
        merkleRootHex: vector.merkle_root,
        treeSize: vector.tree_size,
        stepProofs: vector.step_proofs,
      });
    }
  });

  test(`the first sibling of every action in published plan ${row} is the leaf of its whole step`, () => {
    const { stepProofs } = digestOf(vector.plan);
    const stepLeaves = vector.leaves.filter((_, index) => index % 2 === 1);
    assert.ok(stepLeaves.length > 0);
    for (const [index, leaf] of stepLeaves.entries()) {
      const hash = bytesToHex(leafHash(leaf, portableSha256));
      assert.deepEqual(stepProofs[index]?.proof[0], { position: 'right', sibling_hash: hash });
    }
  });
}

const aStep = fc.record(
  {
    action: fc.stringMatching(/^[a-z/:.]{1,8}$/),
    mcp: fc.stringMatching(/^[a-z:.]{1,8}$/),
    params: fc.jsonValue(),
  },
  { requiredKeys: ['action'] },
);
const aPlanValue = fc
  .record({ a: fc.jsonValue(), steps: fc.array(aStep, { minLength: 1, maxLength: 9 }), z: fc.jsonValue() })
  .map((value): JsonObject => JSON.parse(JSON.stringify(value)));

test('the text of a plan is its canonical JSON, though it is put together from its steps', () => {
  fc.assert(
    fc.property(aPlanValue, (value) => {
      const result = digestPlan(aPlan(value), portableSha256);
      fc.pre(result.ok);
      assert.equal(result.digest.canonicalText, canonicalText(value));
      assert.equal(result.digest.planHashHex, portableSha256.hex(canonicalText(value)));
    }),
  );
});

test('a list of the same steps elsewhere in the plan is written as it stands there', () => {
  const steps = [{ action: 'a' }];
  assert.equal(
    digestOf({ copy: { steps: [{ action: 'b' }] }, steps, zeta: [[{ action: 'a' }]] }).canonicalText,
    '{"copy":{"steps":[{"action":"b"}]},"steps":[{"action":"a"}],"zeta":[[{"action":"a"}]]}',
  );
});

const base = { goal: 'g', steps: [{ action: 'a', mcp: 'm', n: 1 }, { action: 'b' }] };
for (const [what, changed] of [
  ['an action', { goal: 'g', steps: [{ action: 'A', mcp: 'm', n: 1 }, { action: 'b' }] }],
  ['an mcp', { goal: 'g', steps: [{ action: 'a', mcp: 'M', n: 1 }, { action: 'b' }] }],
  ['a parameter', { goal: 'g', steps: [{ action: 'a', mcp: 'm', n: 2 }, { action: 'b' }] }],
  ['the order of steps', { goal: 'g', steps: [{ action: 'b' }, { action: 'a', mcp: 'm', n: 1 }] }],
  ['the number of steps', { goal: 'g', steps: [{ action: 'a', mcp: 'm', n: 1 }] }],
] as const) {
  test(`another ${what} has another hash and another root`, () => {
    const [before, after] = [digestOf(base), digestOf(changed as unknown as JsonValue)];
    assert.notEqual(before.planHashHex, after.planHashHex);
    assert.notEqual(before.merkleRootHex, after.merkleRootHex);
  });
}

test('a member beside the steps changes the hash and leaves the root', () => {
  const [before, after] = [digestOf(base), digestOf({ ...base, goal: 'h' })];
  assert.notEqual(before.planHashHex, after.planHashHex);
  assert.equal(before.merkleRootHex, after.merkleRootHex);
});

test('the same action in two steps has two leaves', () => {
  const { stepProofs } = digestOf({ steps: [{ action: 'a' }, { action: 'a' }] });
  assert.equal(stepProofs[0]?.value_digest, stepProofs[1]?.value_digest);
  assert.deepEqual(
    stepProofs.map(({ path }) => path),
    [actionPath(0), '/steps/[1]/action'],
  );
  assert.notDeepEqual(stepProofs[0]?.proof, stepProofs[1]?.proof);
});

for (const [text, reason] of [
  ['{"steps":[{"action":"pay","amount":9007199254740993}]}', 'number_out_of_range'],
  ['{"steps":[{"action":"pay","amount":1e-400}]}', 'number_out_of_range'],
  ['{"steps":[{"action":"pay"}],"budget":1e400}', 'number_out_of_range'],
  ['{"steps":[{"action":"pay"}],"budget":1e-400}', 'number_out_of_range'],
  ['{"steps":[{"action":"pay"}],"budget":{"max":[1e-400]}}', 'number_out_of_range'],
  ['{"steps":[{"action":"pay","to":"\\u0000"}]}', 'nul_character'],
  ['{"steps":[{"action":"pay"}],"\\ud83d\\ude00":1}', 'astral_key'],
  ['{"steps":[{"action":"pay","\\ud83d\\ude00":1}]}', 'astral_key'],
] as const) {
  test(`${text} is refused: ${reason}`, () => {
    const read = readStrictJson(new TextEncoder().encode(text));
    assert.ok(read.ok);
    assert.deepEqual(digestPlan(aPlan(read.value), portableSha256, read.underflowed), { ok: false, reason });
  });
}

test('the canonical text is ASCII, so its length is compared with the limit in bytes', () => {
  assert.equal(MAX_CANONICAL_BYTES, 262_144);
  const { canonicalText: text } = digestOf({ goal: 'é😀', steps: [{ action: 'a' }] });
  assert.equal(Buffer.byteLength(text), text.length);
});

test('every step is written once', () => {
  let reads = 0;
  const step = Object.defineProperty({ action: 'a' }, 'params', {
    enumerable: true,
    get: () => {
      reads += 1;
      return 1;
    },
  });
  assert.equal(digestOf({ steps: [step] }).canonicalText, '{"steps":[{"action":"a","params":1}]}');
  assert.equal(reads, 1);
});

test('n steps cost 6n hashes: one of the plan, four per step, 2n - 1 nodes', () => {
  for (const count of [1, 3, 1000]) {
    let hashes = 0;
    const count1 = <T>(value: T): T => {
      hashes += 1;
      return value;
    };
    const counting: Sha256 = {
      hex: (text) => count1(nodeSha256.hex(text)),
      bytes: (data) => count1(nodeSha256.bytes(data)),
      nodeHex: (children) => count1(nodeSha256.nodeHex(children)),
    };
    digestOf({ steps: Array.from({ length: count }, (_, index) => ({ action: `a${index}` })) }, counting);
    assert.equal(hashes, 6 * count);
  }
});
