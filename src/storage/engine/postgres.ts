/**
 * `Database` over a Postgres server. Every connection has its settings from its first statement on, and an error
 * listener, without which an idle disconnect would end the process. Transaction poolers are not supported.
 */

import { DrizzleQueryError } from 'drizzle-orm/errors';
import { drizzle } from 'drizzle-orm/node-postgres';
import { migrate } from 'drizzle-orm/node-postgres/migrator';
import pg from 'pg';
import { WritError } from '../../errors.ts';
import type { Database, DatabaseOptions, DatabaseTimeouts, Orm, Session, Statement } from './database.ts';
import { BEGIN_EPOCH, HISTORY, historyIn } from './history.ts';
import { createMemories } from './memories.ts';
import { MIGRATIONS } from './migrations.ts';
import { MEANING, PIN_DURABILITY, sessionSettings } from './session-settings.ts';
import { createSockets, probePostgres, watchSilence } from './silence.ts';
import {
  auditUnavailable,
  ConnectionLostError,
  INACTIVE_MASTER_KEY,
  Rollback,
  sqlStateOf,
  translateStorageError,
} from './storage-errors.ts';

const START_LOCK_KEY = 0x57524954; // "WRIT"
const START_LOCK_WAIT_MS = 60_000;
const MISSING_RIGHT = '42501';
const UNDEFINED_FUNCTION = '42883';
const TIMEOUTS: DatabaseTimeouts = {
  connectMs: 1500,
  statementMs: 2000,
  lockMs: 250,
  idleInTransactionMs: 5000,
  silenceMs: 4000,
};

export async function openPostgres(options: DatabaseOptions & { databaseUrl: string }): Promise<Database> {
  const { timeouts = TIMEOUTS } = options;
  const durability = options.acceptUnsafeDurability === true ? [] : [PIN_DURABILITY];
  const settings = [...sessionSettings(timeouts), ...durability].join('; ');
  const memories = createMemories();
  const keyListeners: (() => void)[] = [];
  let history: string | undefined;
  const sockets = createSockets();
  const pool = new pg.Pool({
    connectionString: options.databaseUrl,
    stream: sockets.open,
    max: options.poolMax,
    connectionTimeoutMillis: timeouts.connectMs,
    // A server that falls silent enforces no time-out of its own.
    query_timeout: timeouts.silenceMs,
    application_name: 'writ',
    onConnect: async (client) => {
      const found = historyIn(await client.query(`${settings}; ${HISTORY}`));
      if (history === found) return;
      // Before this connection is used, and also where the last one ended without a sign.
      if (history !== undefined) {
        memories.forgetAll('another history');
        options.onOtherHistory?.();
      }
      // No event is written there before its epoch has begun. A standby, which takes no writes, is refused here.
      await client.query(BEGIN_EPOCH.text).catch(unlessNotMigrated);
      history = found;
    },
  });
  pool.on('error', (error) => {
    memories.forgetAll('a connection was lost');
    options.onIdleError?.(error);
  });
  // A connection in use reports its loss through the failing query; the listener only keeps the process alive.
  pool.on('connect', (client) => void client.on('error', () => {}));

  const silence = watchSilence({
    isAsked: () => pool.totalCount > pool.idleCount,
    heardBytes: sockets.bytesRead,
    probe: () => probePostgres(options.databaseUrl),
    giveUp: sockets.destroyAll,
  });

  async function withClient<T>(
    effect: Statement['effect'],
    work: (client: pg.PoolClient) => Promise<T>,
  ): Promise<T> {
    if (silence.isSilent) throw translateStorageError(connectionLost(undefined), 'connect');
    const client = await pool.connect().catch((error: unknown) => {
      throw translateStorageError(error, 'connect');
    });
    let broken = true;
    try {
      const result = await work(client);
      broken = false;
      return result;
    } catch (error) {
      broken = !(error instanceof WritError || error instanceof Rollback) && !isServerError(error);
      const translated = translateStorageError(error, effect);
      if (sqlStateOf(translated) === INACTIVE_MASTER_KEY) for (const listener of keyListeners) listener();
      if (effect === 'write' && sqlStateOf(translated) === MISSING_RIGHT && !(await mayRecord(client))) {
        throw auditUnavailable(error, MISSING_RIGHT);
      }
      throw translated;
    } finally {
      if (broken) memories.forgetAll('a connection was lost');
      client.release(broken);
    }
  }

  return {
    kind: 'postgres',
    memories,
    onInactiveKey: (listener) => void keyListeners.push(listener),
    query: (statement, values) =>
      withClient(statement.effect, (client) => sessionOn(client).query(statement, values)),
    orm: (effect, work) => withClient(effect, (client) => sessionOn(client).orm(effect, work)),
    transaction: (work) =>
      withClient('write', async (client) => {
        await queryOn(client, 'begin');
        try {
          const result = await work(sessionOn(client));
          await queryOn(client, 'commit');
          return result;
        } catch (error) {
          await client.query('rollback').catch(() => {});
          throw error;
        }
      }),
    exclusively: (work) =>
      exclusively(
        options.databaseUrl,
        [...MEANING, 'set statement_timeout = 0', 'set lock_timeout = 0', ...durability].join('; '),
        work,
      ),
    poolUse: () => ({
      busy: pool.totalCount - pool.idleCount,
      idle: pool.idleCount,
      waiting: pool.waitingCount,
    }),
    close: () => {
      silence.close();
      return pool.end();
    },
  };
}

/** Holds one advisory lock on a connection of its own, whose time-outs are off: a migration may take long. */
async function exclusively<T>(
  databaseUrl: string,
  settings: string,
  work: (migrate: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: 10_000,
    application_name: 'writ start',
  });
  client.on('error', () => {});
  let timer: NodeJS.Timeout | undefined;
  try {
    await client.connect().catch((error: unknown) => {
      throw translateStorageError(error, 'connect');
    });
    await client.query(settings);
    const waitedTooLong = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () =>
          reject(new WritError('UNAVAILABLE', 'Another process has been starting or migrating for 60 s.')),
        START_LOCK_WAIT_MS,
      );
    });
    await Promise.race([client.query('select pg_advisory_lock($1)', [START_LOCK_KEY]), waitedTooLong]);
    clearTimeout(timer);
    const run = () =>
      migrate(drizzle(client), MIGRATIONS).catch((error: unknown) => {
        throw translateStorageError(error, 'write');
      });
    return await work(run);
  } finally {
    clearTimeout(timer);
    await client.end().catch(() => {});
  }
}

function sessionOn(client: pg.PoolClient): Session {
  return {
    query: async <Row extends object>(statement: Statement, values: readonly unknown[]): Promise<Row[]> => {
      const config = { name: statement.name, text: statement.text, values: values as unknown[] };
      return (await queryOn<Row>(client, config)).rows;
    },
    orm: async (_effect, work) => {
      try {
        return await work(drizzle(client) as unknown as Orm);
      } catch (error) {
        throw error instanceof DrizzleQueryError && isPlain(error.cause) ? connectionLost(error) : error;
      }
    },
  };
}

async function queryOn<Row extends object>(
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
function isServerError(error: unknown): boolean {
  for (let current = error; current instanceof Error; current = current.cause) {
    if (current instanceof pg.DatabaseError) return current.severity !== 'FATAL';
  }
  return false;
}

/** Before the first migration there are no epochs, and no events: the start begins one after it. */
function unlessNotMigrated(error: unknown): void {
  if (!(error instanceof pg.DatabaseError && error.code === UNDEFINED_FUNCTION)) throw error;
}

/** The server names the table of a missing right in words only, so it is asked about the one that matters. */
async function mayRecord(client: pg.PoolClient): Promise<boolean> {
  const text = `select has_any_column_privilege(to_regclass('audit_events'), 'insert') as granted`;
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
