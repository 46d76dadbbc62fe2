/** Ids: UUIDv7 (RFC 9562 section 5.7), and those of approvals (contract section 7), `apr_` and 40 random bits. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UUID } from 'uuidv7';
import { APPROVAL_ID } from '../../src/domain/approvals/approval-id.ts';
import { LOWER_CASE_UUID } from '../../src/domain/formats/uuid.ts';
import { newApprovalId, newId } from '../../src/platform/ids.ts';

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';
const ids = Array.from({ length: 1000 }, newApprovalId);

test('an id is apr_ and 8 characters of base32, which is what requests are checked against', () => {
  for (const id of ids) assert.match(id, /^apr_[a-z2-7]{8}$/);
  for (const id of ids) assert.match(id, APPROVAL_ID);
});

test('every character stands at every place: no bit of the 40 is left out', () => {
  for (let place = 4; place < 12; place += 1) {
    const seen = new Set(ids.map((id) => id[place]));
    // A given one is missing in 1000 with a probability of 2e-14.
    assert.equal(seen.size, ALPHABET.length, `place ${place}: ${[...seen].sort().join('')}`);
  }
});

test('no two places always agree', () => {
  const columns = Array.from({ length: 8 }, (_, place) => ids.map((id) => id[place + 4]).join(''));
  assert.equal(new Set(columns).size, 8);
});

test('ids do not come again', () => {
  // Two equal ones among 1000 have a probability of 5e-7.
  assert.equal(new Set(ids).size, ids.length);
});

test('an id of anything else is a UUIDv7, as the generator’s own package reads and writes it', () => {
  for (const id of Array.from({ length: 1000 }, newId)) {
    assert.match(id, LOWER_CASE_UUID);
    assert.equal(UUID.parse(id).toString(), id);
    assert.equal(UUID.parse(id).getVersion(), 7);
  }
});

test('such ids are in order and do not come again', () => {
  const made = Array.from({ length: 5000 }, newId);
  assert.deepEqual(made, [...new Set(made)].sort());
});
