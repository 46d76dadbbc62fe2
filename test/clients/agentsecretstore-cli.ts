/**
 * Guarantees the command `ass` of `@agentsecretstore/cli`, unmodified, in an empty home folder and against the given
 * server only. Whatever it shows to a person is checked here: nothing of it is the name of a missing value.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { startNode } from '../support/processes.ts';
import { type Answer, type Ended, runOnTerminal } from './terminal.ts';

const ASS = createRequire(import.meta.url).resolve('@agentsecretstore/cli/dist/index.js');
const MISSING = /undefined|\bnull\b|NaN|\[object|Invalid Date/;

export interface Run {
  readonly code: number | null;
  readonly stdout: string;
  /** Of its progress and its errors. */
  readonly stderr: string;
}

export interface Person {
  readonly home: string;
  /** With its output piped. */
  ass(...args: string[]): Promise<Run>;
  /** At a terminal. */
  type(args: readonly string[], answers: readonly Answer[]): Promise<Ended>;
  write(file: string, text: string): Promise<void>;
  read(file: string): Promise<string>;
}

/** Someone at a prompt of their own; without `env`, only the server's address is known. */
export async function aPerson(
  t: TestContext,
  url: string,
  env: { readonly ASS_API_KEY?: string; readonly ASS_AGENT_KEY?: string } = {},
): Promise<Person> {
  const home = await mkdtemp(join(tmpdir(), 'writ-test-ass-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  const surroundings = { HOME: home, XDG_CONFIG_HOME: join(home, '.config'), ASS_API_URL: url, ...env };
  return {
    home,
    ass: async (...args) => {
      const child = await startNode(t, [ASS, ...args], { ...surroundings, NO_COLOR: '1' }, { cwd: home });
      const code = await child.ended;
      const [stdout, stderr] = [child.stdout(), child.stderr()].map(stripVTControlCharacters);
      assert.doesNotMatch(`${stderr}`, MISSING);
      if (!args.includes('--json')) assert.doesNotMatch(`${stdout}`, MISSING);
      return { code, stdout: `${stdout}`, stderr: `${stderr}` };
    },
    type: async (args, answers) => {
      const command = [process.execPath, ASS, ...args];
      const env = { PATH: process.env['PATH'], ...surroundings };
      const ended = await runOnTerminal(t, command, { env, cwd: home, answers });
      assert.doesNotMatch(ended.screen, MISSING);
      return ended;
    },
    write: (file, text) => writeFile(join(home, file), text),
    read: (file) => readFile(join(home, file), 'utf8'),
  };
}

/** It ended well and showed these, in whatever order. */
export function done({ code, stdout, stderr }: Run, ...shown: readonly RegExp[]): void {
  assert.equal(code, 0, stderr);
  for (const form of shown) assert.match(stdout, form);
}

/** It ended with 1 and showed this title, and below it this hint. */
export function failed({ code, stdout, stderr }: Run, title: string, hint: RegExp = /^/): void {
  assert.equal(code, 1, stdout);
  const [, shown = '', below = ''] = /✗ (.*)\n(?: {4}(.*)\n)?/.exec(stderr) ?? [];
  assert.equal(shown, title);
  assert.match(below, hint);
}
