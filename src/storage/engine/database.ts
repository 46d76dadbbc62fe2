/**
 * One code path over two databases: a Postgres server (`DATABASE_URL`) or the embedded one in a folder.
 * This file alone knows which it is; everything else sees `Database`.
 */

import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core';
import type { Memories } from '../../use-cases/ports.ts';

/** A named, prepared statement. `effect` says what a lost connection means: a failed read, or an unknown outcome. */
export interface Statement {
  readonly name: string;
  readonly text: string;
  readonly effect: 'read' | 'write';
}

export type Orm = PgDatabase<PgQueryResultHKT>;

/** What runs statements: the database itself, or one transaction on it. Throws `WritError` or a plain bug. */
export interface Session {
  query<Row extends object>(statement: Statement, values: readonly unknown[]): Promise<Row[]>;
  /** For queries that need no name. */
  orm<T>(effect: Statement['effect'], work: (orm: Orm) => Promise<T>): Promise<T>;
}

export interface DatabaseOptions {
  /** Undefined: the embedded database in `dataDir`. */
  readonly databaseUrl: string | undefined;
  readonly dataDir: string;
  readonly poolMax: number;
  /** Of a Postgres server: leaves `synchronous_commit` as role, database or server have it. Default: it is pinned. */
  readonly acceptUnsafeDurability?: boolean;
  /** Told about connections that fail while idle; they are replaced by themselves. */
  readonly onIdleError?: (error: Error) => void;
  /** Told when a new connection finds another history: another server, a restored one, or the same after a restart. */
  readonly onOtherHistory?: () => void;
  /** Of a Postgres server. Default: those that docs/architecture.md gives. */
  readonly timeouts?: DatabaseTimeouts;
}

export interface DatabaseTimeouts {
  readonly connectMs: number;
  readonly statementMs: number;
  readonly lockMs: number;
  readonly idleInTransactionMs: number;
  /** Above the one of statements, which a live server answers first. */
  readonly silenceMs: number;
}

export interface Database extends Session {
  readonly kind: 'postgres' | 'embedded';
  /** Of this process: dropped when a connection was lost, and when a new one finds another history. */
  readonly memories: Memories;
  /** `listener` is called after each write that was refused as one under a master key that is not active. */
  onInactiveKey(listener: () => void): void;
  /** Commits when `work` fulfils, rolls back when it rejects. */
  transaction<T>(work: (session: Session) => Promise<T>): Promise<T>;
  /**
   * Runs `work` while no other process of this database does, without statement time-outs: migrations and what a
   * start provisions. Waits at most 60 s, then rejects with `UNAVAILABLE`.
   */
  exclusively<T>(work: (migrate: () => Promise<void>) => Promise<T>): Promise<T>;
  /** Undefined where there is no pool. */
  poolUse(): PoolUse | undefined;
  close(): Promise<void>;
}

/** Of the connections of this process. */
export interface PoolUse {
  readonly busy: number;
  readonly idle: number;
  /** Statements that wait for one. */
  readonly waiting: number;
}
