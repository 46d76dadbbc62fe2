/** What writes an event without another effect promises. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import { anEvent } from './builders.ts';
import type { FiveStores } from './five-stores.ts';

export function contractOfTrail(on: FiveStores): void {
  suite('audit trail', () => {
    test('concurrent refusals each leave one row', async () => {
      const resourceId = uuidv7();
      const before = await on.countEvents();
      await Promise.all(
        Array.from({ length: 40 }, () => on.trail.append(anEvent({ eventType: 'auth.denied', resourceId }))),
      );
      assert.deepEqual(await on.eventsOf(resourceId), Array(40).fill('auth.denied'));
      assert.equal(await on.countEvents(), before + 40);
    });
  });
}
