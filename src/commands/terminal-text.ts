/** Text for a terminal: nothing that somebody else wrote steers it, and nothing passes for a row of a table. */

/** Control characters but the line feed, and what turns the reading direction or ends a line. */
const CONTROL_CHARS = /[^\n\P{C}]|[\u2028\u2029]/gu;
const MAX_WIDTH = 64;

/** Line feeds stay. */
export const sanitize = (text: string): string => text.replace(CONTROL_CHARS, '\uFFFD');
export const sanitizeLine = (text: string): string => sanitize(text).replaceAll('\n', ' ');

/** Of a JSON document, which stays the same document. */
export function escapeControlCharacters(json: string): string {
  const escaped = (text: string) =>
    text.replace(/[\s\S]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return json.replace(CONTROL_CHARS, escaped);
}

/** Columns as wide as their widest cell. */
export function renderTable(rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map(sanitizeLine));
  const widths = (cells[0] ?? []).map((_, column) =>
    Math.max(...cells.map((row) => widthOf(row[column] ?? ''))),
  );
  const pad = (cell: string, column: number) => cell + ' '.repeat((widths[column] ?? 0) - widthOf(cell));
  return cells.map((row) => row.map(pad).join('  ').trimEnd()).join('\n');
}

/** Titles in a first column; a text of several lines, or one that is too long, goes on in the second. */
export function renderFields(fields: readonly (readonly [title: string, text: string])[]): string {
  return renderTable(
    fields.flatMap(([title, text]) =>
      sanitize(text)
        .split('\n')
        .flatMap(wrapLine)
        .map((line, index) => [index === 0 ? title : '', line]),
    ),
  );
}

/** A line that a terminal breaks would go on where rows begin, and could pass for one: it is broken here, indented. */
function wrapLine(text: string): string[] {
  const lines = [''];
  for (const character of text) {
    const last = lines.length - 1;
    if (widthOf(lines[last] + character) <= MAX_WIDTH) lines[last] += character;
    else lines.push(character);
  }
  return lines;
}

/** What is not ASCII counts as two columns, which is the most that a character takes. */
const widthOf = (text: string): number =>
  [...text].reduce((width, character) => width + (character > '~' ? 2 : 1), 0);
