/** Any character of Unicode, one at a time: fast-check's own list of them takes a second to begin with. */
import fc from 'fast-check';

const SURROGATES = { from: 0xd800, count: 0x800 };

export const anyCharacter = fc
  .nat({ max: 0x10ffff - SURROGATES.count })
  .map((index) => String.fromCodePoint(index < SURROGATES.from ? index : index + SURROGATES.count));
