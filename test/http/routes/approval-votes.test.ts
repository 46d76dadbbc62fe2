/**
 * Which votes count (contract section 7): those of approvers who are live, cast with keys that are live, when the next
 * vote is counted and when the approval is claimed.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, type CreatedAgent } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { resealRows } from '../../support/test-seals.ts';
import { buildApprovalCalls } from './approval-calls.ts';

const TOKEN = /^ast_tok_[A-Za-z0-9_-]{43}$/;
const LOST = /counts no more.*Another vote completes this/;

test('the votes of an approval', { skip: postgresSkip }, async (t) => {
  const calls = await buildApprovalCalls(t);
  const { approve, deny, poll, opened, view, eventsOf, sql, ask, adminKey, createAgent } = calls;
  const agent = await calls.anAgent('secrets:*:*');
  await calls.aSecret('guarded/SENSITIVE', { access_tier: 'sensitive' });
  await calls.aSecret('guarded/CRITICAL', { access_tier: 'critical' });
  const sensitive = () => opened(agent.key, { scopes: ['secrets:read:guarded/SENSITIVE'] });
  const critical = () => opened(agent.key, { scopes: ['secrets:read:guarded/CRITICAL'] });
  const anApprover = () => createAgent({ role: 'approver' });

  const voted = async ({ key }: { key: string }, id: string) => {
    const answer = await approve(key, id);
    assert.equal(answer.status, 200, answer.text);
    return answer.body;
  };
  const anotherKey = async ({ id }: CreatedAgent) => {
    const answer = await ask<{ api_key: string; id: string }>(adminKey, `POST /v1/agents/${id}/keys`);
    assert.equal(answer.status, 201, answer.text);
    return { key: answer.body.api_key, keyId: answer.body.id };
  };
  const counted = async (id: string) => {
    const { status, approvals, effective_at: effectiveAt } = await view(id);
    return [
      status,
      approvals.map(({ counts }) => counts),
      effectiveAt === null ? 'not in effect' : 'in effect',
    ];
  };
  const handsOver = async (id: string) => assert.match((await poll(agent.key, id)).body.token ?? '', TOKEN);
  const handsNothingOver = async (id: string, reason: RegExp = LOST) => {
    const { status, body, text } = await poll(agent.key, id);
    assert.deepEqual([status, body.status, body.token], [200, 'pending', undefined], text);
    assert.match(body.reason ?? '', reason);
  };

  /** Each ends what a vote rests on. */
  const ends: Readonly<Record<string, (voter: CreatedAgent) => Promise<unknown>>> = {
    'the approver is revoked': ({ id }) => ask(adminKey, `DELETE /v1/agents/${id}`),
    'the key is revoked': async (voter) => {
      await anotherKey(voter);
      const { status } = await ask(adminKey, `DELETE /v1/agents/${voter.id}/keys/${voter.keyId}`);
      assert.equal(status, 204);
    },
    'the key is revoked by its owner': async (voter) => {
      const { key } = await anotherKey(voter);
      const { status, text } = await ask(key, `POST /api-keys/${voter.keyId}/revoke`, { json: {} });
      assert.equal(status, 200, text);
    },
    'the key expires': ({ keyId }) =>
      sql(`update api_keys set expires_at = clock_timestamp() where key_id = $1`, [keyId]),
  };

  for (const [what, end] of Object.entries(ends)) {
    await t.test(`${what}: its vote is not counted with the next one, and a third completes it`, async () => {
      const [first, second, third] = [await anApprover(), await anApprover(), await anApprover()];
      const id = await critical();
      await voted(first, id);
      await end(first);
      const events = await eventsOf(async () => {
        assert.equal((await voted(second, id)).effective_at, null);
      });
      assert.deepEqual(
        events.map(({ metadata }) => [metadata['votes'], metadata['required'], metadata['effective_at']]),
        [[1, 2, undefined]],
      );
      assert.deepEqual(await counted(id), ['pending', [false, true], 'not in effect']);
      assertRefused(await approve(second.key, id), { status: 409, code: 'APPROVAL_ALREADY_DECIDED' });
      await voted(third, id);
      await calls.passDelay(id);
      assert.deepEqual(await counted(id), ['approved', [false, true, true], 'in effect']);
      await handsOver(id);
    });

    await t.test(`${what}: what its vote had approved is not handed out`, async () => {
      const [first, second] = [await anApprover(), await anApprover()];
      const id = await sensitive();
      await voted(first, id);
      await end(first);
      const events = await eventsOf(() => handsNothingOver(id));
      assert.deepEqual(events, [], 'nothing is claimed');
      assert.deepEqual(await counted(id), ['pending', [false], 'not in effect']);
      assert.deepEqual(await sql('select id from scoped_tokens where approval_id = $1', [id]), []);
      await voted(second, id);
      assert.deepEqual(await counted(id), ['approved', [false, true], 'in effect']);
      await handsOver(id);
    });

    await t.test(
      `${what} in the delay: it is pending, and the next vote begins the delay again`,
      async () => {
        const [first, second, third] = [await anApprover(), await anApprover(), await anApprover()];
        const id = await critical();
        await voted(first, id);
        const { effective_at: before } = await voted(second, id);
        await end(first);
        assert.deepEqual(await counted(id), ['pending', [false, true], 'not in effect']);
        const { effective_at: after } = await voted(third, id);
        assert.ok(Date.parse(after ?? '') > Date.parse(before ?? ''), `${after} is after ${before}`);
        assertRefused(await approve((await anApprover()).key, id), {
          status: 409,
          code: 'APPROVAL_ALREADY_DECIDED',
        });
      },
    );

    await t.test(`${what} after the claim: nothing changes, and the vote says so`, async () => {
      const first = await anApprover();
      const id = await sensitive();
      await voted(first, id);
      await handsOver(id);
      await end(first);
      assert.deepEqual(await counted(id), ['claimed', [false], 'in effect']);
    });

    await t.test(`${what} after denying: it stays denied`, async () => {
      const first = await anApprover();
      const id = await sensitive();
      assert.equal((await deny(first.key, id)).status, 200);
      await end(first);
      assert.equal((await view(id)).status, 'denied');
      assertRefused(await approve((await anApprover()).key, id), {
        status: 409,
        code: 'APPROVAL_ALREADY_DECIDED',
      });
    });
  }

  await t.test('who votes again with another key, because the first was revoked, has one vote', async () => {
    const [maria, noor] = [await anApprover(), await anApprover()];
    const id = await critical();
    await voted(maria, id);
    const second = await anotherKey(maria);
    assertRefused(await approve(second.key, id), { status: 409, code: 'APPROVAL_ALREADY_DECIDED' });
    await ask(adminKey, `DELETE /v1/agents/${maria.id}/keys/${maria.keyId}`);
    const { approvals } = await voted(second, id);
    assert.deepEqual(
      approvals.map((vote) => [vote.approver_id, vote.key_id, vote.counts]),
      [[maria.id, second.keyId, true]],
    );
    await voted(noor, id);
    await calls.passDelay(id);
    await handsOver(id);
  });

  await t.test('who was removed and made again under the same name votes once', async () => {
    const name = 'maria-again';
    const [before, noor] = [await createAgent({ name, role: 'approver' }), await anApprover()];
    const id = await critical();
    await voted(before, id);
    await ask(adminKey, `DELETE /v1/agents/${before.id}`);
    const after = await createAgent({ name, role: 'approver' });
    assert.equal((await voted(after, id)).effective_at, null);
    assert.deepEqual(await counted(id), ['pending', [false, true], 'not in effect']);
    await voted(noor, id);
    assert.deepEqual(await counted(id), ['pending', [false, true, true], 'in effect']);
  });

  await t.test('a vote from before keys were kept counts while its voter is live', async () => {
    const maria = await anApprover();
    const id = await sensitive();
    await voted(maria, id);
    await sql('update approval_votes set key_id = null where approval_id = $1', [id]);
    await resealRows(sql, 'approval_votes', 'approval_id = $1', [id]);
    await anotherKey(maria);
    await ask(adminKey, `DELETE /v1/agents/${maria.id}/keys/${maria.keyId}`);
    assert.deepEqual(await counted(id), ['approved', [true], 'in effect']);
    await ask(adminKey, `DELETE /v1/agents/${maria.id}`);
    await handsNothingOver(id);
  });

  await t.test(
    'a row in the name of who asked, of an agent, or with somebody else’s key is no vote',
    async () => {
      const [maria, noor, other] = [
        await anApprover(),
        await anApprover(),
        await calls.anAgent('secrets:*:*'),
      ];
      for (const [approver, keyId] of [
        [agent, agent.keyId],
        [other, other.keyId],
        [other, null],
        [noor, maria.keyId],
        [noor, 'ffffffffffffffff'],
      ] as const) {
        const id = await sensitive();
        await sql('insert into approval_votes (approval_id, approver_id, key_id) values ($1, $2, $3)', [
          id,
          approver.id,
          keyId,
        ]);
        // So that what counts is judged, and not who wrote the row.
        await resealRows(sql, 'approval_votes', 'approval_id = $1', [id]);
        await sql('update approvals set effective_at = clock_timestamp() where id = $1', [id]);
        await resealRows(sql, 'approvals', 'id = $1', [id]);
        assert.deepEqual(
          await counted(id),
          ['pending', [false], 'not in effect'],
          `${approver.name} ${keyId}`,
        );
        await handsNothingOver(id);
        await calls.closeAll();
      }
    },
  );

  await t.test('a row that Writ did not write is no vote, and is in no vote’s way', async () => {
    const [maria, noor] = [await anApprover(), await anApprover()];
    const id = await sensitive();
    const plant = ({ id: approver, keyId }: CreatedAgent) =>
      sql('insert into approval_votes (approval_id, approver_id, key_id) values ($1, $2, $3)', [
        id,
        approver,
        keyId,
      ]);
    await plant(maria);
    assert.deepEqual(await counted(id), ['pending', [false], 'not in effect']);
    await voted(maria, id);
    await plant(noor);
    assert.deepEqual(await counted(id), ['approved', [true, false], 'in effect']);
    assert.match((await poll(agent.key, id)).body.token ?? '', TOKEN);
  });

  await t.test('what has lost its votes ends with its time to be claimed', async () => {
    const maria = await anApprover();
    const id = await sensitive();
    await voted(maria, id);
    await ask(adminKey, `DELETE /v1/agents/${maria.id}`);
    // The time to decide it is over, as it may be for what is in effect; the time to claim it is not.
    await calls.lapse(id);
    await handsNothingOver(id);
    await calls.endWindow(id);
    assert.equal((await poll(agent.key, id)).body.status, 'expired');
    assertRefused(await approve((await anApprover()).key, id), { status: 410, code: 'APPROVAL_EXPIRED' });
  });

  await t.test('the list finds it among the pending', async () => {
    const maria = await anApprover();
    const id = await sensitive();
    await voted(maria, id);
    const idsOf = async (status: string) => {
      const { body } = await ask<{ items: { id: string }[] }>(adminKey, `GET /v1/approvals?status=${status}`);
      return body.items.map((item) => item.id);
    };
    assert.ok((await idsOf('approved')).includes(id));
    await ask(adminKey, `DELETE /v1/agents/${maria.id}`);
    assert.ok((await idsOf('pending')).includes(id));
    assert.ok(!(await idsOf('approved')).includes(id));
  });
});
