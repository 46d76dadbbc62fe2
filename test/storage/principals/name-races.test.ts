/** Names that look alike, raced: two server processes on one database, and two administrators. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RACE_ROUNDS } from '../../support/effort.ts';
import { errorCodeOf } from '../../support/issuing.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { startTwoServers } from '../../support/two-servers.ts';

/** Each looks like each. */
const ALIKE = [
  'Corin 1',
  'corin l',
  'CORIN I',
  'c0rin 1',
  'Corin 1 ',
  '\uff43orin 1',
  'c0Rin\u00a0L',
  'corin i',
];

test('of names that look alike, asked for at once in two processes, one is given', {
  skip: postgresSkip,
}, async (t) => {
  const { adminKey, database, speaker } = await startTwoServers(t);
  const one = speaker(adminKey);
  // Another administrator, so that nobody waits for the row of who acts.
  const made = await one(0, 'POST', '/v1/agents', { name: 'second', role: 'admin' });
  const other = speaker((JSON.parse(made.text) as { api_key: string }).api_key);
  assert.equal((await other(1, 'GET', '/v1/me')).status, 200);

  for (let round = 1; round <= RACE_ROUNDS; round += 1) {
    const answers = await Promise.all(
      ALIKE.map((name, index) => {
        const body = { name, role: 'approver' };
        const turn = index + round;
        return turn % 2 === 0 ? one(0, 'POST', '/v1/agents', body) : other(1, 'POST', '/v1/agents', body);
      }),
    );
    const codes = answers.map((answer) => (answer.status === 201 ? 'made' : errorCodeOf(answer)));
    assert.deepEqual(codes.sort(), [...Array<string>(ALIKE.length - 1).fill('ALREADY_EXISTS'), 'made']);
    const { rows } = await database.query<{ id: string }>(
      `select id from agents where name ilike 'c_rin%' and revoked_at is null`,
    );
    assert.equal(rows.length, 1);
    assert.equal(
      (await one(0, 'DELETE', `/v1/agents/${rows[0]?.id}`)).status,
      204,
      'free for the next round',
    );
  }
});
