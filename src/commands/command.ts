/** What a command of `writ` is given and how it answers, so that it can be run in a process of its own or in a test. */

import type { Command } from 'commander';
import type { RequestContext } from '../use-cases/audit/ports.ts';
import { escapeControlCharacters } from './terminal-text.ts';

export interface CommandIo {
  readonly env: NodeJS.ProcessEnv;
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
}

export interface CommandContext extends CommandIo {
  /** For a command that has done what it was asked and found a "no". Without it, the exit code is 0. */
  exitWith(code: number): void;
}

/** Adds one command, with its arguments, options and help, to the program. */
export type DeclareCommand = (program: Command, context: CommandContext) => void;

/** The command line itself is wrong. The message completes "writ key create: …". */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Of the events that a command leaves. */
export const AT_THE_COMMAND_LINE: RequestContext = { requestId: 'command-line', ipAddress: null };

export const JSON_FLAG = ['--json', 'print one JSON document'] as const;

/** Standard output for people, or one JSON document with `--json`. */
export function print(
  { stdout }: CommandIo,
  answer: { readonly json: boolean | undefined; readonly value: object; readonly people: string },
): void {
  const document = () => escapeControlCharacters(JSON.stringify(answer.value));
  stdout.write(`${answer.json === true ? document() : answer.people}\n`);
}
