/**
 * Turns what a driver throws into what a caller may know. The SQLSTATE is kept as a field, for decisions and the log;
 * the driver's message is not, because it can quote rows and parameters, and nothing is decided by its words.
 */

import { WritError } from '../../errors.ts';

/** Raised by the trigger `master_keys_refuse_inactive`: a seal or a wrap is under a master key that is not active. */
export const INACTIVE_MASTER_KEY = 'WK001';

/** Also thrown by a driver: errors of the system, whose codes begin with E as no SQLSTATE does. */
const SQLSTATE = /^[0-9A-DF-Z][0-9A-Z]{4}$/;
const LOST_CONNECTION = /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_|EHOST|ENET|ENOENT)/;
/** The table and its partitions. */
const AUDIT_TABLE = /^audit_events(_|$)/;

/** The connection broke, was ended, or stayed silent for too long, and the driver's error has no code that says so. */
export class ConnectionLostError extends Error {
  override readonly name = 'ConnectionLostError';
}

/** The database refused what Writ does not foresee: a bug of ours, or rights that were taken away. Becomes 500 `INTERNAL`. */
export class StorageError extends Error {
  override readonly name = 'StorageError';
  readonly sqlState: string;

  constructor(sqlState: string, options: ErrorOptions) {
    super('the database refused a statement', options);
    this.sqlState = sqlState;
  }
}

/** Thrown by the work of a transaction to undo it; the connection is as good as before. */
export class Rollback extends Error {
  override readonly name = 'Rollback';
}

/** Runs a transaction; `undone` where its work threw `Rollback`. */
export async function orUndone<Outcome, Undone extends string | boolean>(
  undone: Undone,
  transaction: () => Promise<Outcome>,
): Promise<Outcome | Undone> {
  try {
    return await transaction();
  } catch (error) {
    if (error instanceof Rollback) return undone;
    throw error;
  }
}

/** Of an error that was translated. */
export function sqlStateOf(error: unknown): string | undefined {
  return error instanceof WritError || error instanceof StorageError ? error.sqlState : undefined;
}

/** `effect` decides what a connection that broke under way means. A `WritError` passes through, and so does a bug of ours. */
export function translateStorageError(error: unknown, effect: 'read' | 'write' | 'connect'): unknown {
  if (error instanceof WritError || error instanceof StorageError) return error;
  const { sqlState, connectionLost, auditRefused } = readFault(error);
  if (connectionLost || sqlState?.startsWith('08') || sqlState === '40003') {
    return effect === 'write' ? outcomeUnknown(error, sqlState) : unavailable(error, sqlState);
  }
  if (sqlState === undefined) return effect === 'connect' ? unavailable(error, undefined) : error;
  // A server that says it is stopping, starting, read-only, out of room or out of time has done nothing.
  if (/^(57P|53|25006|57014|28|3D|58)/.test(sqlState)) return unavailable(error, sqlState);
  if (sqlState === INACTIVE_MASTER_KEY) {
    const message =
      'The master key was changed, and this process still wrote under the one before; try again.';
    return new WritError('UNAVAILABLE', message, { sqlState, cause: error, retryAfterSeconds: 1 });
  }
  if (/^(40|55P03)/.test(sqlState)) {
    return new WritError('BUSY', 'Another request holds what this one needs; try again.', {
      sqlState,
      cause: error,
      retryAfterSeconds: 1,
    });
  }
  if (auditRefused && effect === 'write') return auditUnavailable(error, sqlState);
  return new StorageError(sqlState, { cause: error });
}

/** The audit row was refused, so the statement it rides in had no effect. */
export function auditUnavailable(cause: unknown, sqlState: string): WritError {
  return new WritError('AUDIT_UNAVAILABLE', 'The audit trail cannot be written, so nothing was done.', {
    sqlState,
    cause,
    retryAfterSeconds: 5,
  });
}

function outcomeUnknown(cause: unknown, sqlState: string | undefined): WritError {
  const message = 'The database went away while it was writing; the outcome is unknown.';
  return new WritError('OUTCOME_UNKNOWN', message, { ...whyOf(sqlState), cause, retryAfterSeconds: 1 });
}

function unavailable(cause: unknown, sqlState: string | undefined): WritError {
  const message = 'The database does not answer; try again shortly.';
  return new WritError('UNAVAILABLE', message, { ...whyOf(sqlState), cause, retryAfterSeconds: 2 });
}

const whyOf = (sqlState: string | undefined) =>
  sqlState === undefined ? { detail: 'no connection' } : { sqlState };

interface Fault {
  /** From PostgreSQL, or undefined where the fault lies before or beside the server. */
  readonly sqlState: string | undefined;
  readonly connectionLost: boolean;
  readonly auditRefused: boolean;
}

/** Looks through drizzle's wrapper. Appendix A of the PostgreSQL manual lists the classes. */
function readFault(error: unknown): Fault {
  for (let current: unknown = error, depth = 0; current instanceof Error && depth < 4; depth += 1) {
    if (current instanceof ConnectionLostError) return NO_CONNECTION;
    const { code } = current as { code?: unknown };
    if (typeof code === 'string') {
      if (SQLSTATE.test(code)) {
        return { sqlState: code, connectionLost: false, auditRefused: isAuditRefusal(current, code) };
      }
      if (LOST_CONNECTION.test(code)) return NO_CONNECTION;
    }
    current = current.cause;
  }
  return { sqlState: undefined, connectionLost: false, auditRefused: false };
}

const NO_CONNECTION: Fault = { sqlState: undefined, connectionLost: true, auditRefused: false };

/** A row that the table or a partition refuses names it. RAISE of a trigger need not, and only the audit table has triggers that are not told by their SQLSTATE before. */
function isAuditRefusal(error: Error, sqlState: string): boolean {
  const { table, routine } = error as { table?: unknown; routine?: unknown };
  const isRaised = sqlState === 'P0001' || routine === 'exec_stmt_raise';
  return isRaised || (typeof table === 'string' && AUDIT_TABLE.test(table));
}
