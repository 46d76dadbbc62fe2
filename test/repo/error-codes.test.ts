/** Guarantees that every error code is documented with its status, and that no other code is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VERIFICATION_CODES } from '../../src/domain/intent-tokens/verification-code.ts';
import { ERROR_CODES, WritError } from '../../src/errors.ts';
import { errorAnswer } from '../../src/http/server/error-envelopes.ts';
import { fencesOf, plain, readText, tableOf } from '../support/markdown.ts';

const text = readText('docs/errors.md');
const rows = tableOf(text, 'code');

test('docs/errors.md has exactly the codes of the table, with their status', () => {
  assert.deepEqual(
    rows.map(([code, status]) => [plain(code), Number(status)]),
    Object.entries(ERROR_CODES).map(([code, { status }]) => [code, status]),
  );
});

test('each code says when it happens and what to do', () => {
  for (const [code, , when = '', advice = ''] of rows) {
    assert.ok(when.length > 10 && advice.length > 5, `${code} is not explained`);
  }
});

test('docs/errors.md has exactly the codes of a verification, with their meaning', () => {
  const verdicts = tableOf(text, '`code` of a verification');
  assert.deepEqual(
    verdicts.map(([code]) => plain(code)),
    [...VERIFICATION_CODES],
  );
  for (const [code, meaning = '', advice = ''] of verdicts) {
    assert.ok(meaning.length > 10 && advice.length > 5, `${code} is not explained`);
  }
});

test('no code is mentioned outside the tables that is not in one of them', () => {
  const verdicts: readonly string[] = VERIFICATION_CODES;
  const mentioned = [...text.matchAll(/`([A-Z]+_[A-Z_]+)`/g)].map((match) => match[1] ?? '');
  assert.deepEqual(
    mentioned.filter((code) => !(code in ERROR_CODES || verdicts.includes(code))),
    [],
  );
});

test('the two envelopes in docs/errors.md are those that are sent', () => {
  const [outside, inside] = fencesOf(text, 'json').map(
    (fence) => JSON.parse(fence) as { request_id: string },
  );
  assert.ok(outside !== undefined && inside !== undefined);
  const plan = new WritError('INVALID_PLAN', 'plan.steps must be a list of 1 to 1000 objects', {
    details: { pointer: '/plan/steps' },
  });
  const agent = new WritError('NOT_FOUND', 'There is no such agent.');
  const sent = (error: WritError, path: string, shown: { request_id: string }) =>
    errorAnswer(error, { path, requestId: shown.request_id }).body;
  assert.deepEqual(sent(plan, '/token/issue', outside), outside);
  assert.deepEqual(sent(agent, '/v1/agents/x', inside), inside);
});
