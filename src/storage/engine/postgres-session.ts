/**
 * One connection of the driver as a `Session`. An error of the driver that has no code becomes a `ConnectionLostError`
 * here, because only here is it known to be the driver's.
 */

import { DrizzleQueryError } from 'drizzle-orm/errors';
import { drizzle } from 'drizzle-orm/node-postgres';
import pg from 'pg';
import * as schema from '../schema.ts';
import type { Orm, Session, Statement } from './database.ts';
import { ConnectionLostError } from './storage-errors.ts';

export function sessionOn(client: pg.PoolClient): Session {
  return {
    query: async <Row extends object>(statement: Statement, values: readonly unknown[]): Promise<Row[]> => {
      const config = { name: statement.name, text: statement.text, values: values as unknown[] };
      return (await queryOn<Row>(client, config)).rows;
    },
    orm: async (_effect, work) => {
      try {
        return await work(drizzle(client, { schema }) as unknown as Orm);
      } catch (error) {
        throw error instanceof DrizzleQueryError && isPlain(error.cause) ? connectionLost(error) : error;
      }
    },
  };
}

export async function queryOn<Row extends object>(
  client: pg.PoolClient,
  query: string | pg.QueryConfig,
): Promise<pg.QueryResult<Row>> {
  try {
    return await client.query<Row>(query);
  } catch (error) {
    throw isPlain(error) ? connectionLost(error) : error;
  }
}

/** The statement or the server refused, but the connection is still good. */
export function isServerError(error: unknown): boolean {
  for (let current = error; current instanceof Error; current = current.cause) {
    if (current instanceof pg.DatabaseError) return current.severity !== 'FATAL';
  }
  return false;
}

/** The server names the table of a missing right in words only, so it is asked about the one that matters. */
export async function mayRecord(client: pg.PoolClient): Promise<boolean> {
  const text = `select has_table_privilege(to_regclass('audit_events'), 'insert') as granted`;
  const rows = await client.query<{ granted: boolean | null }>(text).then(
    (result) => result.rows,
    () => [],
  );
  return rows[0]?.granted !== false;
}

/**
 * What the server refuses is a `DatabaseError`, and what the system refuses has a code. An error of neither kind is how
 * the driver says that the connection broke, was ended, or stayed silent for too long.
 */
const isPlain = (error: unknown): boolean =>
  error instanceof Error && error.constructor === Error && !('code' in error);

const connectionLost = (cause: unknown): ConnectionLostError =>
  new ConnectionLostError('the connection to the database was lost', { cause });
