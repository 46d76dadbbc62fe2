/**
 * Whatever chain of delegations an agent makes for itself, no link allows what a token above it does not, and all of
 * them together are used as often as the first alone could be (contract sections 4.6, 4.7).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { buildTestApp } from '../../support/app.ts';
import { COSTLY_RUNS } from '../../support/effort.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { delegationClient, STEPS } from './delegation-calls.ts';

const ACTIONS = [...new Set(STEPS.map(({ action }) => action))];

interface Link {
  /** Which of the tokens made so far is passed on. */
  readonly from: number;
  readonly actions: readonly string[];
}

const chain: fc.Arbitrary<readonly Link[]> = fc.array(
  fc.record({ from: fc.nat(5), actions: fc.subarray(ACTIONS, { minLength: 1 }) }),
  { minLength: 1, maxLength: 5 },
);
const uses = fc.array(fc.record({ token: fc.nat(6), step: fc.nat(STEPS.length - 1) }), {
  minLength: 4,
  maxLength: 10,
});

interface Token {
  readonly jwt: string;
  readonly above: Token | undefined;
  /** Only what its own delegation says. */
  readonly actions: readonly string[];
}

/** Word for word: the token and every one above it names the action. */
const allows = (token: Token | undefined, action: string): boolean =>
  token === undefined || (token.actions.includes(action) && allows(token.above, action));

test('delegation.properties', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { key } = await server.createAgent();
  const client = delegationClient(server);

  /** A family of tokens over one plan. A delegation of more than the parent has is refused and leaves nothing. */
  const family = async (links: readonly Link[], policy: object) => {
    const { jwt, proofs } = await client.issue(key, { policy });
    const tokens: Token[] = [{ jwt, above: undefined, actions: ACTIONS }];
    for (const { from, actions } of links) {
      const above = tokens[from % tokens.length];
      const answer = await client.ask(key, {
        token: above?.jwt,
        delegate_public_key: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
        allowed_actions: actions,
      });
      const isNarrower = actions.every((action) => allows(above, action));
      assert.equal(answer.status, isNarrower ? 200 : 403, answer.text);
      if (isNarrower) tokens.push({ jwt: answer.body.delegation.jwt_token, above, actions });
    }
    return { tokens, proofs };
  };

  await t.test('a child never allows what its parent does not', async () => {
    let narrower = 0;
    await fc.assert(
      fc.asyncProperty(chain, async (links) => {
        const { tokens, proofs } = await family(links, { allow: ['*'] });
        for (const token of tokens) {
          for (const [index, { action }] of STEPS.entries()) {
            const code = await client.verify(undefined, { jwt: token.jwt, proofs }, index);
            assert.equal(code, allows(token, action) ? 'VALID' : 'POLICY_DENIED');
            if (code !== 'VALID') narrower += 1;
          }
        }
      }),
      { numRuns: COSTLY_RUNS },
    );
    assert.ok(narrower > COSTLY_RUNS, `${narrower} steps were denied`);
  });

  await t.test('delegating to oneself multiplies neither uses nor rate', async () => {
    const met = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(chain, uses, fc.integer({ min: 1, max: 6 }), async (links, asked, rateLimit) => {
        const { tokens, proofs } = await family(links, { allow: ['*'], rate_limit: rateLimit });
        const consumed = new Set<number>();
        for (const { token: which, step } of asked) {
          const token = tokens[which % tokens.length] ?? assert.fail();
          const code = await client.verify(key, { jwt: token.jwt, proofs }, step, { consume: true });
          met.set(code, (met.get(code) ?? 0) + 1);
          // One count for the whole family: as if there were only its first token.
          const isFree = !consumed.has(step) && consumed.size < rateLimit;
          assert.equal(code === 'VALID', isFree && allows(token, STEPS[step]?.action ?? ''), code);
          if (code === 'VALID') consumed.add(step);
        }
      }),
      { numRuns: COSTLY_RUNS },
    );
    const codes = [...met.keys()].sort();
    assert.deepEqual(codes, ['POLICY_DENIED', 'RATE_LIMIT', 'STEP_CONSUMED', 'VALID']);
  });
});
