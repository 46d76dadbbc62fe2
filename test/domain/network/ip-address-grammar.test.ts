/** Guarantees of the address grammar (contract section 5.3): it is that of `net.isIP`, less the zone. */

import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { addressFamily } from '../../../src/domain/network/ip-address-grammar.ts';
import { assertCostsUnder } from '../../support/duration.ts';
import { RARE_CASE_RUNS } from '../../support/effort.ts';
import { notTexts, untyped } from '../wrong-types.ts';

const family = (text: string) => addressFamily(text) ?? 0;

const octet = fc.oneof(
  fc.nat({ max: 300 }).map(String),
  fc.constantFrom('', '00', '01', '256', '1e1', '0x1', '-1'),
);
const dotted = fc.array(octet, { minLength: 3, maxLength: 5 }).map((octets) => octets.join('.'));
const group = fc.string({ unit: fc.constantFrom(...'019afAFg'), minLength: 0, maxLength: 5 });
const goodGroup = fc.nat({ max: 0xffff }).map((value) => value.toString(16));
const colons = (item: fc.Arbitrary<string>, maxLength: number) =>
  fc.array(item, { maxLength }).map((groups) => groups.join(':'));
const sixes = fc.oneof(
  fc.ipV6(),
  colons(goodGroup, 9),
  colons(group, 9),
  fc.tuple(colons(goodGroup, 8), colons(goodGroup, 8)).map((halves) => halves.join('::')),
  fc
    .tuple(colons(goodGroup, 6), colons(goodGroup, 6), fc.oneof(fc.ipV4(), dotted))
    .map(([a, b, v4]) => `${a}::${b}:${v4}`),
  fc.tuple(colons(goodGroup, 7), fc.oneof(fc.ipV4(), dotted)).map(([a, v4]) => `${a}:${v4}`),
  fc.tuple(colons(goodGroup, 7), fc.ipV4()).map(([a, v4]) => `${a}::${v4}`),
  fc.tuple(fc.ipV4(), colons(goodGroup, 7)).map(([v4, a]) => `${a}::${v4}:${a}`),
);
const soup = fc.string({ unit: fc.constantFrom(...'0123456789abcdefABF:::...gx/ \n\0'), maxLength: 24 });

test('any text has the family that net.isIP gives it', () => {
  const seen = new Map<number, number>();
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), dotted, sixes, soup), (text) => {
      assert.equal(family(text), isIP(text), JSON.stringify(text));
      seen.set(isIP(text), (seen.get(isIP(text)) ?? 0) + 1);
    }),
    { numRuns: RARE_CASE_RUNS },
  );
  for (const kind of [0, 4, 6]) {
    assert.ok((seen.get(kind) ?? 0) > RARE_CASE_RUNS / 40, `${seen.get(kind)} of family ${kind}`);
  }
});

test('an address with one character changed, added or removed has the family that net.isIP gives it', () => {
  const edit = fc.tuple(
    fc.oneof(fc.ipV4(), fc.ipV6()),
    fc.nat(),
    fc.constantFrom(...'0189afgF:. /x', ''),
    fc.nat({ max: 1 }),
  );
  fc.assert(
    fc.property(edit, ([text, position, inserted, removed]) => {
      const at = position % (text.length + 1);
      const edited = text.slice(0, at) + inserted + text.slice(at + removed);
      assert.equal(family(edited), isIP(edited), JSON.stringify(edited));
    }),
    { numRuns: RARE_CASE_RUNS },
  );
});

test('every number of groups around :: is decided as net.isIP does', () => {
  for (let before = 0; before <= 9; before++) {
    for (let after = 0; after <= 9; after++) {
      for (const tail of ['', ':1.2.3.4', ':1.2.3.256', ':']) {
        const text = `${Array(before).fill('1').join(':')}::${Array(after).fill('1').join(':')}${tail}`;
        assert.equal(family(text), isIP(text), text);
      }
    }
  }
});

test('short, octal, hexadecimal and integer forms, ports, brackets and zones are no address', () => {
  const refused = [
    '127.1',
    '1',
    '2130706433',
    '0x7f.0.0.1',
    '0x7f000001',
    '010.0.0.1',
    '1.2.3.04',
    '1.2.3',
    '1.2.3.4.5',
  ];
  refused.push(
    '1.2.3.4:80',
    '[::1]',
    '::1%eth0',
    '::1/64',
    ' ::1',
    '::1 ',
    '::1\n',
    '１.2.3.4',
    '1.2.3.4\0',
    '',
    ':',
    ':::',
  );
  refused.push(
    '1::2::3',
    '12345::',
    '::g',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1.2.3.4::',
    '::1.2.3',
    '::1.2.3.4.5',
    '-1.2.3.4',
  );
  for (const text of refused) assert.equal(addressFamily(text), undefined, JSON.stringify(text));
});

test('what is no text is no address, and an enormous text is refused at once', () => {
  for (const value of notTexts('10.0.0.1')) assert.equal(addressFamily(untyped(value)), undefined);
  assertCostsUnder({ floors: 50 }, () => {
    for (const text of [':'.repeat(1e6), '1:'.repeat(5e5), '1.'.repeat(5e5)])
      assert.equal(addressFamily(text), undefined);
  });
});
