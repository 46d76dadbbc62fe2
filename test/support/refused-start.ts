/** Guarantees that a test sees why a server does not start, and what that left in its database. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import pg from 'pg';
import { startNode } from './processes.ts';
import { SERVER } from './programs.ts';

export const START_ENV = { PORT: '0', LOG_LEVEL: 'silent' };

/** Starts a server that is expected to end by itself. */
export async function refusedStart(
  t: TestContext,
  env: Record<string, string>,
): Promise<{ code: number | null; said: string }> {
  const started = await startNode(t, [SERVER], { ...START_ENV, ...env });
  const code = await started.ended;
  assert.equal(started.stdout(), '');
  return { code, said: started.stderr() };
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
