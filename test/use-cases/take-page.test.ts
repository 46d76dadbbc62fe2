/** A page is the head of its list, bounded in items and in bytes, and pages that follow each other are the whole list. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { inPortions, MAX_PAGE_BYTES, takePage } from '../../src/use-cases/take-page.ts';
import { PROPERTY_RUNS } from '../support/effort.ts';

interface Item {
  readonly id: number;
  readonly size: number;
}

const listOf = (sizes: readonly number[]): readonly Item[] => sizes.map((size, id) => ({ id, size }));

/** A database that tells how many rows were read of it. */
function reading(list: readonly Item[]) {
  const asked: number[] = [];
  const read = async ({ limit, after }: { limit: number; after: string | undefined }) => {
    const from = after === undefined ? 0 : Number(after) + 1;
    const found = list.slice(from, from + limit);
    asked.push(found.length);
    return found;
  };
  return { read, rowsRead: () => asked.reduce((sum, count) => sum + count, 0) };
}

const page = (read: ReturnType<typeof reading>['read'], limit: number, after?: string) =>
  takePage(inPortions(read, { limit, after, positionOf: ({ id }) => String(id) }), {
    limit,
    sizeOf: ({ size }) => size,
  });

const SIZES = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 3 * MAX_PAGE_BYTES })),
  {
    maxLength: 120,
  },
);

test('pages that follow each other hold every item once, in order, and each keeps its bounds', async () => {
  await fc.assert(
    fc.asyncProperty(SIZES, fc.integer({ min: 1, max: 60 }), async (sizes, limit) => {
      const list = listOf(sizes);
      const { read } = reading(list);
      const seen: number[] = [];
      for (let after: string | undefined, more = true; more; ) {
        const taken = await page(read, limit, after);
        const bytes = taken.items.reduce((sum, { size }) => sum + size, 0);
        assert.ok(taken.items.length <= limit);
        assert.ok(bytes <= MAX_PAGE_BYTES || taken.items.length === 1);
        assert.ok(!taken.more || taken.items.length > 0, 'a page that goes on has moved on');
        seen.push(...taken.items.map(({ id }) => id));
        more = taken.more;
        after = String(taken.items.at(-1)?.id);
      }
      assert.deepEqual(
        seen,
        list.map(({ id }) => id),
      );
    }),
    { numRuns: PROPERTY_RUNS },
  );
});

test('a page goes on exactly where there is more', async () => {
  for (const [count, limit, more] of [
    [0, 5, false],
    [5, 5, false],
    [6, 5, true],
    [16, 16, false],
    [17, 16, true],
    [1000, 1000, false],
    [1001, 1000, true],
  ] as const) {
    const { read } = reading(listOf(Array.from({ length: count }, () => 1)));
    const taken = await page(read, limit);
    assert.deepEqual([taken.items.length, taken.more], [Math.min(count, limit), more], `${count} ${limit}`);
  }
});

test('little more is read than is answered', async () => {
  const heavy = reading(listOf(Array.from({ length: 10_000 }, () => 11_000)));
  const taken = await page(heavy.read, 10_000);
  assert.equal(taken.items.length, Math.floor(MAX_PAGE_BYTES / 11_000));
  assert.ok(heavy.rowsRead() < 3 * taken.items.length, String(heavy.rowsRead()));
  const huge = reading(listOf(Array.from({ length: 100 }, () => 2 * MAX_PAGE_BYTES)));
  assert.equal((await page(huge.read, 100)).items.length, 1);
  assert.equal(huge.rowsRead(), 16);
});
