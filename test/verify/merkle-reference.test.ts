/**
 * `verifyStep` against a naive reference of contract section 4.3 that is written from the text alone: whatever plan,
 * index, step and proof, the two agree, and the only proof that is taken is the one that the definition gives.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { createVerifier } from '../../src/verify.ts';
import { COSTLY_RUNS, PROPERTY_RUNS } from '../support/effort.ts';
import { AUDIENCE, aSigner, claimsOver, digestOf, ISSUER, NOW_SECONDS, signClaims } from './signed-tokens.ts';

interface Sibling {
  readonly position: 'left' | 'right';
  readonly sibling_hash: string;
}
type Step = { readonly action: string } & Readonly<Record<string, unknown>>;

const sha256 = (bytes: Uint8Array | string): Buffer => createHash('sha256').update(bytes).digest();

/** Section 4.2 for values without awkward numbers. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1));
    return `{${members.map(([name, member]) => `${canonical(name)}:${canonical(member)}`).join(',')}}`;
  }
  return [...JSON.stringify(value)]
    .flatMap((character) => (character > '~' ? character.split('') : [character]))
    .map((unit) => (unit > '~' ? `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}` : unit))
    .join('');
}
const D = (value: unknown): string => sha256(canonical(value)).toString('hex');

function leavesOf(steps: readonly Step[]): string[] {
  return steps.flatMap((step, i) => [
    canonical([`/steps/[${i}]/action`, D(step.action)]),
    canonical([`/steps/[${i}]`, D(step)]),
  ]);
}

/** RFC 9162 section 2.1.1. */
function mth(leaves: readonly string[]): Buffer {
  const [first = ''] = leaves;
  if (leaves.length === 1) return sha256(Buffer.concat([Buffer.of(0), Buffer.from(first)]));
  const k = split(leaves.length);
  return sha256(Buffer.concat([Buffer.of(1), mth(leaves.slice(0, k)), mth(leaves.slice(k))]));
}

/** RFC 9162 section 2.1.3.1. */
function path(m: number, leaves: readonly string[]): Sibling[] {
  if (leaves.length === 1) return [];
  const k = split(leaves.length);
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
  return m < k
    ? [...path(m, left), { position: 'right', sibling_hash: mth(right).toString('hex') }]
    : [...path(m - k, right), { position: 'left', sibling_hash: mth(left).toString('hex') }];
}

function split(n: number): number {
  let k = 1;
  while (2 * k < n) k *= 2;
  return k;
}

/** Whether the step stands at the index, and the proof is the one that the definition gives. */
function reference(plan: readonly Step[], index: number, step: Step, proof: unknown): boolean {
  const planned = plan[index];
  if (planned === undefined || canonical(planned) !== canonical(step)) return false;
  return canonical(proof) === canonical(path(2 * index, leavesOf(plan)));
}

const signer = aSigner();
const verifier = createVerifier({
  jwks: { keys: [signer.jwk] },
  issuer: ISSUER,
  audience: AUDIENCE,
  clock: () => new Date(NOW_SECONDS * 1000),
});
const tokenOver = (plan: readonly Step[]): string => signClaims(signer, claimsOver(digestOf(plan)));
const takes = (jwt: string, stepIndex: number, step: Step, proof: unknown): Promise<boolean> =>
  verifier.verifyStep(jwt, { stepIndex, step, proof }).then(
    () => true,
    () => false,
  );

const anAction = fc.constantFrom('read', 'send', 'a', 'b');
const aValue = fc.oneof(
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
  fc.string({ unit: fc.constantFrom('a', '"', '\\', '\n', '\u007f', 'é', '😀', '/') }),
  fc.array(fc.integer(), { maxLength: 3 }),
  fc.dictionary(fc.constantFrom('x', 'Y', 'ä', 'x-1'), fc.integer(), { maxKeys: 3 }),
);
const aStep: fc.Arbitrary<Step> = fc
  .tuple(anAction, fc.dictionary(fc.constantFrom('mcp', 'params', 'n', 'É'), aValue, { maxKeys: 3 }))
  .map(([action, others]) => {
    const { mcp, ...rest } = others;
    return { ...rest, action, ...(typeof mcp === 'number' ? { mcp: `m${Math.abs(mcp)}` } : {}) };
  });
const aPlan = fc.array(aStep, { minLength: 1, maxLength: 40 });

test('root and size that are signed are those of the definition', () => {
  fc.assert(
    fc.property(aPlan, (plan) => {
      const { merkleRootHex, treeSize, stepProofs, planHashHex } = digestOf(plan);
      assert.equal(merkleRootHex, mth(leavesOf(plan)).toString('hex'));
      assert.equal(treeSize, 2 * plan.length);
      assert.equal(planHashHex, D({ goal: 'verify', steps: plan }));
      for (const [index, { proof }] of stepProofs.entries())
        assert.deepEqual(proof, path(2 * index, leavesOf(plan)));
    }),
    { numRuns: COSTLY_RUNS },
  );
});

test('an honest step is taken, at every index of every plan', async () => {
  await fc.assert(
    fc.asyncProperty(aPlan, fc.nat(), async (plan, nat) => {
      const index = nat % plan.length;
      const [step] = plan.slice(index);
      assert.ok(step !== undefined);
      const proof = path(2 * index, leavesOf(plan));
      assert.ok(reference(plan, index, step, proof));
      assert.ok(await takes(tokenOver(plan), index, step, proof));
      assert.ok(
        await takes(
          tokenOver(plan),
          index,
          JSON.parse(JSON.stringify(step)),
          JSON.parse(JSON.stringify(proof)),
        ),
      );
    }),
    { numRuns: PROPERTY_RUNS },
  );
});

/** Ways of spoiling an honest list; some of them may leave it as it is. */
const aMutation: fc.Arbitrary<(proof: readonly Sibling[]) => unknown> = fc.oneof(
  fc
    .nat()
    .map(
      (at) => (proof: readonly Sibling[]) => proof.filter((_, index) => index !== at % (proof.length + 1)),
    ),
  fc
    .nat()
    .map(
      (at) => (proof: readonly Sibling[]) =>
        proof.toSpliced(at % (proof.length + 1), 0, ...proof.slice(0, 1)),
    ),
  fc
    .nat()
    .map(
      (at) => (proof: readonly Sibling[]) =>
        proof.map(
          (node, index): Sibling =>
            index === at % proof.length
              ? { ...node, position: node.position === 'left' ? 'right' : 'left' }
              : node,
        ),
    ),
  fc.tuple(fc.nat(), fc.nat(63)).map(
    ([at, digit]) =>
      (proof: readonly Sibling[]) =>
        proof.map((node, index) =>
          index === at % proof.length
            ? {
                ...node,
                sibling_hash: `${node.sibling_hash.slice(0, digit)}0${node.sibling_hash.slice(digit + 1)}`,
              }
            : node,
        ),
  ),
  fc.tuple(fc.nat(), fc.nat()).map(([a, b]) => (proof: readonly Sibling[]) => {
    const swapped = [...proof];
    const [i, j] = [a % proof.length, b % proof.length];
    const [left, right] = [proof[i], proof[j]];
    if (left !== undefined && right !== undefined) [swapped[i], swapped[j]] = [right, left];
    return swapped;
  }),
  fc.constant((proof: readonly Sibling[]) => proof.toReversed()),
  fc.constant((proof: readonly Sibling[]) => proof),
);

test('whatever is asked, the verifier says what the reference says', async () => {
  await fc.assert(
    fc.asyncProperty(
      aPlan,
      aPlan,
      fc.nat(45),
      fc.nat(45),
      fc.nat(45),
      aMutation,
      async (plan, other, index, stepAt, proofAt, mutate) => {
        const jwt = tokenOver(plan);
        const pool = [...plan, ...other];
        const step = pool[stepAt % pool.length];
        assert.ok(step !== undefined);
        for (const tree of [plan, other]) {
          const proof = mutate(path(2 * (proofAt % tree.length), leavesOf(tree)));
          assert.equal(await takes(jwt, index, step, proof), reference(plan, index, step, proof));
          const at = proofAt % tree.length;
          const own: Step = tree[at] ?? step;
          assert.equal(await takes(jwt, at, own, proof), reference(plan, at, own, proof));
        }
      },
    ),
    { numRuns: PROPERTY_RUNS },
  );
});
