/** A plan is looked for among the tokens that were issued when it was, and is found there whatever else was issued. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { newId } from '../../../src/platform/ids.ts';
import { idsMadeAround } from '../../../src/storage/intent-tokens/plan-report-store.ts';
import { PROPERTY_RUNS } from '../../support/effort.ts';

const timeOf = (id: string) => Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);

test('ids that are made one after the other lie around each other', () => {
  for (let count = 0; count < 1000; count += 1) {
    const [tokenId, planId] = [newId(), newId()];
    const [from, to] = idsMadeAround(planId);
    assert.ok(from <= tokenId && tokenId <= to);
  }
});

test('the bounds are ids, and two seconds apart at most, whatever id is asked for', () => {
  fc.assert(
    fc.property(fc.uuid(), (id) => {
      const [from, to] = idsMadeAround(id);
      for (const bound of [from, to]) assert.match(bound, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
      assert.ok(from <= id && id <= to);
      assert.ok(timeOf(to) - timeOf(from) <= 2000);
    }),
    { numRuns: PROPERTY_RUNS },
  );
  for (const id of ['00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff']) {
    const [from, to] = idsMadeAround(id);
    assert.ok(from <= id && id <= to, id);
  }
});
