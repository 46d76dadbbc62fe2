/** What is a plan: one good one, and everything that is not. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_STEP_NAME_CHARACTERS } from '../../../src/domain/formats/step-name.ts';
import { MAX_PLAN_STEPS, parsePlan } from '../../../src/domain/intent-tokens/plan.ts';
import type { JsonObject, JsonValue } from '../../../src/domain/json/strict-json.ts';
import { everyTypeExcept } from '../every-type.ts';

const withStep = (step: JsonValue) => ({ steps: [{ action: 'first' }, step] });

function refuses(value: unknown, pointer: string): void {
  const result = parsePlan(value as JsonValue);
  assert.ok(!result.ok, 'taken for a plan');
  assert.equal(result.pointer, pointer);
}

test('a plan keeps the very value it was read from, free members included', () => {
  const value: JsonObject = {
    goal: null,
    steps: [
      { action: 'get_weather', mcp: 'weather-mcp', params: { city: 'Boston' } },
      { action: 'a/b:c@d+e=f~g.h' },
    ],
  };
  const result = parsePlan(value);
  assert.ok(result.ok);
  assert.equal(result.plan.value, value);
  const [first, second] = Object.values(value)[1] as JsonObject[];
  assert.deepEqual(result.plan.steps, [
    { action: 'get_weather', mcp: 'weather-mcp', value: first },
    { action: 'a/b:c@d+e=f~g.h', mcp: undefined, value: second },
  ]);
  assert.equal(result.plan.steps[0]?.value, first);
});

test('1 and 1,000 steps are a plan, 0 and 1,001 are not', () => {
  const plan = (count: number) => ({ steps: Array.from({ length: count }, () => ({ action: 'a' })) });
  assert.equal(MAX_PLAN_STEPS, 1000);
  for (const count of [1, MAX_PLAN_STEPS]) assert.ok(parsePlan(plan(count)).ok);
  for (const count of [0, MAX_PLAN_STEPS + 1]) refuses(plan(count), '/plan/steps');
});

test('a refusal says what would be allowed', () => {
  for (const [value, words] of [
    [[], /object with a list of steps/],
    [{ steps: [] }, /1 to 1000 objects/],
    [withStep(1), /object with an action/],
    [withStep({ action: '' }), /1 to 128 ASCII letters, digits and _\.:@\+=~\/-/],
    [withStep({ action: 'a', mcp: null }), /left out or be text of 1 to 128/],
  ] as const) {
    const result = parsePlan(value as JsonValue);
    assert.ok(!result.ok);
    assert.match(result.message, words);
  }
});

test('the first fault in the order of the steps is the one that is named', () => {
  refuses({ steps: [{ action: 'a' }, { action: 'a', mcp: '' }, { action: '' }] }, '/plan/steps/1/mcp');
  refuses({ steps: [{ action: '', mcp: '' }] }, '/plan/steps/0/action');
});

const longest = 'x'.repeat(MAX_STEP_NAME_CHARACTERS);
const BAD_NAMES = [
  '',
  ' ',
  'a b',
  'a\n',
  '\na',
  'a\0',
  'é',
  'a*',
  'a%2fb',
  'a\\b',
  '"a"',
  'a,b',
  'a|b',
  `${longest}x`,
];

for (const name of BAD_NAMES) {
  test(`${JSON.stringify(name).slice(0, 40)} is neither an action nor an mcp`, () => {
    refuses(withStep({ action: name }), '/plan/steps/1/action');
    refuses(withStep({ action: 'a', mcp: name }), '/plan/steps/1/mcp');
  });
}

test('128 characters are a name, and a slash only in an action', () => {
  assert.ok(parsePlan(withStep({ action: longest, mcp: longest })).ok);
  assert.ok(parsePlan(withStep({ action: 'files/read' })).ok);
  refuses(withStep({ action: 'read', mcp: 'files/read' }), '/plan/steps/1/mcp');
});

test('an mcp that is null is refused, because a step is signed as sent', () => {
  refuses(withStep({ action: 'a', mcp: null }), '/plan/steps/1/mcp');
});

for (const [name, value] of everyTypeExcept(() => false)) {
  test(`${name} is no plan, no list of steps and no step`, () => {
    refuses(
      value,
      value instanceof Object && !Array.isArray(value) && typeof value !== 'function'
        ? '/plan/steps'
        : '/plan',
    );
    refuses({ steps: value }, Array.isArray(value) && value.length > 0 ? '/plan/steps/0' : '/plan/steps');
    refuses(
      withStep(value as JsonValue),
      value instanceof Object && !Array.isArray(value) && typeof value !== 'function'
        ? '/plan/steps/1/action'
        : '/plan/steps/1',
    );
  });
}

for (const [name, value] of everyTypeExcept(
  (value) => typeof value === 'string' && /^[a-z0-9]+$/.test(value),
)) {
  test(`${name} is no action`, () =>
    refuses(withStep({ action: value as JsonValue }), '/plan/steps/1/action'));
  if (value === undefined) continue;
  test(`${name} is no mcp`, () =>
    refuses(withStep({ action: 'a', mcp: value as JsonValue }), '/plan/steps/1/mcp'));
}
