/**
 * What a run prints. While it runs: one line for each file that is done, and each failure where it comes. At the end:
 * the slowest files, the files over the budget, every failure again, and then the counts as `node --test` words them.
 */
import { isAbsolute, resolve } from 'node:path';
import type { TestEvent } from 'node:test/reporters';
import { budgetText, slowestText } from './cost-text.ts';
import { failureText, isOwnFailure, type NamedFailure } from './failure-text.ts';
import { readCosts } from './file-costs.ts';
import { isGroupEntry } from './file-groups.ts';
import { sourceFile } from './source-positions.ts';

/** One file is run to look at it: its tests are named. */
const NAMED_UP_TO_FILES = 1;

/** The counts of the run as a whole, which `node --test` gives as messages without a file. */
const COUNT = /^(?:tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) /;

type FileEvent = Extract<TestEvent, { type: 'test:start' | 'test:complete' | 'test:fail' }>['data'];

// biome-ignore lint/style/noDefaultExport: node:test loads a reporter by its default export.
export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const failures: string[] = [];
  const counts: string[] = [];
  const names: string[] = [];
  const saidByFile = new Map<string, string>();
  const files = Number(process.env['WRIT_TEST_FILES']);
  let done = 0;
  for await (const { type, data } of events) {
    if (type === 'test:complete' && isFile(data)) {
      done += 1;
      yield fileLine(data, `${done} of ${files}`);
    } else if (type === 'test:start') names.splice(data.nesting, names.length, data.name);
    else if (type === 'test:pass' && files <= NAMED_UP_TO_FILES) yield passLine(data);
    else if (type === 'test:fail') {
      const said = saidByFile.get(data.file ?? '') ?? '';
      const failure: NamedFailure = {
        ...placeOf(data),
        path: pathOf(data, names),
        said,
        details: data.details,
      };
      if (!isOwnFailure(failure)) continue;
      const text = failureText(failure);
      failures.push(text);
      yield text;
    } else if (type === 'test:stdout') yield data.message;
    else if (type === 'test:stderr') {
      saidByFile.set(data.file, `${saidByFile.get(data.file) ?? ''}${data.message}`);
      yield data.message;
    } else if (type === 'test:diagnostic') {
      if (COUNT.test(data.message) && data.file === undefined) counts.push(`ℹ ${data.message}\n`);
      else yield `ℹ ${data.file === undefined ? '' : `${sourceFile(data.file)}: `}${data.message}\n`;
    }
  }
  const costs = readCosts(process.env['WRIT_TEST_COSTS'] ?? '');
  yield slowestText(costs);
  yield budgetText(costs, Number(process.env['WRIT_TEST_BUDGET_SECONDS']));
  if (failures.length > 0) yield `\n${failures.length} failures, again:\n${failures.join('')}`;
  yield `\n${counts.join('')}`;
}

/** A file is a process of its own, or one suite of a process that runs several in turn; its name is its path. */
function isFile(data: FileEvent): boolean {
  return isProcess(data) ? !isGroupEntry(data.name) : data.nesting === 0 && isTestFile(data.name);
}

function isProcess({ nesting, name, file }: FileEvent): boolean {
  return nesting === 0 && file !== undefined && resolve(name) === file;
}

function isTestFile(name: string): boolean {
  return isAbsolute(name) && name.endsWith('.test.js');
}

/** The suite of a file stands in the runner, and its name says whose it is. */
function placeOf(data: FileEvent): Pick<NamedFailure, 'file' | 'line' | 'column'> {
  return isFile(data) ? { file: resolve(data.name) } : data;
}

/** Without the file, which is told apart; empty for a file or a process as a whole. */
function pathOf(data: FileEvent, names: readonly string[]): string[] {
  if (isFile(data) || isProcess(data)) return [];
  const path = [...names.slice(0, data.nesting), data.name];
  return isTestFile(path[0] ?? '') ? path.slice(1) : path;
}

function fileLine(
  { name, details }: Extract<TestEvent, { type: 'test:complete' }>['data'],
  count: string,
): string {
  const mark = details.passed ? '✔' : '✖';
  return `${mark} ${sourceFile(resolve(name))} (${seconds(details.duration_ms)}, ${count})\n`;
}

function passLine({
  nesting,
  name,
  details,
  skip,
}: Extract<TestEvent, { type: 'test:pass' }>['data']): string {
  const indent = '  '.repeat(nesting + 1);
  const why = skip === undefined ? '' : ` # ${skip === true ? 'skipped' : skip}`;
  return `${indent}${why === '' ? '✔' : '﹣'} ${name} (${seconds(details.duration_ms)})${why}\n`;
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(milliseconds < 100 ? 3 : 1)} s`;
}
