/**
 * Guarantees that whoever follows a citation finds what is cited: a section of the contract, a rule of the
 * architecture, a decision, a heading of a page. Sections of an RFC are not ours to check.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { anchorsOf, readText } from '../support/markdown.ts';

const CONTRACT = readText('docs/contract.md');
const SECTIONS = new Set([...CONTRACT.matchAll(/^##+ (\d+(?:\.\d+)?)\.? /gm)].map((match) => match[1] ?? ''));
const RULES = rulesOf(readText('docs/architecture.md'));
const DECISIONS = new Set(readdirSync('docs/decisions').map((name) => name.slice(0, 4)));

const READ = ['src', 'test', 'docs', 'examples', 'bench'];
const PAGES = ['README.md', 'SECURITY.md', 'CONTRIBUTING.md', 'CHANGELOG.md'];
/** Vectors came with the citations that they have: `contract.md 4.2`. */
const VECTORS = /^test\/vectors\//;
/** They plant what must not be. */
const PLANTING = ['test/repo/citations.test.ts', 'test/repo/markdown-links.test.ts'];

const NUMBER = '\\d{1,2}(?:\\.\\d+)?(?![\\d.]\\d)';
const SEVERAL = `${NUMBER}(?:(?:, | and | to |, and )${NUMBER})*`;
const CITED_SECTIONS = new RegExp(`\\bcontract(?:\\.md)? (sections? )?(${SEVERAL})`, 'gi');
const WITHIN_CONTRACT = new RegExp(`\\((${SEVERAL})\\)|(?<!RFC \\d{4} )\\bsections? (${SEVERAL})`, 'g');
const CITED_RULES = /\barchitecture(\.md)?,? rules? (\d+)/gi;
const CITED_DECISIONS = /\bdecisions? (\d+)\b/gi;
const CITED_HEADINGS = /\b((?:[\w-]+\/)*[\w-]+\.md)#([\w-]+)/gi;

test('every citation leads to something', () => {
  const files = [...READ.flatMap(textsIn), ...PAGES].filter(
    (path) => !PLANTING.includes(path) && existsSync(path),
  );
  const cited = files.flatMap((path) => citationsIn(readText(path)));
  assert.ok(cited.length > 100 && SECTIONS.size > 20 && RULES.size > 10 && DECISIONS.size > 10);
  assert.deepEqual(
    files.flatMap((path) => brokenIn(path, readText(path))),
    [],
  );
});

test('a citation of what is not there is found', () => {
  const planted = [
    'contract section 4.9',
    'contract section 11',
    'contract sections 4.1, 4.9',
    'contract sections 5.5 to 5.6',
    'Contract section 44',
    'contract\n * section 4.9',
    'contract\n// section 4.9',
    'contract.md section 2.1',
    'architecture rule 22',
    'architecture rule 0',
    'decision 0999',
    'decision 11',
    'docs/operating.md#no-such-heading',
    'docs/no-such-page.md#months',
    'operating.md#no-such-heading',
  ];
  for (const citation of planted)
    assert.equal(brokenIn('src/x.ts', `/** As in ${citation}. */`).length, 1, citation);
  assert.equal(brokenIn('docs/contract.md', 'It is refused (4.9), as section 11 says.').length, 2);
});

test('a citation that is written in another way is found', () => {
  for (const citation of [
    'contract 4.6',
    'contract.md 4.6',
    'contract.md section 4.6',
    'architecture.md rule 7',
  ]) {
    assert.equal(brokenIn('src/x.ts', `// (${citation})`).length, 1, citation);
  }
  assert.deepEqual(brokenIn('test/vectors/x.json', '{"about":"contract.md 4.2"}'), []);
});

test('a good citation, and what is none of ours, is left alone', () => {
  const good = [
    'contract section 4.6',
    'Contract sections 4.1 to 4.5, and contract sections 5.2, 5.4, 6',
    'contract\n * section 4.3',
    'architecture rule 9',
    'decision 0011',
    'docs/operating.md#months',
    'RFC 9110 section 13.1.1, RFC 9162 section 2.1, RFC 2104',
    'the contract of 4 stores; a decision about 12 tokens',
  ];
  for (const citation of good)
    assert.deepEqual(brokenIn('src/x.ts', `/** As in ${citation}. */`), [], citation);
  assert.deepEqual(
    brokenIn('docs/contract.md', 'See 4.4, (2), (4.6); section 7; RFC 6749 section 2.3.1.'),
    [],
  );
});

/** What is cited and not there, or cited in another form, each with its file. */
function brokenIn(path: string, text: string): string[] {
  const found = citationsIn(text).filter(
    ({ resolves, uniform }) => !resolves || (!uniform && !VECTORS.test(path)),
  );
  const within = path === 'docs/contract.md' ? sectionsWithin(text) : [];
  return [
    ...found.map(({ words }) => `${path}: ${words}`),
    ...within.filter((section) => !SECTIONS.has(section)).map((section) => `${path}: ${section}`),
  ];
}

interface Citation {
  readonly words: string;
  readonly resolves: boolean;
  /** Written as all others are, so that a search for one form finds every place. */
  readonly uniform: boolean;
}

function citationsIn(text: string): Citation[] {
  // A citation may go on in the next line of a comment.
  const flat = text.replace(/\s*\n\s*(?:\*(?!\/)|\/\/|#|>)?\s*/g, ' ');
  return [
    ...[...flat.matchAll(CITED_SECTIONS)].map(([words, keyword, numbers = '']) => ({
      words,
      resolves: numbersIn(numbers).every((number) => SECTIONS.has(number)),
      uniform: keyword !== undefined && !words.includes('.md'),
    })),
    ...[...flat.matchAll(CITED_RULES)].map(([words, extension, number = '']) => ({
      words,
      resolves: RULES.has(number),
      uniform: extension === undefined,
    })),
    ...[...flat.matchAll(CITED_DECISIONS)].map(([words, number = '']) => ({
      words,
      resolves: DECISIONS.has(number),
      uniform: true,
    })),
    ...[...flat.matchAll(CITED_HEADINGS)].map(([words, page = '', heading = '']) => ({
      words,
      resolves: anchorExists(page, heading),
      uniform: true,
    })),
  ];
}

const numbersIn = (text: string): string[] => text.match(new RegExp(NUMBER, 'g')) ?? [];

function sectionsWithin(text: string): string[] {
  return [...text.matchAll(WITHIN_CONTRACT)].flatMap(([, inBrackets, named]) =>
    numbersIn(inBrackets ?? named ?? ''),
  );
}

function anchorExists(page: string, heading: string): boolean {
  const path = [page, `docs/${page}`].find((candidate) => existsSync(candidate));
  return path !== undefined && anchorsOf(readText(path)).includes(heading);
}

/** The numbers of the list under the heading "Rules that hold everywhere". */
function rulesOf(text: string): Set<string> {
  const [, after = ''] = text.split('## Rules that hold everywhere');
  const [section = ''] = after.split('\n## ');
  return new Set([...section.matchAll(/^(\d+)\. /gm)].map((match) => match[1] ?? ''));
}

function textsIn(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`);
  return names
    .map((name) => name.replaceAll('\\', '/'))
    .filter((name) => /\.(ts|mjs|js|md|sh|py|json)$/.test(name) && !name.includes('/node_modules/'));
}
