/**
 * Guarantees of the documents for the vendor's evaluator (contract section 4.8): never wider than the policy, and equal
 * to it where the form can say it. The evaluator here is a naive one; `portable-policy-ir.test.ts` asks the published.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parsePolicy } from '../../../src/domain/policies/policy.ts';
import {
  compilePortablePolicy,
  type PortableDocument,
} from '../../../src/domain/policies/portable-policy.ts';
import { RARE_CASE_RUNS } from '../../support/effort.ts';
import {
  allowedOfEveryMcp,
  anAction,
  aPortableCase,
  isSaidExactly,
  type PolicyJson,
  policyOf,
} from './portable-cases.ts';

/** Exact keys first, then the longest, then the first. */
function allows({ statements, defaults }: PortableDocument, tool: string): boolean {
  const named = statements.filter(({ match }) => namesTool(match.tool, tool));
  const exact = named.find(({ match }) => !match.tool.includes('*'));
  const longest = Math.max(...named.map(({ match }) => match.tool.length));
  const chosen = exact ?? named.find(({ match }) => match.tool.length === longest);
  return (chosen?.effect ?? defaults.tools) === 'allow';
}

function namesTool(key: string, tool: string): boolean {
  const source = key
    .split('**')
    .map((part) =>
      part
        .split('*')
        .map((text) => text.replace(/[.+]/g, '\\$&'))
        .join('[^/]*'),
    )
    .join('.*');
  return new RegExp(`^${source}$`).test(tool);
}

const documentOf = (json: PolicyJson): PortableDocument => compilePortablePolicy(policyOf(json), 'p');

test('a document allows nothing that the policy denies, of whatever mcp', () => {
  let allowed = 0;
  fc.assert(
    fc.property(aPortableCase, anAction, (json, action) => {
      if (!allows(documentOf(json), action)) return;
      allowed++;
      assert.ok(allowedOfEveryMcp(policyOf(json), action));
    }),
    { numRuns: RARE_CASE_RUNS },
  );
  assert.ok(allowed > RARE_CASE_RUNS / 50, `only ${allowed} were allowed`);
});

test('a document says exactly what the policy says, where its form can', () => {
  const seen = { allowed: 0, denied: 0 };
  fc.assert(
    fc.property(aPortableCase, anAction, (json, action) => {
      fc.pre(isSaidExactly(json));
      const expected = allowedOfEveryMcp(policyOf(json), action);
      seen[expected ? 'allowed' : 'denied']++;
      assert.equal(allows(documentOf(json), action), expected);
    }),
    { numRuns: RARE_CASE_RUNS },
  );
  assert.ok(seen.allowed > RARE_CASE_RUNS / 20 && seen.denied > RARE_CASE_RUNS / 20, JSON.stringify(seen));
});

test('a denial wins over a longer pattern that allows', () => {
  const document = documentOf({ allow: ['*/read_*'], deny: ['*/*_raw'] });
  for (const [tool, expected] of [
    ['read_file', true],
    ['read_', true],
    ['read_file_raw', false],
    ['read_raw', false],
    ['write_raw', false],
    ['write_file', false],
  ] as const) {
    assert.equal(allows(document, tool), expected, tool);
  }
});

test('what the form cannot say is denied', () => {
  const denied: readonly PolicyJson[] = [
    { allow: ['mail-mcp/send'] },
    { allow: ['mail-mcp/*'] },
    { allow: ['mail-*/send'] },
    { allow: [] },
    { deny: ['*'] },
    { deny: ['mail-mcp/*'] },
    { allow: ['*/*send*it*'], deny: ['*/*x*'] },
    { allowed_tools: Array.from({ length: 1001 }, (_, index) => `tool-${index}`) },
  ];
  for (const json of denied) {
    for (const tool of ['send', 'sendxit', 'tool-1']) {
      assert.equal(allows(documentOf(json), tool), false, `${JSON.stringify(json).slice(0, 80)} ${tool}`);
    }
  }
  for (const member of [{ rate_limit: 1 }, { ip_whitelist: ['127.0.0.1'] }, { time_restrictions: {} }]) {
    const parsed = parsePolicy(member);
    assert.ok(parsed.ok);
    assert.equal(allows(compilePortablePolicy(parsed.policy, 'p'), 'send'), false, JSON.stringify(member));
  }
});

test('a policy of many patterns makes a document of bounded size', () => {
  const of = (form: (index: number) => string) => Array.from({ length: 256 }, (_, index) => form(index));
  const crossed = documentOf({
    allow: of((index) => `*/${'a'.repeat(20)}${index}*`),
    deny: of((index) => `*/*${index}`),
  });
  assert.ok(crossed.statements.length <= 1000);
  assert.equal(allows(crossed, `${'a'.repeat(20)}1z`), false, 'too much to say is denied');
  const plain = documentOf({ deny: of((index) => `m/tool-${index}`) });
  assert.equal(plain.statements.length, 257);
  assert.ok(allows(plain, 'tool-256') && !allows(plain, 'tool-255'));
});

test('without a policy everything is allowed, and the document never ends', () => {
  const document = compilePortablePolicy(null, 'p');
  assert.ok(allows(document, 'send') && allows(document, 'a/b'));
  assert.equal(document.expiresAt, 'never');
  assert.equal(document.defaults.tools, 'block');
  assert.ok(document.statements.every(({ expiresAt }) => expiresAt === 'never'));
});
