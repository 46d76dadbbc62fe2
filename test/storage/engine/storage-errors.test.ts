import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ErrorCode, WritError } from '../../../src/errors.ts';
import { describeError } from '../../../src/platform/log.ts';
import {
  ConnectionLostError,
  StorageError,
  sqlStateOf,
  translateStorageError,
} from '../../../src/storage/engine/storage-errors.ts';

const CANARY = 'parameter-canary-51c9';
type Effect = 'read' | 'write' | 'connect';

function driverError(properties: object, message = `driver says ${CANARY}`): Error {
  return Object.assign(new Error(message), properties);
}

/** What drizzle throws: its message holds the query and its parameters. */
function wrapped(cause: Error): Error {
  return new Error(`Failed query: insert into agents values ($1)\nparams: ${CANARY}`, { cause });
}

const LOST: readonly Error[] = [
  ...[
    'ECONNREFUSED',
    'ECONNRESET',
    'EPIPE',
    'ETIMEDOUT',
    'ENOTFOUND',
    'EAI_AGAIN',
    'EHOSTUNREACH',
    'ENETUNREACH',
  ].map((code) => driverError({ code })),
  new ConnectionLostError(CANARY, { cause: driverError({}, 'Connection terminated unexpectedly') }),
  ...['08000', '08003', '08006', '08P01', '08007'].map((code) => driverError({ code })),
];

const BY_STATE: readonly [sqlState: string, what: string, code: ErrorCode][] = [
  ['57P01', 'admin shutdown', 'UNAVAILABLE'],
  ['57P02', 'crash shutdown', 'UNAVAILABLE'],
  ['57P03', 'cannot connect now', 'UNAVAILABLE'],
  ['57P05', 'idle session time-out', 'UNAVAILABLE'],
  ['57014', 'statement time-out', 'UNAVAILABLE'],
  ['53100', 'disk full', 'UNAVAILABLE'],
  ['53200', 'out of memory', 'UNAVAILABLE'],
  ['53300', 'too many connections', 'UNAVAILABLE'],
  ['25006', 'read-only transaction', 'UNAVAILABLE'],
  ['28P01', 'invalid password', 'UNAVAILABLE'],
  ['28000', 'invalid authorization', 'UNAVAILABLE'],
  ['3D000', 'no such database', 'UNAVAILABLE'],
  ['58030', 'I/O error', 'UNAVAILABLE'],
  ['40001', 'serialization failure', 'BUSY'],
  ['40P01', 'deadlock', 'BUSY'],
  ['55P03', 'lock not available', 'BUSY'],
];

const OUR_BUGS = ['42501', '42P01', '42703', '22P02', '23505', '23514', '25P02', '0A000', 'XX000'];

for (const error of LOST) {
  const name = (error as { code?: string }).code ?? error.message;
  test(`${name}: a read is UNAVAILABLE, connecting is UNAVAILABLE, a write is OUTCOME_UNKNOWN`, () => {
    for (const thrown of [error, wrapped(error), wrapped(wrapped(error))]) {
      assert.equal(codeOf(thrown, 'read'), 'UNAVAILABLE');
      assert.equal(codeOf(thrown, 'connect'), 'UNAVAILABLE');
      assert.equal(codeOf(thrown, 'write'), 'OUTCOME_UNKNOWN');
    }
  });
}

for (const [sqlState, what, code] of BY_STATE) {
  test(`${sqlState} (${what}) is ${code}, with a time to come back and the SQLSTATE for the log`, () => {
    for (const effect of ['read', 'write', 'connect'] as const) {
      for (const thrown of [driverError({ code: sqlState }), wrapped(driverError({ code: sqlState }))]) {
        const error = translateStorageError(thrown, effect);
        assert.ok(error instanceof WritError);
        assert.equal(error.code, code);
        assert.equal(error.status, 503);
        assert.ok((error.retryAfterSeconds ?? 0) >= 1);
        assert.equal(error.sqlState, sqlState);
        assert.equal(sqlStateOf(error), sqlState);
        assert.equal(describeError(error).sqlState, sqlState);
      }
    }
  });
}

for (const sqlState of OUR_BUGS) {
  test(`${sqlState} stays what it is: a bug of ours, answered with a fixed sentence`, () => {
    for (const thrown of [driverError({ code: sqlState }), wrapped(driverError({ code: sqlState }))]) {
      const error = translateStorageError(thrown, 'write');
      assert.ok(error instanceof StorageError);
      assert.equal(error.cause, thrown);
      assert.equal(error.sqlState, sqlState);
      assert.equal(sqlStateOf(error), sqlState);
      assert.equal(describeError(error).sqlState, sqlState);
      assert.equal(translateStorageError(error, 'write'), error, 'translated once');
    }
  });
}

test('a write that the audit trail refuses is AUDIT_UNAVAILABLE, a read never is', () => {
  for (const fault of [
    driverError({ code: 'P0001' }),
    driverError({ code: '42501', table: 'audit_events' }),
    driverError({ code: '42501', routine: 'exec_stmt_raise' }),
    driverError({ code: '23514', table: 'audit_events' }),
    driverError({ code: '23514', table: 'audit_events_2026_02' }),
  ]) {
    assert.equal(codeOf(wrapped(fault), 'write'), 'AUDIT_UNAVAILABLE');
    assert.notEqual((translateStorageError(fault, 'read') as { code?: unknown }).code, 'AUDIT_UNAVAILABLE');
  }
});

test('nothing is decided by the words of an error', () => {
  for (const words of [
    'no partition of relation "audit_events" found for row',
    'permission denied for table audit_events',
    'Connection terminated unexpectedly',
    'Query read timeout',
    'SQLSTATE 57P01',
  ]) {
    const plain = driverError({}, words);
    assert.equal(translateStorageError(plain, 'write'), plain);
    for (const sqlState of OUR_BUGS) {
      const error = translateStorageError(driverError({ code: sqlState, where: words }, words), 'write');
      assert.ok(error instanceof StorageError, `${sqlState} ${words}`);
    }
  }
});

test('a code of the system is no SQLSTATE, though it may have five characters', () => {
  for (const code of ['EPERM', 'EBUSY', 'EISDIR', 'ERR_INVALID_ARG_TYPE']) {
    const error = driverError({ code });
    assert.equal(translateStorageError(error, 'write'), error);
  }
});

test('an unknown failure to connect is UNAVAILABLE, an unknown failure elsewhere is a bug', () => {
  const unknown = driverError({}, 'timeout exceeded when trying to connect');
  assert.equal(codeOf(unknown, 'connect'), 'UNAVAILABLE');
  assert.equal(translateStorageError(unknown, 'write'), unknown);
  assert.equal(translateStorageError('a string', 'read'), 'a string');
  assert.equal(translateStorageError(undefined, 'read'), undefined);
});

test('an error that is ours already passes through', () => {
  const ours = new WritError('BUSY', 'x');
  assert.equal(translateStorageError(ours, 'write'), ours);
});

test('a cause that is its own cause ends the search', () => {
  const circular = driverError({});
  circular.cause = circular;
  assert.equal(translateStorageError(circular, 'write'), circular);
});

test('nothing that a caller or a log line is given holds a driver’s message or a parameter', () => {
  const thrown = [
    ...LOST,
    ...BY_STATE.map(([code]) => driverError({ code })),
    ...OUR_BUGS.map((code) => driverError({ code })),
  ];
  for (const error of thrown) {
    for (const translated of [
      translateStorageError(error, 'write'),
      translateStorageError(wrapped(error), 'read'),
    ]) {
      assert.doesNotMatch(JSON.stringify(describeError(translated)), /canary|driver says|Failed query/);
      assert.doesNotMatch((translated as Error).message, /canary|driver says|Failed query/);
      if (!(translated instanceof WritError)) continue;
      const { message, publicMessage, details, members, detail } = translated;
      assert.doesNotMatch(
        JSON.stringify({ message, publicMessage, details, members, detail }),
        /canary|driver says|Failed query/,
      );
    }
  }
});

test('a parameter that looks like a stack frame is not logged as one', () => {
  const error = new Error(`Failed query\nparams: x\n    at ${CANARY} (agent.ts:1:1)`);
  assert.doesNotMatch(JSON.stringify(describeError(error)), /canary/);
});

function codeOf(thrown: unknown, effect: Effect): ErrorCode {
  const error = translateStorageError(thrown, effect);
  assert.ok(error instanceof WritError);
  return error.code;
}
