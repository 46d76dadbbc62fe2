/**
 * At least one value of every type, to be thrown at an entry that promises what it does with anything. Filter out what the entry
 * takes.
 */

export const EVERY_TYPE: readonly (readonly [name: string, value: unknown])[] = [
  ['undefined', undefined],
  ['null', null],
  ['true', true],
  ['zero', 0],
  ['a negative number', -1],
  ['a fraction', 0.5],
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['2^31', 2 ** 31],
  ['2^32', 2 ** 32],
  ['2^53', 2 ** 53],
  ['a bigint', 1n],
  ['empty text', ''],
  ['text', 'text'],
  ['digits', '0'],
  ['a symbol', Symbol('symbol')],
  ['a function', () => 0],
  ['an empty list', []],
  ['a list of lists', [[]]],
  ['an empty object', {}],
  ['a Date', new Date(0)],
  ['a Map', new Map()],
  ['a regular expression', /x/],
  ['an ArrayBuffer', new ArrayBuffer(32)],
  ['a Uint16Array', new Uint16Array(16)],
  ['31 bytes', new Uint8Array(31)],
];

/** The table without those rows for which `takes` is true. */
export function everyTypeExcept(takes: (value: unknown) => boolean): typeof EVERY_TYPE {
  return EVERY_TYPE.filter(([, value]) => !takes(value));
}
