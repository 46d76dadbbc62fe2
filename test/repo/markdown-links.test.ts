/**
 * Guarantees that every relative link in the Markdown files leads to a file, and to a heading where it names one, and
 * that every path which they name exists.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { anchorsOf, markdownFiles, readText, withoutFences } from '../support/markdown.ts';

const LINK = /\[[^\]]*\]\(([^)\s]+)\)/g;

test('every relative link resolves', () => {
  const files = markdownFiles();
  for (const needed of ['README.md', 'SECURITY.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'docs/contract.md']) {
    assert.ok(files.includes(needed), `${needed} is missing`);
  }
  assert.deepEqual(
    files.flatMap((file) => deadLinks(file, readText(file))),
    [],
  );
});

test('a link that leads nowhere would be found', () => {
  const planted =
    '[a](docs/nowhere.md) [b](#no-such-heading) [c](README.md#no-such-heading) [d](/etc/passwd)';
  assert.equal(deadLinks('README.md', planted).length, 4);
  assert.deepEqual(deadLinks('README.md', '# A Heading\n[a](#a-heading) [b](docs/errors.md#errors)'), []);
});

test('each page in docs is linked from the README or lies in a folder that is', () => {
  const readme = readText('README.md');
  const pages = markdownFiles('docs').filter((page) => !readme.includes(`(${page})`));
  assert.deepEqual(
    pages.filter((page) => !readme.includes(`(${dirname(page)})`)),
    [],
  );
});

test('every path that a page names exists', () => {
  const named = markdownFiles().flatMap((file) =>
    pathsNamed(readText(file)).map((path) => `${file}: ${path}`),
  );
  assert.ok(named.length > 30);
  assert.deepEqual(
    named.filter((mention) => !existsSync(mention.split(': ')[1] ?? '')),
    [],
  );
});

test('a path that a page names is taken for one', () => {
  const planted =
    'see `src/nowhere.ts`, `test/storage`, `docs/contract.md` and `biome.json`; not `src/<subject>`, `secrets:read:src/*`, `npm test`';
  assert.deepEqual(pathsNamed(planted), ['src/nowhere.ts', 'test/storage', 'docs/contract.md', 'biome.json']);
});

test('the layout of docs/architecture.md has every folder of src, and no other', () => {
  const text = readText('docs/architecture.md');
  const [layout = ''] = /^```\n.*?^```$/ms.exec(text) ?? [];
  const [, sources = ''] = layout.split('\nsrc/\n');
  const [inSources = ''] = sources.split('\ntest/');
  const top = [...inSources.matchAll(/^ {2}([a-z-]+)\/ /gm)].map((match) => match[1] ?? '');
  assert.deepEqual(top.sort(), foldersOf('src'));
  const routed = [...inSources.matchAll(/^ {4}([a-z-]+)\/ /gm)].map((match) => match[1] ?? '');
  assert.deepEqual(
    routed.filter(
      (name) => !foldersOf('src/http').includes(name) && !foldersOf('src/storage').includes(name),
    ),
    [],
  );
  const files = [...inSources.matchAll(/\b([a-z-]+\.ts)\b/g)].map((match) => match[1] ?? '');
  const atTheRoot = readdirSync('src').filter((name) => name.endsWith('.ts'));
  assert.deepEqual(files.filter((name) => atTheRoot.includes(name)).sort(), atTheRoot.sort());
});

function foldersOf(path: string): string[] {
  const entries = readdirSync(path, { withFileTypes: true });
  return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])).sort();
}

/** What stands between back quotes and begins as a path of this repository does. */
function pathsNamed(text: string): string[] {
  const spans = [...withoutFences(text).matchAll(/`([^`\n]+)`/g)].map((match) => match[1] ?? '');
  return spans.filter((span) =>
    /^(?:(?:src|test|docs|bench|examples|migrations|docker)\/[\w./-]+|biome\.json|package\.json|\.env\.example)$/.test(
      span,
    ),
  );
}

function deadLinks(file: string, text: string): string[] {
  const targets = [...withoutFences(text).matchAll(LINK)].map((match) => match[1] ?? '');
  return targets
    .filter((target) => !/^(https?|mailto):/.test(target) && !resolves(file, text, target))
    .map((target) => `${file}: ${target}`);
}

function resolves(file: string, text: string, target: string): boolean {
  const [path = '', heading] = target.split('#');
  if (path.startsWith('/')) return false;
  const found = join(dirname(file), path);
  if (path !== '' && !existsSync(found)) return false;
  return heading === undefined || anchorsOf(path === '' ? text : readText(found)).includes(heading);
}
