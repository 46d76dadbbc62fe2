/** A command is patient where a server holds what it needs, and with nothing else. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { whileBusy } from '../../src/commands/ask-again.ts';
import { WritError } from '../../src/errors.ts';

test('what is busy is asked again, what failed otherwise is not', async () => {
  let asked = 0;
  const answer = await whileBusy(async () => {
    asked += 1;
    if (asked < 3) throw new WritError('BUSY', 'Another request holds what this one needs; try again.');
    return 'done';
  });
  assert.deepEqual([answer, asked], ['done', 3]);
  for (const code of ['OUTCOME_UNKNOWN', 'UNAVAILABLE', 'NOT_FOUND'] as const) {
    let times = 0;
    const failed = whileBusy(async () => {
      times += 1;
      throw new WritError(code, 'x');
    });
    await assert.rejects(failed, { code });
    assert.equal(times, 1, code);
  }
});
