/** Votes that nobody cast: inserted, moved from another approval or given to another voter, none lets anything be claimed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SEALED_TABLES } from '../../../src/storage/engine/sealed-rows.ts';
import { assertRefused } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { resealRows } from '../../support/test-seals.ts';
import { buildApprovalCalls } from './approval-calls.ts';
import { VOTE_ATTACKS } from './forged-row-attacks.ts';

const BROKEN = { status: 500, code: 'INTEGRITY_ERROR' };

test('every sealed column of a vote has its attack', () => {
  const owed = [...SEALED_TABLES.approval_votes.sealed, 'seal'];
  assert.deepEqual(owed.sort(), Object.keys(VOTE_ATTACKS).sort());
});

test('a vote that nobody cast', { skip: postgresSkip }, async (t) => {
  const calls = await buildApprovalCalls(t);
  const { sql, opened, approve, poll, aSecret, createAgent } = calls;
  const [first, second] = calls.approvers;
  await aSecret('plain/K');
  const anAgent = () => createAgent({ allowed_scopes: ['secrets:read:plain/*'] });
  /** As the last vote leaves it. */
  const takeEffect = (id: string) =>
    sql('update approvals set effective_at = clock_timestamp() where id = $1', [id]);

  await t.test('that was inserted beside a time of effect hands out no token', async () => {
    const agent = await anAgent();
    const id = await opened(agent.key);
    await sql('insert into approval_votes (approval_id, approver_id, key_id) values ($1, $2, $3)', [
      id,
      first.id,
      first.keyId,
    ]);
    await takeEffect(id);
    assertRefused(await poll(agent.key, id), BROKEN);
    assertRefused(await approve(second.key, id), BROKEN);
    await resealRows(sql, 'approval_votes', 'approval_id = $1', [id]);
    assert.notEqual((await poll(agent.key, id)).body.token, undefined, 'the control');
  });

  for (const [column, changed] of Object.entries(VOTE_ATTACKS)) {
    await t.test(`whose ${column} was changed hands out no token`, async () => {
      const agent = await anAgent();
      const [id, other] = [await opened(agent.key), await opened(agent.key)];
      assert.equal((await approve(first.key, id)).status, 200);
      await takeEffect(other);
      const set = changed({ otherApproval: other, approver: second });
      await sql(`update approval_votes set ${set} where approval_id = $1`, [id]);
      const attacked = column === 'approvalId' ? other : id;
      assertRefused(await poll(agent.key, attacked), BROKEN);
      await resealRows(sql, 'approval_votes', 'approval_id = $1', [attacked]);
      assert.notEqual((await poll(agent.key, attacked)).body.token, undefined, 'the control');
    });
  }
});
