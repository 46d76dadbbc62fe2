/** Guarantees that a test reads the Markdown files of this repository as a person does: its fences, tables and links. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const LEFT_OUT = new Set(['node_modules', 'dist', 'data', '.git']);

/** Paths of all Markdown files, from the root of the repository. */
export function markdownFiles(folder = '.'): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (LEFT_OUT.has(entry.name)) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return markdownFiles(path);
    return entry.name.endsWith('.md') ? [path] : [];
  });
}

/** What stands in the fences of this language, in their order. */
export function fencesOf(text: string, language: string): string[] {
  const fence = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms');
  return [...text.matchAll(fence)].map((match) => match[1] ?? '');
}

/** The rows of the one table whose first column has this title; cells without white space around them. */
export function tableOf(text: string, firstTitle: string): string[][] {
  const lines = text.split('\n');
  const start = lines.findIndex((line) => line.startsWith(`| ${firstTitle} |`));
  if (start === -1) throw new Error(`no table begins with a column "${firstTitle}"`);
  const rows: string[][] = [];
  for (const line of lines.slice(start + 2)) {
    if (!line.startsWith('|')) break;
    rows.push(
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
  }
  return rows;
}

/** A cell without its back quotes. */
export function plain(cell: string | undefined): string {
  return (cell ?? '').replaceAll('`', '');
}

export function readText(path: string): string {
  return readFileSync(path, 'utf8');
}

/** The anchors that GitHub makes of headings. */
export function anchorsOf(text: string): string[] {
  return [...withoutFences(text).matchAll(/^#+ (.+)$/gm)].map((match) =>
    (match[1] ?? '')
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

export function withoutFences(text: string): string {
  return text.replace(/^```.*?^```$/gms, '');
}
