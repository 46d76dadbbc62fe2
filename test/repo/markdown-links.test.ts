/** Guarantees that every relative link in the Markdown files leads to a file, and to a heading where it names one. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { anchorsOf, markdownFiles, readText, withoutFences } from '../support/markdown.ts';

const LINK = /\[[^\]]*\]\(([^)\s]+)\)/g;

test('every relative link resolves', () => {
  const files = markdownFiles();
  for (const needed of ['README.md', 'SECURITY.md', 'CHANGELOG.md', 'docs/errors.md']) {
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
