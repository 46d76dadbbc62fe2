/** Guarantees of what the operator's policy says of a tool that is named in one text (contract section 4.6). */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { JsonValue } from '../../../src/domain/json/strict-json.ts';
import { parseClientAddress } from '../../../src/domain/network/ip-address.ts';
import { type Policy, parsePolicy } from '../../../src/domain/policies/policy.ts';
import { decideStep } from '../../../src/domain/policies/policy-decision.ts';
import {
  decideTool,
  type ToolDecision,
  type ToolReading,
  toolReadings,
} from '../../../src/domain/policies/tool-decision.ts';
import { PROPERTY_RUNS } from '../../support/effort.ts';

/** Thursday, 1 January 1970, 00:00 UTC. */
const LOOPBACK = parseClientAddress('127.0.0.1');
const NOW = { nowSeconds: 0, clientAddress: LOOPBACK.ok ? LOOPBACK.address : undefined };

function aPolicy(value: JsonValue): Policy {
  const parsed = parsePolicy(value);
  assert.ok(parsed.ok, JSON.stringify(value));
  return parsed.policy;
}

const isNotRefused = (policy: Policy, reading: ToolReading): boolean =>
  decideStep(reading.deniesOnly === true ? { ...aPolicy({}), deny: policy.deny } : policy, reading).allowed;

const decide = (policy: JsonValue, name: string): ToolDecision =>
  decideTool(aPolicy(policy), toolReadings(name), NOW);

test('a name is read as every server and tool that it can mean', () => {
  for (const [name, readings] of [
    ['send', [{ action: 'send' }]],
    ['mail/send', [{ mcp: 'mail', action: 'send' }]],
    ['mail/send/now', [{ mcp: 'mail', action: 'send/now' }]],
    ['mcp__mail__send', [{ mcp: 'mail', action: 'send' }]],
    [
      'mcp__mail__send__now',
      [
        { mcp: 'mail', action: 'send__now' },
        { mcp: 'mail__send', action: 'now' },
      ],
    ],
    ['mail__send', [{ action: 'mail__send' }, { mcp: 'mail', action: 'send' }]],
    ['mcp__x', [{ action: 'mcp__x' }, { mcp: 'mcp', action: 'x' }]],
    ['__send', [{ action: '__send' }]],
    ['mcp__mail__a/b', [{ mcp: 'mail', action: 'a/b' }]],
  ] as const) {
    const meant = toolReadings(name).filter(({ deniesOnly }) => deniesOnly !== true);
    assert.deepEqual(meant, readings, name);
  }
});

test('what can be no tool is refused, whatever the policy', () => {
  for (const name of [
    '',
    ' ',
    'a b',
    'a\n',
    '/send',
    'mail/',
    'é',
    'a'.repeat(129),
    `mcp__${'m'.repeat(129)}__a`,
  ]) {
    assert.deepEqual(toolReadings(name), [], JSON.stringify(name));
    assert.equal(decideTool(null, toolReadings(name), NOW).allowed, false);
  }
});

test('the rule that decided is named', () => {
  for (const [policy, name, allowed, rule] of [
    [{}, 'send', true, 'allow *'],
    [{ allow: ['mail/*'] }, 'mail/send', true, 'allow mail/*'],
    [{ allow: ['mail/*', '*'] }, 'mail/send', true, 'allow *'],
    [{ allow: ['mail/*'] }, 'send', false, undefined],
    [{ allow: ['mail/*'] }, 'chat/send', false, undefined],
    [{ deny: ['*/send'] }, 'send', false, 'deny */send'],
    [{ deny: ['mail/*'] }, 'mcp__mail__send', false, 'deny mail/*'],
    [{ allowed_tools: ['read'] }, 'mail/send', false, 'allowed_tools'],
    [{ allowed_tools: ['read'] }, 'mail/read', true, 'allow *'],
  ] as const) {
    const decision = decide(policy as unknown as JsonValue, name);
    assert.deepEqual([decision.allowed, decision.rule], [allowed, rule], `${JSON.stringify(policy)} ${name}`);
    assert.match(decision.reason, /\.$/);
  }
  const free = decideTool(null, toolReadings('send'), NOW);
  assert.deepEqual([free.allowed, free.rule], [true, undefined]);
});

test('no spelling of a tool evades a denial', () => {
  for (const name of ['mail/send', 'mcp__mail__send', 'mail__send', 'send']) {
    assert.equal(decide({ deny: ['mail/send'] }, name).allowed, false, name);
  }
  for (const name of ['my__mail/send', 'mcp__my__mail__send']) {
    assert.equal(decide({ deny: ['my__mail/send'] }, name).allowed, false, name);
  }
  // A tool's own name may hold a slash.
  for (const name of ['mail/a/b', 'mcp__mail__a/b', 'mail__a/b']) {
    for (const deny of ['mail/a/b', '*/a/*'])
      assert.equal(decide({ deny: [deny] }, name).allowed, false, name);
  }
  for (const deny of ['mcp/mail__send', 'mcp__mail/send']) {
    assert.equal(decide({ deny: [deny] }, 'mcp__mail__send').allowed, false, deny);
  }
});

test('what a name could mean besides denies, and does not have to be allowed', () => {
  assert.equal(decide({ allow: ['my__mail/*'] }, 'my__mail/send').allowed, true);
  assert.equal(decide({ allow: ['mail/*'] }, 'mcp__mail__send').allowed, true);
  assert.equal(decide({ allow: ['mail/*'], deny: ['chat/*'] }, 'mail/a/b').allowed, true);
});

test('a name is allowed only where each of its readings is', () => {
  const name = fc
    .array(fc.constantFrom('a', 'b', '__', 'mcp__', '/'), { minLength: 1, maxLength: 6 })
    .map((parts) => parts.join(''));
  const patterns = fc.array(fc.constantFrom('*', 'a/*', '*/b', 'a/b', 'b/a', '*/a__b', 'a__b/*'), {
    maxLength: 3,
  });
  const seen = new Set<boolean>();
  fc.assert(
    fc.property(name, patterns, patterns, (text, allow, deny) => {
      const policy = aPolicy({ allow, deny });
      const readings = toolReadings(text);
      const { allowed } = decideTool(policy, readings, NOW);
      seen.add(allowed);
      assert.equal(
        allowed,
        readings.length > 0 && readings.every((reading) => isNotRefused(policy, reading)),
      );
    }),
    { numRuns: PROPERTY_RUNS },
  );
  assert.equal(seen.size, 2);
});

test('what binds at the time of a call is decided, and a limit per token refuses where there is none', () => {
  for (const [policy, allowed] of [
    [{ ip_whitelist: ['127.0.0.0/8'] }, true],
    [{ ip_whitelist: ['192.0.2.1'] }, false],
    [{ time_restrictions: { allowed_days: ['Thursday'] } }, true],
    [{ time_restrictions: { allowed_hours: [1] } }, false],
    [{ rate_limit: 1000 }, false],
  ] as const) {
    assert.equal(decide(policy as unknown as JsonValue, 'send').allowed, allowed, JSON.stringify(policy));
  }
});
