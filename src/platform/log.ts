/**
 * The log: JSON lines by pino, made of named fields only. No header, body, query or error message of a driver is
 * ever passed to it; of an error it keeps class, code and where in our code it arose.
 */

import { pino } from 'pino';
import { WritError } from '../errors.ts';

export type Log = pino.Logger;

export function createLog(options: {
  readonly level: pino.LevelWithSilent;
  readonly formatTimestamp: (at: Date) => string;
}): Log {
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: () => `,"time":"${options.formatTimestamp(new Date())}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError },
    },
    // A person at a terminal reads along; elsewhere lines are written in batches, at most a second late.
    process.stdout.isTTY ? pino.destination({ sync: true }) : batches(),
  );
}

type Batches = pino.DestinationStream & { flush(done?: (error?: Error) => void): void };

/**
 * Every write wakes the thread pool: at 4 KiB that was 4 to 7 % of issuing. Lines wait as bytes, because a text that
 * waits is measured whole for each further line: 10 of the 15 µs that a line cost.
 */
function batches(): Batches {
  const destination = pino.destination({
    sync: false,
    contentMode: 'buffer',
    minLength: 65_536,
    maxWrite: 131_072,
    periodicFlush: 1000,
  });
  // In this mode it takes bytes; its types do not say so.
  const bytes = destination as unknown as { write(line: Uint8Array): void };
  return {
    write: (line) => bytes.write(Buffer.from(line)),
    flush: (done) => destination.flush(done),
  };
}

export interface LoggedError {
  readonly type: string;
  readonly code?: string;
  /** Of what the database refused. */
  readonly sqlState?: string;
  readonly detail?: string;
  /** Stack frames without the message above them, which may quote what a caller sent. */
  readonly at: readonly string[];
  readonly cause?: LoggedError;
}

/** Allow-list: never the message of an error that is not ours. */
export function describeError(error: unknown, depth = 0): LoggedError {
  if (!(error instanceof Error)) return { type: typeof error, at: [] };
  const { code, sqlState } = error as { code?: unknown; sqlState?: unknown };
  const detail = error instanceof WritError ? (error.detail ?? error.publicMessage) : undefined;
  return {
    type: error.constructor.name,
    ...(typeof code === 'string' && /^[\w-]{1,64}$/.test(code) ? { code } : {}),
    ...(typeof sqlState === 'string' ? { sqlState } : {}),
    ...(detail === undefined ? {} : { detail }),
    at: framesOf(error),
    ...(error.cause !== undefined && depth < 3 ? { cause: describeError(error.cause, depth + 1) } : {}),
  };
}

function framesOf(error: Error): string[] {
  const stack = error.stack ?? '';
  const message = stack.indexOf(error.message);
  // Without knowing where the message ends, a line of it could pass for a frame.
  if (message === -1) return [];
  const lines = stack.slice(message + error.message.length).split('\n');
  return lines
    .filter((line) => /^ {4}at /.test(line))
    .slice(0, 8)
    .map((line) => line.slice(7));
}
