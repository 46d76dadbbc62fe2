/** Guarantees of reading a policy (contract section 4.4): every member is checked, and an unknown one refused. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject, JsonValue } from '../../../src/domain/json/strict-json.ts';
import {
  DEFAULT_POLICY,
  type ParsedPolicy,
  type Policy,
  parseAgentPolicy,
  parsePolicy,
} from '../../../src/domain/policies/policy.ts';
import vectors from '../../vectors/scopes.json' with { type: 'json' };
import { notTexts, untyped } from '../wrong-types.ts';

const EVERYTHING_SET: JsonObject = {
  allow: ['data-mcp/*', '*'],
  deny: ['data-mcp/delete_*'],
  allowed_tools: ['fetch', 'a/b'],
  rate_limit: 100,
  ip_whitelist: ['10.0.0.0/8', '::1'],
  time_restrictions: { allowed_hours: [9, 17], allowed_days: ['Monday', 'Sunday'] },
  priority: 0,
  name: 'n',
  description: '',
  version: '1.0',
};

function policyOf(value: JsonValue): Policy {
  const parsed = parsePolicy(value);
  assert.ok(parsed.ok, JSON.stringify(value));
  return parsed.policy;
}

function assertRefused(parsed: ParsedPolicy, pointer: string, why: string): void {
  assert.equal(parsed.ok ? 'accepted' : parsed.pointer, pointer, why);
  assert.ok(!parsed.ok && parsed.message.length > 0);
}

test('every member is read into what it restricts', () => {
  const policy = policyOf(EVERYTHING_SET);
  assert.deepEqual(
    policy.allow.map((pattern) => pattern.text),
    ['data-mcp/*', '*'],
  );
  assert.deepEqual(
    policy.deny.map((pattern) => pattern.text),
    ['data-mcp/delete_*'],
  );
  assert.deepEqual(policy.allowedTools, new Set(['fetch', 'a/b']));
  assert.equal(policy.rateLimit, 100);
  assert.deepEqual(
    policy.ipWhitelist?.map((block) => `${block.network}/${block.prefix}`),
    ['10.0.0.0/8', '::1/128'],
  );
  assert.deepEqual(policy.timeRestrictions, { allowedHours: new Set([9, 17]), allowedDays: new Set([1, 0]) });
});

test('an absent allow is everything, an absent deny nothing, and other absences restrict nothing', () => {
  assert.deepEqual(policyOf({}), DEFAULT_POLICY);
  assert.deepEqual(policyOf({ allow: ['*'], deny: [] }), DEFAULT_POLICY);
  assert.deepEqual(policyOf({ priority: 1, name: 'x', description: 'y', version: '2' }), DEFAULT_POLICY);
  assert.deepEqual(policyOf({ allow: [] }).allow, []);
});

test('an unknown member is refused, at the top and in time_restrictions', () => {
  const names = [
    'Allow',
    'denied',
    'max_cost',
    'constructor',
    'toString',
    '',
    'allow ',
    'timezone',
    'rate-limit',
  ];
  for (const name of names) {
    assertRefused(parsePolicy({ allow: ['*'], [name]: [] }), `/${name}`, name);
    assertRefused(parsePolicy({ time_restrictions: { [name]: [] } }), `/time_restrictions/${name}`, name);
  }
});

test('what is no object is no policy, null included', () => {
  for (const value of [null, true, 0, '', 'allow', [], [{}]]) {
    assertRefused(parsePolicy(value), '', JSON.stringify(value));
    assertRefused(parseAgentPolicy(value), '', JSON.stringify(value));
  }
  for (const value of notTexts('{}').filter((item) => !(item instanceof Object))) {
    assert.equal(parsePolicy(untyped(value)).ok, false);
  }
});

test('every invalid pattern vector is refused where it stands', () => {
  for (const pattern of vectors.policy.invalid_patterns_400_INVALID_POLICY) {
    assertRefused(parsePolicy({ allow: [pattern] }), '/allow/0', pattern);
    assertRefused(parsePolicy({ deny: ['*', pattern] }), '/deny/1', pattern);
    assertRefused(parseAgentPolicy({ deny: ['a/b', pattern] }), '/deny/1', pattern);
  }
});

test('each member is refused with a value of another kind', () => {
  const refused: Record<string, JsonValue[]> = {
    allow: [null, '*', {}, 1, true],
    deny: [null, '*', { 0: '*' }, 0],
    allowed_tools: [null, 'fetch', {}, 1],
    rate_limit: [null, 0, -1, 1.5, '100', true, 2 ** 31, Number.POSITIVE_INFINITY, [], {}],
    ip_whitelist: [null, '10.0.0.1', {}, [], Array(65).fill('10.0.0.1')],
    time_restrictions: [null, [], 'Monday', 9],
    priority: [null, -1, 101, 1.5, '1', true],
    name: [null, 1, [], {}, 'n'.repeat(1025)],
    description: [null, false, 1, 'd'.repeat(1025)],
    version: [null, 1, 1.5, [], {}],
  };
  assert.deepEqual(Object.keys(refused).sort(), Object.keys(EVERYTHING_SET).sort());
  for (const [name, values] of Object.entries(refused)) {
    for (const value of values)
      assertRefused(parsePolicy({ [name]: value }), `/${name}`, `${name}: ${JSON.stringify(value)}`);
  }
});

test('each entry of a list is refused with a value of another kind, and pointed at', () => {
  const refused: Record<string, JsonValue[]> = {
    '/allow': [null, 1, ['*'], '', 'a'],
    '/allowed_tools': [null, 1, '', 'a b', 'a*', 'é', 'a'.repeat(129), 'a\n', ['a']],
    '/ip_whitelist': [null, 1, '10.1.2.3/8', '010.0.0.1', 'fe80::1%eth0', 'localhost', '10.0.0.1 '],
    '/time_restrictions/allowed_hours': [null, -1, 24, 9.5, '9', true],
    '/time_restrictions/allowed_days': [null, 0, 'monday', 'MONDAY', 'Mon', 'Montag', 'Monday ', ''],
  };
  for (const [pointer, values] of Object.entries(refused)) {
    const [, first = '', second] = pointer.split('/');
    for (const value of values) {
      const policy = { [first]: second === undefined ? [value] : { [second]: [value] } };
      assertRefused(parsePolicy(policy), `${pointer}/0`, `${pointer}: ${JSON.stringify(value)}`);
    }
  }
});

test('256 patterns are read, 257 are not', () => {
  const patterns = Array.from({ length: 257 }, (_, index) => `m/t${index}`);
  assert.equal(policyOf({ allow: patterns.slice(1) }).allow.length, 256);
  assertRefused(parsePolicy({ allow: patterns }), '/allow', '257');
  assertRefused(parsePolicy({ deny: patterns }), '/deny', '257');
});

test('the policy of an agent has only what is decided at issuance', () => {
  const parsed = parseAgentPolicy({ allow: ['a/*'], deny: ['a/b'], allowed_tools: ['c'] });
  assert.ok(parsed.ok);
  for (const [name, value] of Object.entries(EVERYTHING_SET)) {
    const known = ['allow', 'deny', 'allowed_tools'].includes(name);
    if (known) assert.ok(parseAgentPolicy({ [name]: value }).ok, name);
    else assertRefused(parseAgentPolicy({ [name]: value }), `/${name}`, name);
  }
});
