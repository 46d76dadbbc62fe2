/**
 * Guarantees that a short run, which runs many files in one process, loses none of them, and that one which fails is
 * told by its own name and keeps no other from its turn.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readCosts } from '../support/runner/file-costs.ts';
import { dealFiles, groupText } from '../support/runner/file-groups.ts';

const RUNNER = new URL('../support/runner/', import.meta.url);

test('every file is in one group, and in the same one in every run', () => {
  for (const count of [0, 1, 2, 10, 16, 17, 50, 170]) {
    const files = Array.from({ length: count }, (_, index) => `test/${index}.test.ts`);
    const groups = dealFiles(files, 5);
    assert.deepEqual(groups.flat().sort(), [...files].sort());
    const sizes = groups.map((group) => group.length);
    assert.ok(groups.length <= 5 && Math.max(1, ...sizes) - Math.min(...sizes, count) <= 1, String(sizes));
    assert.deepEqual(dealFiles(files, 5), groups);
  }
});

test('files that share the embedded database are in one process', () => {
  const files = readdirSync('test', { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join('test', name));
  const [first = [], ...others] = dealFiles(files);
  for (const sharing of ['contract', 'secret-contract', 'sweep', 'audit/audit-reader'])
    assert.ok(first.includes(`test/storage/${sharing}.test.ts`), sharing);
  const lengthOf = (file: string): number => readFileSync(file, 'utf8').length;
  const lengths = others.map((group) => group.reduce((sum, file) => sum + lengthOf(file), 0));
  const spread = Math.max(...lengths) - Math.min(...lengths);
  assert.ok(others.length > 1 && spread <= Math.max(...others.flat().map(lengthOf)), `${lengths}`);
  assert.ok(
    others.every((group) => group.length > first.length / 2),
    `${first.length}`,
  );
});

const FILES = {
  'a-passes': "test('a', () => {});",
  'b-fails': "test('b', async (t) => { await t.test('inner', () => assert.equal('came', 'wanted')); });",
  'c-does-not-load': "throw new Error('c does not load');",
  'd-cannot-clean-up': "after(() => { throw new Error('d cannot clean up'); }); test('d', () => {});",
  'e-cleans-up-in-time': "after(() => { globalThis.e = 'cleaned up'; }); test('e', () => {});",
  'f-comes-after-it': "test('f', () => assert.equal(globalThis.e, 'cleaned up'));",
  'g-throws-past-it':
    "test('g', () => new Promise(() => { setImmediate(() => { throw new Error('g throws past'); }); }));",
  'h-rejects-past-it':
    "test('h', async () => { Promise.reject(new Error('h rejects past')); await new Promise(setImmediate); });",
  'i-nests': "describe('i', () => describe('within', () => { after(() => {}); test('inner', () => {}); }));",
} as const;

test('of the files of a process each fails by itself, under its name, and all have their turn', async (t) => {
  const { code, said, costs } = await runGroup(t, FILES);
  assert.equal(code, 1, said);
  for (const [name, mark] of ['a✔', 'b✖', 'c✖', 'd✖', 'e✔', 'f✔', 'g✖', 'h✖', 'i✔']) {
    assert.match(said, new RegExp(`^${mark} \\S*/${name}-[\\w-]+\\.test\\.js \\(.* of 9\\)$`, 'm'));
  }
  const again = said.slice(said.indexOf(' failures, again:'));
  assert.match(again, /b-fails\.test\.js:\d+\n {2}b › inner\n[\s\S]*'came'[\s\S]*'wanted'/);
  assert.match(again, /c-does-not-load\.test\.js\n {2}the file as a whole\n[\s\S]*c does not load/);
  assert.match(again, /d-cannot-clean-up\.test\.js\n {2}the file as a whole\n[\s\S]*d cannot clean up/);
  assert.match(again, /g-throws-past-it\.test\.js\n {2}the file as a whole\n[\s\S]*g throws past/);
  assert.match(again, /h-rejects-past-it\.test\.js\n {2}the file as a whole\n[\s\S]*h rejects past/);
  assert.deepEqual(
    costs.map(({ file }) => /([\w-]+)\.test\.js$/.exec(file)?.[1]).sort(),
    Object.keys(FILES).sort(),
  );
});

async function runGroup(t: TestContext, files: Readonly<Record<string, string>>) {
  const folder = await mkdtemp(join(tmpdir(), 'writ-test-group-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  const paths = Object.keys(files).map((name) => join(folder, `${name}.test.js`));
  const head =
    "import assert from 'node:assert/strict';\nimport { after, describe, test } from 'node:test';\n";
  for (const [index, text] of Object.values(files).entries()) {
    await writeFile(paths[index] ?? '', head + text);
  }
  const [entry, costs] = [join(folder, 'groups/01.test.js'), join(folder, 'costs')];
  for (const made of ['groups', 'costs']) await mkdir(join(folder, made));
  await writeFile(entry, groupText(new URL('run-in-turn.js', RUNNER).href, paths));
  const [preloaded, reporter] = ['record-cost.js', 'reporter.js'].map((name) => new URL(name, RUNNER).href);
  // Without what tells this process that it is the child of a run.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn(
    process.execPath,
    [`--import=${preloaded}`, '--test', `--test-reporter=${reporter}`, entry],
    { env: { ...env, WRIT_TEST_COSTS: costs, WRIT_TEST_FILES: String(paths.length) } },
  );
  let said = '';
  for await (const chunk of child.stdout.setEncoding('utf8')) said += chunk;
  const code = child.exitCode ?? (await new Promise<number | null>((resolve) => child.once('exit', resolve)));
  return { code, said, costs: readCosts(costs) };
}
