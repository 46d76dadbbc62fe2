/** The two error envelopes: every code in both, and nothing of an error that is not ours. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ERROR_CODES, type ErrorCode, WritError } from '../../../src/errors.ts';
import { errorAnswer } from '../../../src/http/server/error-envelopes.ts';

const CODES = Object.keys(ERROR_CODES) as ErrorCode[];
const outside = { path: '/token/issue', requestId: 'r-1' };
const inside = { path: '/v1/agents', requestId: 'r-1' };
const OUTSIDE = [
  '/iap/verify-step',
  '/verify/action',
  '/iap/sdk/enforce',
  '/token/issue',
  '//iap/enforce',
  '',
];

test('outside /v1 every code has its status and exactly the documented members', () => {
  for (const code of CODES) {
    const answer = errorAnswer(new WritError(code, 'Said so.'), outside);
    assert.equal(answer.status, ERROR_CODES[code].status);
    assert.deepEqual(answer.body, {
      success: false,
      allowed: false,
      error: 'Said so.',
      error_code: code,
      message: 'Said so.',
      reason: 'Said so.',
      request_id: 'r-1',
    });
  }
});

test('inside /v1 every code has its status and exactly the documented members', () => {
  for (const code of CODES) {
    const { status, body } = errorAnswer(new WritError(code, 'Said so.'), inside);
    assert.equal(status, ERROR_CODES[code].status);
    const shown = code === 'AUTH_INVALID_KEY' || code === 'AUTH_EXPIRED_KEY' ? 'UNAUTHORIZED' : code;
    assert.deepEqual(body, {
      error: { code: shown, message: 'Said so.' },
      detail: 'Said so.',
      request_id: 'r-1',
    });
  }
});

test('details stand where they are documented, other members beside the envelope’s', () => {
  const error = new WritError('POLICY_DENIED', 'No.', {
    details: { pointer: '/plan' },
    members: { policy_validation: { denied_tools: ['a'] } },
  });
  assert.deepEqual(errorAnswer(error, outside).body, {
    success: false,
    allowed: false,
    error: 'No.',
    error_code: 'POLICY_DENIED',
    message: 'No.',
    reason: 'No.',
    details: { pointer: '/plan' },
    request_id: 'r-1',
    policy_validation: { denied_tools: ['a'] },
  });
  assert.deepEqual(errorAnswer(error, inside).body, {
    error: { code: 'POLICY_DENIED', message: 'No.', details: { pointer: '/plan' } },
    detail: 'No.',
    request_id: 'r-1',
    policy_validation: { denied_tools: ['a'] },
  });
});

test('an unknown error is 500 and hides everything of itself', () => {
  const canary = 'canary-5d';
  const driver = Object.assign(new Error(`relation ${canary} does not exist`), {
    code: canary,
    detail: canary,
    query: canary,
    cause: new Error(canary),
    statusCode: 404,
    details: { canary },
    members: { canary },
    publicMessage: canary,
  });
  for (const thrown of [driver, canary, { message: canary, status: 400, code: canary }, null, undefined, 7]) {
    for (const request of [outside, inside]) {
      const answer = errorAnswer(thrown, request);
      assert.equal(answer.status, 500);
      assert.doesNotMatch(JSON.stringify(answer), /canary/);
      assert.match(JSON.stringify(answer.body), /"INTERNAL"/);
      assert.match(JSON.stringify(answer.body), /"r-1"/);
    }
  }
});

test('what is only for the log does not leave', () => {
  const error = new WritError('UNAVAILABLE', 'Later.', {
    detail: 'canary SQLSTATE',
    cause: new Error('canary'),
    retryAfterSeconds: 2,
  });
  for (const request of [outside, inside]) {
    assert.doesNotMatch(JSON.stringify(errorAnswer(error, request)), /canary/);
  }
});

test('outside /v1 no refusal is taken for a grant, whatever the path and the error', () => {
  for (const path of OUTSIDE) {
    for (const error of [...CODES.map((code) => new WritError(code, 'Said so.')), new Error('x')]) {
      const { body } = errorAnswer(error, { path, requestId: 'r' });
      assert.equal(body['allowed'], false);
      assert.equal(body['reason'], body['message']);
      assert.equal(typeof body['reason'], 'string');
    }
  }
  // Members of an error never turn a refusal into a grant.
  const lying = new WritError('FORBIDDEN', 'No.', { members: { allowed: true, reason: 'yes' } });
  assert.equal(errorAnswer(lying, { path: '/verify/action', requestId: 'r' }).body['allowed'], false);
});

test('nothing is a bad request where a client reads that as permission', () => {
  for (const code of CODES) {
    const { status, body } = errorAnswer(new WritError(code, 'Said so.'), {
      path: '/iap/enforce',
      requestId: 'r',
    });
    const isFault = ERROR_CODES[code].kind === 'invalid';
    assert.equal(status, isFault ? 200 : ERROR_CODES[code].status, code);
    assert.deepEqual([body['allowed'], body['action'], body['reason']], [false, 'block', 'Said so.']);
    if (isFault) assert.deepEqual(Object.keys(body).sort(), ['action', 'allowed', 'reason']);
  }
});

test('/v1 does not speak of grants', () => {
  for (const path of ['/v1', '/v1/me', '/v1/iap/verify-step']) {
    assert.ok(!('allowed' in errorAnswer(new WritError('NOT_FOUND', 'No.'), { path, requestId: 'r' }).body));
  }
});

test('only /v1 and what is below it has its envelope', () => {
  const hasV1Envelope = (path: string) =>
    'detail' in errorAnswer(new WritError('NOT_FOUND', 'No.'), { path, requestId: 'r' }).body;
  for (const path of ['/v1', '/v1/', '/v1/me']) assert.ok(hasV1Envelope(path), path);
  for (const path of ['/', '/v1x', '/V1/me', '//v1/me', '/v', '/x/v1/me'])
    assert.ok(!hasV1Envelope(path), path);
});

test('WWW-Authenticate comes with 401 and only with it', () => {
  for (const code of CODES) {
    const { headers, status } = errorAnswer(new WritError(code, 'x'), outside);
    assert.equal('www-authenticate' in headers, status === 401, code);
  }
});

test('Retry-After is a whole number of seconds, at least one, and absent where none is given', () => {
  for (const [seconds, shown] of [
    [0, '1'],
    [1, '1'],
    [60, '60'],
  ] as const) {
    const error = new WritError('RATE_LIMITED', 'x', { retryAfterSeconds: seconds });
    assert.equal(errorAnswer(error, inside).headers['retry-after'], shown);
  }
  assert.ok(!('retry-after' in errorAnswer(new WritError('NOT_FOUND', 'x'), inside).headers));
});
