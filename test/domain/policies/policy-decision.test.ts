/** Guarantees of policy decisions (contract section 4.4), against `vectors/scopes.json`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { JsonValue } from '../../../src/domain/json/strict-json.ts';
import { DEFAULT_POLICY, type Policy, parsePolicy } from '../../../src/domain/policies/policy.ts';
import {
  decidePlan,
  decideStep,
  isWithinAllowedTimes,
  type NamedPolicy,
} from '../../../src/domain/policies/policy-decision.ts';
import { assertCostsUnder } from '../../support/duration.ts';
import { PROPERTY_RUNS, RARE_CASE_RUNS } from '../../support/effort.ts';
import vectors from '../../vectors/scopes.json' with { type: 'json' };

const word = fc.string({ unit: fc.constantFrom(...'ab'), minLength: 1, maxLength: 2 });
const glob = fc.constantFrom('*', 'a*', '*b', 'a*b', '*a*');
const pattern = fc.oneof(
  { weight: 1, arbitrary: fc.constant('*') },
  {
    weight: 4,
    arbitrary: fc.array(fc.oneof(word, glob), { minLength: 2, maxLength: 3 }).map((texts) => texts.join('/')),
  },
);
const patterns = fc.array(pattern, { maxLength: 3 });
const mcpName = word;
const actionName = fc.array(word, { minLength: 1, maxLength: 2 }).map((texts) => texts.join('/'));

function aPolicy(value: JsonValue): Policy {
  const parsed = parsePolicy(value);
  assert.ok(parsed.ok, JSON.stringify(value));
  return parsed.policy;
}

const fromRequest = (value: JsonValue): NamedPolicy => ({ source: 'request', policy: aPolicy(value) });
const fromAgent = (value: JsonValue): NamedPolicy => ({ source: 'agent', policy: aPolicy(value) });

test('every policy vector is decided as listed, at little cost', () => {
  assert.ok(vectors.policy.cases.length >= 11);
  for (const { policy, subject, decision, why } of vectors.policy.cases) {
    const [mcp = '', ...action] = subject.split('/');
    const parsed = policy === null ? DEFAULT_POLICY : aPolicy(policy as JsonValue);
    const decide = () => decideStep(parsed, { mcp, action: action.join('/') });
    assertCostsUnder({ floors: 25 }, decide, why);
    const { allowed } = decide();
    assert.equal(allowed ? 'allow' : 'deny', decision, `${JSON.stringify(policy)} on ${subject}: ${why}`);
  }
});

test('every vector of a step without mcp is decided as listed', () => {
  assert.ok(vectors.policy.without_mcp.length >= 7);
  for (const { policy, action, decision, why } of vectors.policy.without_mcp) {
    const { allowed } = decideStep(aPolicy(policy as JsonValue), { action });
    assert.equal(allowed ? 'allow' : 'deny', decision, `${JSON.stringify(policy)} on ${action}: ${why}`);
  }
});

test('deny wins: what a deny pattern matches is allowed by no allow list', () => {
  let denied = 0;
  fc.assert(
    fc.property(patterns, patterns, mcpName, actionName, (allow, deny, mcp, action) => {
      const matchedByDeny = decideStep(aPolicy({ allow: deny }), { mcp, action }).allowed;
      if (!matchedByDeny) return;
      denied++;
      assert.equal(decideStep(aPolicy({ allow, deny }), { mcp, action }).allowed, false);
      assert.equal(decideStep(aPolicy({ allow: [...allow, '*'], deny }), { mcp, action }).allowed, false);
    }),
    { numRuns: PROPERTY_RUNS },
  );
  assert.ok(denied > PROPERTY_RUNS / 10, `only ${denied} were denied`);
});

test('leaving out mcp never turns deny into allow', () => {
  let denied = 0;
  fc.assert(
    fc.property(patterns, patterns, mcpName, actionName, (allow, deny, mcp, action) => {
      const policy = aPolicy({ allow: [...allow, ...(deny.length > 1 ? ['*'] : [])], deny });
      if (decideStep(policy, { mcp, action }).allowed) return;
      denied++;
      assert.equal(decideStep(policy, { action }).allowed, false);
    }),
    { numRuns: RARE_CASE_RUNS },
  );
  assert.ok(denied > RARE_CASE_RUNS / 6, `only ${denied} were denied`);
});

test('a longer deny list or a shorter allow list never allows more', () => {
  fc.assert(
    fc.property(
      patterns,
      patterns,
      pattern,
      fc.option(mcpName, { nil: undefined }),
      actionName,
      (allow, deny, more, mcp, action) => {
        const step = { mcp, action };
        if (decideStep(aPolicy({ allow, deny }), step).allowed) return;
        assert.equal(decideStep(aPolicy({ allow, deny: [...deny, more] }), step).allowed, false);
        assert.equal(decideStep(aPolicy({ allow: allow.slice(1), deny }), step).allowed, false);
      },
    ),
    { numRuns: PROPERTY_RUNS },
  );
});

test('of a step without mcp only * vouches: not a pattern that any mcp would match', () => {
  for (const allow of ['*/*', '*/x', 'm/*', 'm/x', 'x/*', '*/*/*']) {
    assert.equal(decideStep(aPolicy({ allow: [allow] }), { action: 'x' }).allowed, false, allow);
  }
  assert.equal(decideStep(aPolicy({ allow: ['*'] }), { action: 'x' }).allowed, true);
});

test('a list of allowed tools narrows and never widens', () => {
  const decide = (policy: JsonValue, action: string) =>
    decideStep(aPolicy(policy), { mcp: 'm', action }).allowed;
  assert.equal(decide({ allowed_tools: ['x'] }, 'x'), true);
  for (const action of ['y', 'X', 'x/y', 'xx', 'm/x'])
    assert.equal(decide({ allowed_tools: ['x'] }, action), false, action);
  assert.equal(decide({ allowed_tools: [] }, 'x'), false);
  assert.equal(decide({ allowed_tools: ['x'], deny: ['m/x'] }, 'x'), false);
  assert.equal(decide({ allowed_tools: ['x'], allow: [] }, 'x'), false);
});

test('a slash in the name of an mcp shifts no segment out of reach of a deny pattern', () => {
  const policy = aPolicy({ deny: ['a/b/x', 'm/*'] });
  assert.equal(decideStep(policy, { mcp: 'a/b', action: 'x' }).allowed, false);
  assert.equal(decideStep(policy, { mcp: 'm/n', action: 'x' }).allowed, false);
});

test('one denied step refuses the whole plan, and the answer says which and why', () => {
  const steps = [
    { mcp: 'data', action: 'read' },
    { mcp: 'data', action: 'drop' },
    { mcp: 'mail', action: 'send' },
    { mcp: 'data', action: 'read' },
    { mcp: 'data', action: 'drop' },
  ];
  const { allowed, policy_validation } = decidePlan([fromRequest({ deny: ['data/d*'] })], steps);
  assert.equal(allowed, false);
  assert.deepEqual(policy_validation, {
    allowed_tools: ['read', 'send'],
    denied_tools: ['drop'],
    denied_reasons: ['data/drop: matches the deny pattern "data/d*" (policy of the request)'],
    default_enforcement_action: 'block',
  });
});

test('an action that is denied anywhere in the plan is not among the allowed tools', () => {
  const steps = [{ mcp: 'a', action: 't' }, { mcp: 'b', action: 't' }, { action: 't' }];
  const { policy_validation } = decidePlan([fromRequest({ deny: ['b/t'] })], steps);
  assert.deepEqual(policy_validation.allowed_tools, []);
  assert.deepEqual(policy_validation.denied_tools, ['t']);
  assert.equal(policy_validation.denied_reasons.length, 2);
});

test('every policy must allow every step', () => {
  const steps = [{ mcp: 'm', action: 'x' }];
  const decide = (...policies: NamedPolicy[]) => decidePlan(policies, steps).allowed;
  assert.equal(decide(), true);
  assert.equal(decide(fromRequest({}), fromAgent({})), true);
  for (const refusing of [{ deny: ['m/x'] }, { allow: [] }, { allow: ['m/y'] }, { allowed_tools: ['y'] }]) {
    assert.equal(decide(fromRequest(refusing), fromAgent({})), false);
    assert.equal(decide(fromRequest({}), fromAgent(refusing)), false);
    const { policy_validation } = decidePlan([fromRequest({}), fromAgent(refusing)], steps);
    assert.match(policy_validation.denied_reasons[0] ?? '', /policy of the agent/);
  }
});

test('a plan is allowed exactly if each of its steps is', () => {
  const step = fc.record({ mcp: fc.option(mcpName, { nil: undefined }), action: actionName });
  fc.assert(
    fc.property(patterns, patterns, fc.array(step, { minLength: 1, maxLength: 6 }), (allow, deny, steps) => {
      const policies = [fromRequest({ allow: [...allow, '*'] }), fromAgent({ deny })];
      const expected = steps.every((item) =>
        policies.every(({ policy }) => decideStep(policy, item).allowed),
      );
      const { allowed, policy_validation } = decidePlan(policies, steps);
      assert.equal(allowed, expected);
      const { allowed_tools, denied_tools } = policy_validation;
      assert.deepEqual(
        new Set([...allowed_tools, ...denied_tools]),
        new Set(steps.map(({ action }) => action)),
      );
      assert.deepEqual(
        allowed_tools.filter((tool) => denied_tools.includes(tool)),
        [],
      );
    }),
    { numRuns: PROPERTY_RUNS },
  );
});

test('hours and days are those of UTC, and both must fit', () => {
  const at = (text: string) => Date.parse(text) / 1000;
  const times = aPolicy({
    time_restrictions: { allowed_hours: [9], allowed_days: ['Monday'] },
  }).timeRestrictions;
  assert.equal(isWithinAllowedTimes(times, at('2026-06-01T09:00:00Z')), true);
  assert.equal(isWithinAllowedTimes(times, at('2026-06-01T09:59:59Z')), true);
  for (const time of [
    '2026-06-01T08:59:59Z',
    '2026-06-01T10:00:00Z',
    '2026-06-02T09:00:00Z',
    '2026-05-31T09:30:00Z',
  ]) {
    assert.equal(isWithinAllowedTimes(times, at(time)), false, time);
  }
  assert.equal(isWithinAllowedTimes({ allowedHours: new Set() }, at('2026-06-01T09:00:00Z')), false);
  assert.equal(isWithinAllowedTimes({ allowedDays: new Set() }, at('2026-06-01T09:00:00Z')), false);
  assert.equal(isWithinAllowedTimes(undefined, at('2026-06-01T09:00:00Z')), true);
});

test('the hour and the day of any time are those the calendar gives', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4_102_444_800 }), (seconds) => {
      const date = new Date(seconds * 1000);
      const own = { allowedHours: new Set([date.getUTCHours()]), allowedDays: new Set([date.getUTCDay()]) };
      assert.equal(isWithinAllowedTimes(own, seconds), true);
      assert.equal(
        isWithinAllowedTimes({ allowedDays: new Set([(date.getUTCDay() + 1) % 7]) }, seconds),
        false,
      );
      assert.equal(
        isWithinAllowedTimes({ allowedHours: new Set([(date.getUTCHours() + 1) % 24]) }, seconds),
        false,
      );
    }),
  );
});

test('1,000 steps against 256 patterns are decided in a fraction of a second', () => {
  const steps = Array.from({ length: 1000 }, (_, index) => ({
    mcp: `data-mcp-${index % 7}`,
    action: `fetch_orders_${index}`,
  }));
  const lists = {
    literal: (index: number) => `data-mcp-${index % 7}/fetch_orders_x${index}`,
    prefix: (index: number) => `data-mcp-${index % 7}/fetch_orders_x${index}*`,
    suffix: (index: number) => `data-mcp-*/*_x${index}`,
    several: (index: number) => `*-mcp-*/*_orders_*x${index}*`,
  };
  for (const [name, pattern] of Object.entries(lists)) {
    const policies = [fromRequest({ deny: Array.from({ length: 256 }, (_, index) => pattern(index)) })];
    const decide = () => assert.equal(decidePlan(policies, steps).allowed, true);
    assertCostsUnder({ floors: 500 }, decide, name);
  }
});

test('the worst patterns cost no more than a few readings of the names they are matched against', () => {
  const ends = Array.from({ length: 256 }, (_, index) => String(index).padStart(4, '0'));
  const names = ends.map((end) => `${'a'.repeat(124)}${end}`);
  const steps = names.map((action) => ({ mcp: 'm', action }));
  const codes = names.map((name) => Uint16Array.from(name, (character) => character.charCodeAt(0)));
  // The least that could be done: to look at each character of each name once for each pattern.
  const readEach = () => {
    let sum = 0;
    for (let pattern = 0; pattern < 256; pattern++)
      for (const name of codes) for (const code of name) sum += code;
    assert.ok(sum > 0);
  };
  for (const middle of [
    `${'a'.repeat(60)}b`,
    `${'a'.repeat(30)}b${'a'.repeat(30)}`,
    `a*a*${'a'.repeat(20)}b`,
    'aaab',
  ]) {
    const deny = ends.map((end) => `m/*${middle}${end}*`);
    const policies = [fromRequest({ deny })];
    const decide = () => assert.equal(decidePlan(policies, steps).allowed, true);
    assertCostsUnder({ floors: 25 }, decide, middle, readEach);
  }
});
