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
/** A frame of the runner says nothing of the test. */
const NOT_OURS = /^(?:\.\.|node_modules|test\/support\/runner)(?:\/|$)/;

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

/** The test's own line, as far as the error came from one; else the line of this repository that made it. */
function failurePosition({ file, line, column }: NamedFailure, cause: unknown): string {
  const frames = framesOf(cause instanceof Error ? (cause.stack ?? '') : '');
  const frame = frames.find((candidate) => candidate.includes('.test.ts:')) ?? frames[0];
  if (frame !== undefined) return frame;
  if (file === undefined) return 'outside every file';
  return line === undefined ? sourceFile(file) : sourcePosition(file, line, column ?? 1);
}

/** `path:line` of those that are TypeScript of this repository, the innermost first. */
function framesOf(stack: string): string[] {
  return [...stack.matchAll(/\(?((?:file:\/\/)?\/[^()\n]+?\.ts):(\d+):\d+\)?$/gm)].flatMap(
    ([, at = '', number = '']) => {
      const path = relative('.', at.startsWith('file:') ? fileURLToPath(at) : at);
      const isOurs = !NOT_OURS.test(path) && !isAbsolute(path);
      return isOurs ? [`${path}:${number}`] : [];
    },
  );
}

/** The paths of the sources from the root of the repository, so that they are short and can be followed. */
function text(cause: unknown): string {
  const whole = typeof cause === 'string' ? cause : inspect(cause, { depth: 10, breakLength: 110 });
  return whole.replaceAll(`file://${process.cwd()}/`, '').replaceAll(`${process.cwd()}/`, '');
}
