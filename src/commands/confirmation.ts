/** Asks the person at the terminal for a yes. No terminal is a no, and so is closing it (Ctrl-C, Ctrl-D). */

import { createInterface } from 'node:readline/promises';
import type { CommandIo } from './command.ts';

export async function confirm({ stdin, stderr }: CommandIo, question: string): Promise<boolean> {
  if (stdin.isTTY !== true) return false;
  const terminal = createInterface({ input: stdin, output: stderr });
  // The answer to a question may stay open for ever when the terminal closes.
  const closed = new Promise<string>((resolve) => terminal.once('close', () => resolve('')));
  try {
    const answer = terminal.question(question).catch(() => '');
    return /^y(es)?$/i.test((await Promise.race([answer, closed])).trim());
  } finally {
    terminal.close();
  }
}
