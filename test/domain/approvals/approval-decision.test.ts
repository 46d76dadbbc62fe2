/** What may still be done to an approval (contract section 7): every situation, decided by hand. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  APPROVAL_STATUSES,
  type ApprovalSnapshot,
  type ApprovalStatus,
  checkApproval,
  checkDenial,
  hasLostVotes,
  rulesForTier,
} from '../../../src/domain/approvals/approval-decision.ts';

const SELF = 'SELF_APPROVAL_FORBIDDEN';
const DECIDED = 'APPROVAL_ALREADY_DECIDED';
const EXPIRED = 'APPROVAL_EXPIRED';
const REQUESTER = 'the requester';
const VOTER = 'who approved';
const NEW = 'who did not vote';

type Outcome = string | undefined;
interface Row {
  readonly status: ApprovalStatus;
  readonly votes: number;
  /** Of approving: by who did not vote, by who did. */
  readonly approve: readonly [Outcome, Outcome];
  readonly deny: Outcome;
}

/** Two votes are required. Without any vote there is nobody who did vote: the entry is that of anybody. */
const ROWS: readonly Row[] = [
  { status: 'pending', votes: 0, approve: [undefined, undefined], deny: undefined },
  { status: 'pending', votes: 1, approve: [undefined, DECIDED], deny: undefined },
  { status: 'pending', votes: 2, approve: [DECIDED, DECIDED], deny: undefined },
  { status: 'approved', votes: 2, approve: [DECIDED, DECIDED], deny: undefined },
  { status: 'denied', votes: 0, approve: [DECIDED, DECIDED], deny: DECIDED },
  { status: 'denied', votes: 1, approve: [DECIDED, DECIDED], deny: DECIDED },
  { status: 'denied', votes: 2, approve: [DECIDED, DECIDED], deny: DECIDED },
  { status: 'expired', votes: 0, approve: [EXPIRED, EXPIRED], deny: EXPIRED },
  { status: 'expired', votes: 1, approve: [EXPIRED, EXPIRED], deny: EXPIRED },
  { status: 'expired', votes: 2, approve: [EXPIRED, EXPIRED], deny: EXPIRED },
  { status: 'claimed', votes: 2, approve: [DECIDED, DECIDED], deny: DECIDED },
];

function situation({ status, votes }: Row, changes: Partial<ApprovalSnapshot> = {}): ApprovalSnapshot {
  return {
    status,
    requesterId: REQUESTER,
    requesterRevoked: false,
    approverIds: [VOTER, 'another who approved'].slice(0, votes),
    approvalsRequired: 2,
    ...changes,
  };
}

test('every status is in the table', () => {
  assert.deepEqual([...new Set(ROWS.map(({ status }) => status))].sort(), [...APPROVAL_STATUSES].sort());
});

for (const row of ROWS) {
  const about = `${row.status} with ${row.votes} of 2 votes`;

  test(`${about}: approving and denying are refused as listed`, () => {
    assert.equal(checkApproval(situation(row), NEW), row.approve[0]);
    assert.equal(checkApproval(situation(row), VOTER), row.approve[1]);
    assert.equal(checkDenial(situation(row), NEW), row.deny);
    assert.equal(checkDenial(situation(row), VOTER), row.deny);
  });

  test(`${about}: who asked decides nothing`, () => {
    for (const requesterRevoked of [false, true]) {
      for (const approverIds of [situation(row).approverIds, [REQUESTER]]) {
        const own = situation(row, { requesterRevoked, approverIds });
        assert.equal(checkApproval(own, REQUESTER), SELF);
        assert.equal(checkDenial(own, REQUESTER), SELF);
      }
    }
  });

  test(`${about}: what a revoked agent asked for is over`, () => {
    const over = situation(row, { requesterRevoked: true });
    for (const who of [NEW, VOTER]) {
      assert.equal(checkApproval(over, who), DECIDED);
      assert.equal(checkDenial(over, who), DECIDED);
    }
  });
}

test('one vote decides where one is required, and further ones are never taken', () => {
  const pending: Row = { status: 'pending', votes: 1, approve: [undefined, undefined], deny: undefined };
  assert.equal(checkApproval(situation(pending, { approvalsRequired: 1 }), NEW), DECIDED);
  assert.equal(checkApproval(situation({ ...pending, votes: 2 }, { approvalsRequired: 1 }), NEW), DECIDED);
  assert.equal(checkApproval(situation({ ...pending, votes: 2 }, { approvalsRequired: 3 }), NEW), undefined);
});

test('only critical takes what the operator has set; the others take one approver and no delay', () => {
  for (const critical of [
    { approvalsRequired: 2, delaySeconds: 300 },
    { approvalsRequired: 7, delaySeconds: 0 },
    { approvalsRequired: 1, delaySeconds: 86_400 },
  ]) {
    assert.deepEqual(rulesForTier('standard', critical), { approvalsRequired: 1, delaySeconds: 0 });
    assert.deepEqual(rulesForTier('sensitive', critical), { approvalsRequired: 1, delaySeconds: 0 });
    assert.deepEqual(rulesForTier('critical', critical), critical);
  }
});

test('an approval has lost votes if it took effect, is pending, and too few of them count', () => {
  const votes = [{ counts: true }, { counts: false }];
  const lost = { status: 'pending', effectiveAt: {}, votes, approvalsRequired: 2 } as const;
  assert.equal(hasLostVotes(lost), true);
  assert.equal(hasLostVotes({ ...lost, approvalsRequired: 1 }), false, 'in its delay');
  assert.equal(hasLostVotes({ ...lost, effectiveAt: null }), false, 'never took effect');
  for (const status of APPROVAL_STATUSES.filter((other) => other !== 'pending')) {
    assert.equal(hasLostVotes({ ...lost, status }), false, status);
  }
});
