/** Random policies of operators and random actions, and what a client that is not told the mcp may conclude of them. */
import fc from 'fast-check';
import { type Policy, parseAgentPolicy } from '../../../src/domain/policies/policy.ts';
import { decideStep } from '../../../src/domain/policies/policy-decision.ts';

const word = fc.string({ unit: fc.constantFrom(...'ab'), minLength: 1, maxLength: 3 });
const star = fc.constantFrom('*', 'a*', '*b', 'a*b', 'ab*', '*ba', 'ab*ba', '*a', 'aa*');
const severalStars = fc.constantFrom('*a*', 'a*b*', '*a*b', 'a*a*a');
const mcp = fc.oneof({ weight: 5, arbitrary: fc.constant('*') }, word, fc.constantFrom('a*', '*b'));

const simple = fc.tuple(mcp, fc.oneof(word, star)).map((texts) => texts.join('/'));
const any = fc
  .tuple(mcp, fc.array(fc.oneof(word, star, severalStars), { minLength: 1, maxLength: 3 }))
  .map(([first, rest]) => [first, ...rest].join('/'));
const pattern = fc.oneof({ weight: 2, arbitrary: fc.constant('*') }, { weight: 6, arbitrary: simple }, any);

export interface PolicyJson {
  readonly allow?: string[];
  readonly deny?: string[];
  readonly allowed_tools?: string[];
}

const some = fc.array(pattern, { maxLength: 4 });
export const anAction = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: fc.constantFrom(...'ab'), minLength: 1, maxLength: 5 }) },
  fc.constantFrom('a/b', 'ab/ba', 'a/', '/a', 'a//b', 'b/a/b', 'A', 'a.b', 'a-b', 'a+b', '-'),
);
export const aPortableCase = fc.record<PolicyJson>(
  { allow: some, deny: some, allowed_tools: fc.array(anAction, { maxLength: 4 }) },
  { requiredKeys: [] },
);

export function policyOf(json: PolicyJson): Policy {
  const parsed = parseAgentPolicy({ ...json });
  if (!parsed.ok) throw new Error(`${JSON.stringify(json)}: ${parsed.message}`);
  return parsed.policy;
}

/** Every name that a pattern above can single out, and one that none can. */
const MCPS = [
  'a',
  'b',
  'aa',
  'ab',
  'ba',
  'bb',
  'aaa',
  'aab',
  'aba',
  'abb',
  'baa',
  'bab',
  'bba',
  'bbb',
  'quite-another',
];

/** By the decision of `/iap/enforce` and of issuance: whether the policy allows the action of every mcp. */
export const allowedOfEveryMcp = (policy: Policy, action: string): boolean =>
  MCPS.every((name) => decideStep(policy, { mcp: name, action }).allowed);

const SIMPLE = /^(\*|[^/]+\/[^/*]*\*?[^/*]*)$/;

/** What the document says exactly; of other policies it may say less. */
export function isSaidExactly({ allow = ['*'], deny = [], allowed_tools }: PolicyJson): boolean {
  return (
    allowed_tools !== undefined ||
    allow.some((text) => text === '*' || text === '*/*') ||
    [...allow, ...deny].every((text) => SIMPLE.test(text))
  );
}
