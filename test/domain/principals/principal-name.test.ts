/** What a principal may be called (contract section 2): every kind of letter that passes for another is refused. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readPrincipalName } from '../../../src/domain/principals/principal-name.ts';

const kept = (given: string): string | undefined => {
  const read = readPrincipalName(given);
  return read.ok ? read.name : undefined;
};
const issueOf = (given: string): string => {
  const read = readPrincipalName(given);
  return read.ok ? '' : read.issue;
};

test('a name is kept in NFKC and without blanks around it', () => {
  for (const [given, name] of [
    ['admin', 'admin'],
    ['admin ', 'admin'],
    ['\u00a0\t admin\u3000\n', 'admin'],
    ['\ufeffadmin', 'admin'],
    ['ａｄｍｉｎ', 'admin'],
    ['𝐚𝐝𝐦𝐢𝐧', 'admin'],
    ['oﬃce', 'office'],
    ['Deploy\u00a0bot', 'Deploy bot'],
    ['a.b_c-d@example.org', 'a.b_c-d@example.org'],
    ['n'.repeat(64), 'n'.repeat(64)],
  ] as const) {
    assert.equal(kept(given), name, JSON.stringify(given));
  }
});

test('what is refused is told with what is wrong and what is allowed', () => {
  for (const [given, fault] of [
    ['', /^The name is empty\./],
    [' ', /^The name is empty\./],
    ['n'.repeat(65), /^The name has 65 characters\./],
    ['ﷺ'.repeat(5), /^The name has 90 characters\./],
    ['а\u0064min', /^The name has the character U\+0430\./],
    ['ad\u0000min', /U\+0000/],
    ['ad\nmin', /U\+000A/],
    ['ad\u200bmin', /U\+200B/],
    ['\u200badmin', /U\+200B/],
    ['ad\u00admin', /U\+00AD/],
    ['admin\u202e', /U\+202E/],
    ['\u2066admin', /U\+2066/],
    ['ad\u0301min', /U\+0301/],
    ['josé', /U\+00E9/],
    ['ad\u{e0061}min', /U\+E0061/],
    ['a/b', /U\+002F/],
    ['a  b', /two blanks in a row/],
    ['..', /no letter or digit/],
    ['01890a5d-ac96-774b-bcce-b302099a8057', /must not look like an id/],
    [' 01890A5D-AC96-774B-BCCE-B302099A8057 ', /must not look like an id/],
  ] as const) {
    assert.match(issueOf(given), fault, JSON.stringify(given));
    assert.match(issueOf(given), /1 to 64 letters A-Z a-z, digits, \. _ - @ and single blanks/);
  }
});

test('whatever is given, what is kept is plain ASCII, and is kept again as it is', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary' }), fc.string()),
      (given) => {
        const name = kept(given);
        if (name === undefined) return;
        assert.match(name, /^[\x21-\x7e]+( [\x21-\x7e]+)*$/);
        assert.equal(kept(name), name);
      },
    ),
  );
});
