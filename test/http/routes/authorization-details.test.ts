/** A token names its steps in the words of RFC 9396 (contract section 4.5), unless there are too many or nobody wants it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, buildTestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { claimsIn } from '../../verify/signed-tokens.ts';

const STEPS = [
  { action: 'get_weather', mcp: 'weather-mcp', params: { city: 'Zürich', secret: 'hunter2' } },
  { action: 'files/read', mcp: 'files', params: {} },
  { action: 'note' },
];
const DETAILS = [
  { type: 'writ_step', step_index: 0, locations: ['weather-mcp'], actions: ['get_weather'] },
  { type: 'writ_step', step_index: 1, locations: ['files'], actions: ['files/read'] },
  { type: 'writ_step', step_index: 2, actions: ['note'] },
];
const MANY = Array.from({ length: 1000 }, (_, index) => ({ action: `action-${index}`, mcp: 'files' }));

test('the claim authorization_details', { skip: postgresSkip }, async (t) => {
  const { call, adminKey: key } = await buildTestApp(t);
  const ask = (url: string, json: object, headers = {}) =>
    call<{ token: string | { jwt_token: string } }>({ method: 'POST', url, key, json, headers });
  const claims = async (json: object, url = '/token/issue', headers = {}) => {
    const { status, text, body } = await ask(url, json, headers);
    assert.equal(status, 200, text);
    return claimsIn(typeof body.token === 'string' ? body.token : body.token.jwt_token);
  };

  await t.test('names each step, and no parameter, on both endpoints', async () => {
    for (const url of ['/token/issue', '/iap/sdk/token']) {
      const signed = await claims({ plan: { steps: STEPS } }, url);
      assert.deepEqual(signed['authorization_details'], DETAILS);
      assert.ok(!('authorization_details_omitted' in signed));
      assert.doesNotMatch(JSON.stringify(signed), /hunter2/);
    }
  });

  await t.test('is left out of a plan that is too long for it, and the token says so', async () => {
    const signed = await claims({ plan: { steps: MANY } });
    assert.ok(!('authorization_details' in signed));
    assert.equal(signed['authorization_details_omitted'], true);
  });

  await t.test('is left out where the request says so, without a word', async () => {
    for (const steps of [STEPS, MANY]) {
      const signed = await claims({ plan: { steps }, authorization_details: false });
      assert.ok(!('authorization_details' in signed) && !('authorization_details_omitted' in signed));
    }
    const asked = await claims({ plan: { steps: STEPS }, authorization_details: true });
    assert.deepEqual(asked['authorization_details'], DETAILS);
  });

  await t.test('is the same in a repeated answer', async () => {
    for (const [index, json] of [
      { plan: { steps: STEPS } },
      { plan: { steps: MANY } },
      { plan: { steps: STEPS }, authorization_details: false },
    ].entries()) {
      const headers = { 'idempotency-key': `details-${index}` };
      const first = await ask('/token/issue', json, headers);
      const again = await ask('/token/issue', json, headers);
      assert.equal(first.status, 200);
      assert.equal(again.text, first.text);
    }
  });

  await t.test('is asked for by a boolean and by nothing else', async () => {
    for (const value of ['false', 0, [], DETAILS]) {
      const answer = await ask('/token/issue', { plan: { steps: STEPS }, authorization_details: value });
      const details = { pointer: '/authorization_details' };
      assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR', details });
    }
  });
});
