/**
 * A failed test as a person reads it: where in the sources it failed, its name with those of the tests around it, and
 * the whole error, with what was expected and what came.
 */
import { isAbsolute, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { sourceFile, sourcePosition } from './source-positions.ts';

/** Its own, which are the same under every test. */
const FRAME_OF_NODE = /^\s+at (?:.* \()?node:[\w/]+:\d+:\d+\)?$/;
const SAID_LIMIT = 4_000;

export interface NamedFailure {
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
  /** From the outermost test to this one; empty where the file as a whole failed. */
  readonly path: readonly string[];
  /** By the file, on standard error. */
  readonly said: string;
  readonly details: { readonly error: Error & { readonly failureType?: string } };
}

/** False for a test that failed only because one in it did: that one is told. */
export function isOwnFailure({ details: { error } }: NamedFailure): boolean {
  return error.failureType !== 'subtestsFailed';
}

export function failureText(failure: NamedFailure): string {
  // node:test wraps what the test threw.
  const { cause = failure.details.error } = failure.details.error;
  const isWholeFile = failure.path.length === 0;
  const lines = text(isWholeFile && failure.said !== '' ? failure.said.slice(-SAID_LIMIT) : cause)
    .split('\n')
    .filter((line) => !FRAME_OF_NODE.test(line));
  const name = isWholeFile ? 'the file as a whole' : failure.path.join(' › ');
  return `\n✖ ${failurePosition(failure, cause)}\n  ${name}\n${lines.map((line) => `    ${line}`).join('\n')}\n\n`;
}

/** Where the error was made, as far as that is in this repository; else where the test stands. */
function failurePosition({ file, line, column }: NamedFailure, cause: unknown): string {
  const stack = cause instanceof Error ? (cause.stack ?? '') : '';
  for (const [, at = '', number = ''] of stack.matchAll(/\(?((?:file:\/\/)?\/[^()\n]+?):(\d+):\d+\)?$/gm)) {
    const path = relative('.', at.startsWith('file:') ? fileURLToPath(at) : at);
    const isOurs = !path.startsWith('..') && !isAbsolute(path) && !path.startsWith('node_modules');
    if (isOurs && path.endsWith('.ts')) return `${path}:${number}`;
  }
  if (file === undefined) return 'outside every file';
  return line === undefined ? sourceFile(file) : sourcePosition(file, line, column ?? 1);
}

/** The paths of the sources from the root of the repository, so that they are short and can be followed. */
function text(cause: unknown): string {
  const whole = typeof cause === 'string' ? cause : inspect(cause, { depth: 10, breakLength: 110 });
  return whole.replaceAll(`file://${process.cwd()}/`, '').replaceAll(`${process.cwd()}/`, '');
}
