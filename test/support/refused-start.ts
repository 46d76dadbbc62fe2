/**
 * Guarantees that a test sees what a start leaves in its database, and why one is refused: in this process, which
 * takes milliseconds, or in one of its own, which shows the exit code.
 */
import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import type { TestContext } from 'node:test';
import pg from 'pg';
import { serve } from '../../src/server.ts';
import { exitCodeFor, formatStartupError } from '../../src/start/exit-report.ts';
import { startNode } from './processes.ts';
import { SERVER } from './programs.ts';

export const START_ENV = { PORT: '0', LOG_LEVEL: 'silent' };

export interface RefusedStart {
  readonly code: number | null;
  /** On standard error. */
  readonly said: string;
}

/** Starts a server that is expected to end by itself. */
export async function refusedProcess(t: TestContext, env: Record<string, string>): Promise<RefusedStart> {
  const started = await startNode(t, [SERVER], { ...START_ENV, ...env });
  const code = await started.ended;
  assert.equal(started.stdout(), '');
  return { code, said: started.stderr() };
}

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;
/** A drain that is cut off would end the process of the tests. */
const NO_CUT_OFF = { SHUTDOWN_TIMEOUT_MS: '600000' };

/** What such a process would end with. Throws if it starts. */
export async function refusedStart(env: Record<string, string>): Promise<RefusedStart> {
  const { said, error } = await startHere(env);
  assert.equal(said, '');
  assert.ok(error !== undefined, 'it started');
  return { code: exitCodeFor(error), said: formatStartupError(error) };
}

/** A start that is only to have been: it serves, and ends with what it printed. Throws if it does not come so far. */
export async function startedOnce(env: Record<string, string>): Promise<string> {
  const { said, error } = await startHere(env);
  if (error !== undefined) throw error;
  assert.match(said, /listening on/);
  return said;
}

/** Until it listens or has ended. */
async function startHere(env: Record<string, string>): Promise<{ said: string; error: unknown }> {
  const listeners = SIGNALS.map((signal) => [signal, process.listeners(signal)] as const);
  let said = '';
  const stdout = new Writable({
    decodeStrings: false,
    write: (chunk: string, _encoding, done) => {
      said += chunk;
      if (said.includes('listening on')) process.emit('SIGTERM');
      done();
    },
  });
  const error = await serve({ ...START_ENV, ...NO_CUT_OFF, ...env }, stdout)
    .then(
      () => undefined,
      (reason: unknown) => reason,
    )
    .finally(() => {
      for (const [signal, before] of listeners) {
        for (const listener of process.listeners(signal)) {
          if (!before.includes(listener)) process.off(signal, listener);
        }
      }
    });
  return { said, error };
}

export async function queryDatabase(url: string, statement: string): Promise<pg.QueryResultRow[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(statement)).rows as pg.QueryResultRow[];
  } finally {
    await client.end();
  }
}
