/**
 * Guarantees a program a terminal, and answers its prompts as a person would: each answer is typed once its prompt is
 * on the screen, and no sooner. The terminal is the one that Python's standard library makes; Node has none.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { stripVTControlCharacters } from 'node:util';

/** By its own path: `python3` is often a script that looks for it, which costs twice what it finds. */
const found = spawnSync('python3', ['-c', 'import pty, sys; print(sys.executable)'], { encoding: 'utf8' });

/** `false`, or why there is no terminal: for `test(name, { skip: terminalSkip }, …)`. */
export const terminalSkip: string | false = found.status === 0 ? false : 'python3 is not installed';

const PYTHON = `
import os, pty, sys
status = pty.spawn(sys.argv[1:])
sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 255)
`;
/** Wide enough that nothing a test looks for is broken into lines. */
const SIZE = 'stty rows 50 cols 200';

export const KEYS = {
  enter: '\r',
  down: '\u001b[B',
  up: '\u001b[A',
  space: ' ',
  interrupt: '\u0003',
} as const;

/** A text on the screen, and what is typed when it is there. */
export type Answer = readonly [prompt: string, typed: string];

export interface Ended {
  /** Null if a signal ended it. */
  readonly code: number | null;
  /** What is on the screen, in the order in which it came, without colours and cursor movements. */
  readonly screen: string;
}

/** Throws if the program ends before every prompt was there. */
export async function runOnTerminal(
  t: TestContext,
  command: readonly string[],
  options: { readonly env: NodeJS.ProcessEnv; readonly cwd: string; readonly answers: readonly Answer[] },
): Promise<Ended> {
  const args = ['-c', PYTHON, 'sh', '-c', `${SIZE}; exec "$@"`, 'sh', ...command];
  const child = spawn(found.stdout.trim(), args, {
    cwd: options.cwd,
    env: { ...options.env, TERM: 'xterm' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  // Without its terminal the program ends, too.
  t.after(() => child.kill('SIGKILL'));
  const unanswered = [...options.answers];
  let shown = '';
  let answeredUpTo = 0;
  child.stdin.on('error', () => undefined); // It may end before it has read all.
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
    const screen = plain(shown);
    const [prompt, typed] = unanswered[0] ?? [];
    const at = prompt === undefined ? -1 : screen.indexOf(prompt, answeredUpTo);
    if (prompt === undefined || typed === undefined || at === -1) return;
    unanswered.shift();
    answeredUpTo = at + prompt.length;
    child.stdin.write(typed);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  const screen = plain(shown);
  assert.deepEqual(unanswered, [], `it ended before it asked:\n${screen}`);
  return { code, screen };
}

function plain(shown: string): string {
  return stripVTControlCharacters(shown).replaceAll('\r\n', '\n').replaceAll('\r', '\n');
}
