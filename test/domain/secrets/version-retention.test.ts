/** Which old versions go, against a naive reading of the sentences of contract section 6. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { oldestToKeep, type WrittenVersion } from '../../../src/domain/secrets/version-retention.ts';
import { PROPERTY_RUNS } from '../../support/effort.ts';

const at = (minute: number): number => minute * 60_000;
const written = (minutes: readonly number[], first = 1): WrittenVersion[] =>
  minutes.map((minute, index) => ({ version: first + index, writtenAtMs: at(minute) }));

/** A version may go if it is none of the newest and its successor is old; nothing goes that has something older beside it. */
function naive(all: readonly WrittenVersion[], kept: number, sinceMs: number): number[] {
  const newestFirst = [...all].reverse();
  const mayGo = ({ version }: WrittenVersion): boolean => {
    const place = newestFirst.findIndex((one) => one.version === version);
    const successor = all.find((one) => one.version === version + 1);
    return place >= kept && successor !== undefined && !(successor.writtenAtMs > sinceMs);
  };
  const goes = all.filter((one) => all.every((older) => older.version > one.version || mayGo(older)));
  return all.filter((one) => !goes.includes(one)).map(({ version }) => version);
}

test('what stays is what the sentences say, whatever the clock did, and the newest always does', () => {
  let went = 0;
  fc.assert(
    fc.property(
      // Clocks are set back, so times are in no order.
      fc.array(fc.nat(50), { minLength: 1, maxLength: 12 }),
      fc.nat(20),
      fc.integer({ min: 1, max: 12 }),
      fc.nat(50),
      (minutes, before, kept, since) => {
        const all = written(minutes, 1 + before);
        const newest = before + all.length;
        const oldest = oldestToKeep(newest, all, { kept, supersededSinceMs: at(since) });
        const stay = all
          .filter(({ version }) => version >= (oldest ?? Number.NaN))
          .map(({ version }) => version);
        assert.deepEqual(stay, naive(all, kept, at(since)));
        assert.ok(stay.includes(newest));
        assert.ok(stay.length >= Math.min(kept, all.length));
        if (stay.length < all.length) went += 1;
      },
    ),
    { numRuns: PROPERTY_RUNS },
  );
  assert.ok(went > PROPERTY_RUNS / 20, String(went));
});

test('to look at the oldest alone never removes more than to look at all of them', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(50), { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 12 }),
      fc.nat(50),
      fc.integer({ min: 1, max: 12 }),
      (minutes, kept, since, seen) => {
        const all = written(minutes);
        const rule = { kept, supersededSinceMs: at(since) };
        const whole = oldestToKeep(all.length, all, rule) ?? Number.NaN;
        const part = oldestToKeep(all.length, all.slice(0, seen), rule) ?? Number.NaN;
        assert.equal(part, Math.min(whole, Math.min(seen, all.length)));
      },
    ),
    { numRuns: PROPERTY_RUNS },
  );
});

test('a version that was the newest for years stays after its successor, however many came since', () => {
  const days = (n: number) => n * 1440;
  const all = written([0, ...Array.from({ length: 20 }, (_, index) => days(3650) + index)]);
  const oldest = oldestToKeep(all.length, all, { kept: 10, supersededSinceMs: at(days(3620)) });
  assert.equal(oldest, 1);
});

test('of nothing nothing is said', () => {
  assert.equal(oldestToKeep(3, [], { kept: 1, supersededSinceMs: at(0) }), undefined);
});
