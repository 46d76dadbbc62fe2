/**
 * Turns what a driver throws into what a caller may know. The SQLSTATE is kept for the log; the driver's message
 * is not, because it can quote rows and parameters. Anything unforeseen stays as it is and becomes 500 `INTERNAL`.
 */

import { WritError } from '../../errors.ts';

const SQLSTATE = /^[0-9A-Z]{5}$/;
const LOST_CONNECTION = /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_|EHOST|ENET|ENOENT)/;

interface Faults {
  /** From PostgreSQL, or undefined where the fault lies before or beside the server. */
  readonly sqlState: string | undefined;
  readonly connectionLost: boolean;
  /** The server refused the audit row, so the statement it rides in had no effect. */
  readonly auditRefused: boolean;
}

/** Looks through drizzle's wrapper. Appendix A of the PostgreSQL manual lists the classes. */
export function readFault(error: unknown): Faults {
  for (let current: unknown = error, depth = 0; current instanceof Error && depth < 4; depth += 1) {
    const code = (current as { code?: unknown }).code;
    if (typeof code === 'string' && SQLSTATE.test(code) && !LOST_CONNECTION.test(code)) {
      return { sqlState: code, connectionLost: false, auditRefused: isAuditRefusal(current, code) };
    }
    if (typeof code === 'string' && LOST_CONNECTION.test(code)) return NO_CONNECTION;
    if (
      /^(Connection terminated|Query read timeout|Client has encountered a connection error|Client was closed)/.test(
        current.message,
      )
    ) {
      return NO_CONNECTION;
    }
    current = current.cause;
  }
  return { sqlState: undefined, connectionLost: false, auditRefused: false };
}

const NO_CONNECTION: Faults = { sqlState: undefined, connectionLost: true, auditRefused: false };

/**
 * A missing right or a broken partition names the table; a trigger's RAISE (`P0001`) need not, and only the audit
 * table has triggers. The text is looked at, never passed on.
 */
function isAuditRefusal(error: Error, sqlState: string): boolean {
  const { table, where } = error as { table?: unknown; where?: unknown };
  return (
    sqlState === 'P0001' ||
    [table, where, error.message].some((text) => /audit_events/.test(String(text ?? '')))
  );
}

/** Thrown by the work of a transaction to undo it; the connection is as good as before. */
export class Rollback extends Error {
  override readonly name = 'Rollback';
}

/** `effect` decides what a connection that broke under way means. Values of `WritError` pass through. */
export function translateStorageError(error: unknown, effect: 'read' | 'write' | 'connect'): unknown {
  if (error instanceof WritError) return error;
  const { sqlState, connectionLost, auditRefused } = readFault(error);
  const detail = sqlState === undefined ? 'connection lost' : `SQLSTATE ${sqlState}`;
  if (connectionLost || sqlState?.startsWith('08') || sqlState === '40003') {
    return effect === 'write'
      ? new WritError(
          'OUTCOME_UNKNOWN',
          'The database went away while it was writing; the outcome is unknown.',
          {
            detail,
            cause: error,
            retryAfterSeconds: 1,
          },
        )
      : unavailable(error, detail);
  }
  if (sqlState === undefined) return effect === 'connect' ? unavailable(error, 'no connection') : error;
  // A server that says it is stopping, starting, read-only, out of room or out of time has done nothing.
  if (/^(57P|53|25006|57014|28|3D|58)/.test(sqlState)) return unavailable(error, detail);
  if (/^(40|55P03)/.test(sqlState)) {
    return new WritError('BUSY', 'Another request holds what this one needs; try again.', {
      detail,
      cause: error,
      retryAfterSeconds: 1,
    });
  }
  if (auditRefused && effect === 'write') {
    return new WritError('AUDIT_UNAVAILABLE', 'The audit trail cannot be written, so nothing was done.', {
      detail,
      cause: error,
      retryAfterSeconds: 5,
    });
  }
  return error;
}

function unavailable(cause: unknown, detail: string): WritError {
  return new WritError('UNAVAILABLE', 'The database does not answer; try again shortly.', {
    detail,
    cause,
    retryAfterSeconds: 2,
  });
}
