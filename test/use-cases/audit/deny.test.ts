/** What a denial puts on record before it is answered, and what is answered without a record. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ERROR_CODES, type ErrorCode, WritError } from '../../../src/errors.ts';
import type { Denial } from '../../../src/use-cases/audit/denial-log.ts';
import { deny } from '../../../src/use-cases/audit/deny.ts';

const context = { requestId: 'request-1', ipAddress: '192.0.2.1' };
const requester = { actor: { id: 'agent-1', role: 'agent' }, credentialId: 'key-1', context } as const;
const what = {
  type: 'token.denied',
  resource: { type: 'agent', id: 'agent-1' },
  metadata: { tools: 1 },
} as const;

async function denied(error: unknown, write: () => Promise<void> = async () => {}) {
  const recorded: Denial[] = [];
  const log = {
    record: (denial: Denial) => {
      recorded.push(denial);
      return write();
    },
  };
  const thrown = await deny(log, requester, error, what).catch((reason: unknown) => reason);
  return { recorded, thrown };
}

test('a denial is on record with its code, its actor, its credential and its resource, and is thrown', async () => {
  const error = new WritError('SCOPE_DENIED', 'No.');
  const { recorded, thrown } = await denied(error);
  assert.equal(thrown, error);
  assert.deepEqual(recorded, [{ ...what, ...requester, code: 'SCOPE_DENIED' }]);
});

test('of all codes, those that deny, reject a credential, limit, or tell of a changed row are on record', async () => {
  for (const [code, { kind }] of Object.entries(ERROR_CODES)) {
    const { recorded, thrown } = await denied(new WritError(code as ErrorCode, 'No.'));
    assert.ok(thrown instanceof WritError, code);
    const isOnRecord = ['denied', 'unauthenticated', 'limited'].includes(kind) || code === 'INTEGRITY_ERROR';
    assert.equal(recorded.length, isOnRecord ? 1 : 0, code);
  }
});

test('what is no error of Writ passes as it is', async () => {
  const bug = new Error('a bug');
  assert.deepEqual(await denied(bug), { recorded: [], thrown: bug });
});

test('a denial that cannot be put on record is not answered as one', async () => {
  const unavailable = new WritError('AUDIT_UNAVAILABLE', 'Not now.');
  const { thrown } = await denied(new WritError('SCOPE_DENIED', 'No.'), () => Promise.reject(unavailable));
  assert.equal(thrown, unavailable);
});
