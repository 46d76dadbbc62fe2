/** `GET /v1/audit` and its export (contract section 8). */

import Type, { type Static } from 'typebox';
import { FIRST_INSTANT_MS, LAST_INSTANT_MS } from '../../domain/formats/rfc3339.ts';
import { UUID_PATTERN } from '../../domain/formats/uuid.ts';
import { WritError } from '../../errors.ts';
import type {
  AuditFilter,
  AuditHorizon,
  AuditPosition,
  RecordedAuditEvent,
} from '../../use-cases/audit/ports.ts';
import type { AuditTrailReading } from '../../use-cases/audit/read-audit-trail.ts';
import { decodeCursor, invalidCursor, writeCursor } from '../routing/pagination.ts';
import type { Routes } from '../routing/route.ts';
import { freeObject, instant, nullable, oneOf, strictObject, text, uuid } from '../routing/schemas.ts';

const Event = strictObject({
  id: uuid(),
  event_type: Type.String(),
  actor_id: Type.String({ description: 'never null: else `anonymous` or `system`' }),
  actor_type: Type.String(),
  resource_type: Type.String(),
  resource_id: Type.String(),
  metadata: freeObject('what else is known; never a value, key or token'),
  ip_address: nullable(Type.String()),
  request_id: nullable(Type.String()),
  created_at: instant(),
});

const filters = {
  event_type: Type.Optional(text({ min: 1, max: 64 })),
  actor_id: Type.Optional(text({ min: 1, max: 256 })),
  resource_type: Type.Optional(text({ min: 1, max: 64 })),
  resource_id: Type.Optional(text({ min: 1, max: 600 })),
  since: Type.Optional(instant('inclusive')),
  until: Type.Optional(instant('exclusive')),
};
const FilterQuery = strictObject(filters);

const DEFAULT_LIMIT = 50;
const MICROSECOND = '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{6}Z';
const POSITION = new RegExp(`^${MICROSECOND} ${UUID_PATTERN}$`);
const HORIZON = new RegExp(`^${MICROSECOND} [1-9]\\d{0,17}:[1-9]\\d{0,17}:(\\d{1,18}(,\\d{1,18})*)?$`);
/** Of a horizon: it grows with the transactions that run beside the export. */
const MAX_HORIZON_CURSOR = 8000;
const COLUMNS = [
  'id',
  'event_type',
  'actor_id',
  'actor_type',
  'resource_type',
  'resource_id',
  'metadata',
  'ip_address',
  'request_id',
  'created_at',
] as const;

const READING = {
  tag: 'audit',
  roles: ['admin', 'approver'],
  keyCheck: 'before-handler',
  method: 'GET',
} as const;

export interface AuditRouteDeps {
  readonly trail: AuditTrailReading;
  /** RFC 4180 lines, safe against formulas. */
  readonly writeCsv: (rows: readonly (readonly string[])[]) => string;
  /** An export broke off: its answer had begun, so nobody else can be told. */
  readonly onBrokenOff: (error: unknown) => void;
}

export function addAuditRoutes(routes: Routes, { trail, writeCsv, onBrokenOff }: AuditRouteDeps): void {
  routes.authenticated({
    ...READING,
    url: '/v1/audit',
    summary: 'The audit trail, newest first',
    query: strictObject({
      ...filters,
      limit: Type.Optional(
        Type.String({ pattern: '^([1-9][0-9]?|1[0-9]{2}|200)$', description: '1 to 200, 50 where absent' }),
      ),
      page: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,5}$', description: 'from 1 on' })),
      cursor: Type.Optional(
        Type.String({ minLength: 1, maxLength: 512, description: '`next_cursor` of the answer before' }),
      ),
    }),
    answers: {
      200: strictObject({
        events: Type.Array(Event),
        total: Type.Integer({ description: 'exact to 10,000' }),
        total_exact: Type.Boolean(),
        page: Type.Integer(),
        limit: Type.Integer(),
        next_cursor: nullable(Type.String()),
      }),
    },
    handle: async ({ query }) => {
      if (query.page !== undefined && query.cursor !== undefined) {
        throw new WritError('VALIDATION_ERROR', 'The query names a page and a cursor: give one of them.', {
          details: { pointer: '/cursor' },
        });
      }
      const limit = query.limit === undefined ? DEFAULT_LIMIT : Number(query.limit);
      const page = query.page === undefined ? 1 : Number(query.page);
      const before = positionOf(decodeCursor(query.cursor, POSITION));
      const found = await trail.page({ filter: filterOf(query), limit, page, before });
      const next = found.next && `${found.next.createdAt} ${found.next.id}`;
      const body = {
        events: found.events,
        total: found.total,
        total_exact: found.totalIsExact,
        page,
        limit,
        next_cursor: writeCursor(next),
      };
      return { status: 200, body };
    },
  });

  routes.authenticated({
    ...READING,
    url: '/v1/audit/export',
    summary: 'The whole trail, oldest first, as JSON lines or CSV',
    description:
      'Every event that was committed when it began; one that commits later is in the next export, although it may lie before others of this one. The header `X-Next-Cursor` is the `cursor` with which the next export goes on.',
    query: strictObject({
      ...filters,
      format: oneOf(['jsonl', 'csv']),
      cursor: Type.Optional(Type.String({ minLength: 1, maxLength: MAX_HORIZON_CURSOR })),
    }),
    mediaTypes: ['application/x-ndjson', 'text/csv'],
    answerHeaders: {
      'X-Next-Cursor': Type.String({ description: 'the `cursor` with which the next export goes on' }),
      'Content-Disposition': Type.String(),
    },
    answers: { 200: Type.String() },
    handle: async ({ query }) => {
      const from = horizonOf(decodeCursor(query.cursor, HORIZON));
      const { horizon, batches } = await trail.export(filterOf(query), from);
      const write = query.format === 'csv' ? csvOf(writeCsv) : jsonLinesOf;
      return {
        status: 200,
        headers: {
          'content-type':
            query.format === 'csv' ? 'text/csv; charset=utf-8; header=present' : 'application/x-ndjson',
          'content-disposition': `attachment; filename="audit.${query.format}"`,
          'x-next-cursor': writeCursor(`${horizon.at} ${horizon.snapshot}`) ?? '',
        },
        body: ReadableStream.from(reported(write(batches), onBrokenOff)),
      };
    },
  });
}

async function* reported(
  texts: AsyncIterable<string>,
  onBrokenOff: AuditRouteDeps['onBrokenOff'],
): AsyncGenerator<string> {
  let begun = false;
  try {
    for await (const text of texts) {
      begun = true;
      yield text;
    }
  } catch (error) {
    if (begun) onBrokenOff(error);
    throw error;
  }
}

async function* jsonLinesOf(batches: AsyncIterable<readonly RecordedAuditEvent[]>): AsyncGenerator<string> {
  for await (const events of batches) yield events.map((event) => `${JSON.stringify(event)}\n`).join('');
}

function csvOf(writeCsv: AuditRouteDeps['writeCsv']) {
  return async function* (batches: AsyncIterable<readonly RecordedAuditEvent[]>): AsyncGenerator<string> {
    let head: readonly (readonly string[])[] = [COLUMNS];
    // With the first batch: an answer that has begun can no longer say that reading failed.
    for await (const events of batches) {
      yield writeCsv([...head, ...events.map(cellsOf)]);
      head = [];
    }
    if (head.length > 0) yield writeCsv(head);
  };
}

function cellsOf(event: RecordedAuditEvent): readonly string[] {
  return COLUMNS.map((column) => {
    const value = event[column];
    return typeof value === 'object' && value !== null ? JSON.stringify(value) : (value ?? '');
  });
}

function filterOf(query: Static<typeof FilterQuery>): AuditFilter {
  return {
    eventType: query.event_type,
    actorId: query.actor_id,
    resourceType: query.resource_type,
    resourceId: query.resource_id,
    since: exactly(query.since, '/since'),
    until: exactly(query.until, '/until'),
  };
}

/**
 * In UTC, to the microsecond, which `Date` does not hold; offsets are whole minutes, so the fraction stays. Rounded up:
 * of events, which stand at whole microseconds, the same ones are before it.
 */
function exactly(text: string | undefined, pointer: string): string | undefined {
  const moment = momentOf(text, pointer);
  if (text === undefined || moment === undefined) return undefined;
  const [, fraction = ''] = /\.(\d+)/.exec(text) ?? [];
  const microseconds = Math.ceil(Number(fraction.slice(0, 9).padEnd(9, '0')) / 1000);
  const seconds = Math.floor(moment.getTime() / 1000) + Math.floor(microseconds / 1_000_000);
  const whole = momentOf(new Date(seconds * 1000).toISOString(), pointer)
    ?.toISOString()
    .slice(0, 19);
  return `${whole}.${String(microseconds % 1_000_000).padStart(6, '0')}Z`;
}

/** RFC 3339 knows seconds and years that a database does not. */
function momentOf(text: string | undefined, pointer: string): Date | undefined {
  if (text === undefined) return undefined;
  const moment = new Date(text);
  if (moment.getTime() >= FIRST_INSTANT_MS && moment.getTime() <= LAST_INSTANT_MS) return moment;
  throw new WritError('VALIDATION_ERROR', `The query's ${pointer} is no moment from 1970 to 9999.`, {
    details: { pointer },
  });
}

function positionOf(cursor: string | undefined): AuditPosition | undefined {
  const [createdAt, id = ''] = cursor?.split(' ') ?? [];
  return createdAt === undefined ? undefined : { createdAt: realMoment(createdAt), id };
}

function horizonOf(cursor: string | undefined): AuditHorizon | undefined {
  const [at, snapshot = ''] = cursor?.split(' ') ?? [];
  if (at === undefined) return undefined;
  if (!isSnapshot(snapshot)) throw invalidCursor();
  return { at: realMoment(at), snapshot };
}

/** What PostgreSQL reads as a `pg_snapshot`: `xmin:xmax:running`, each number of those that run above the one before. */
function isSnapshot(text: string): boolean {
  const [xmin = '', xmax = '', running = ''] = text.split(':');
  const inOrder = [xmin, ...running.split(',').filter((number) => number !== '')].map(BigInt);
  const rises = inOrder.every((number, index) => {
    const before = inOrder[index - 1] ?? 0n;
    // The oldest that runs is `xmin` itself.
    return index === 1 ? number >= before : number > before;
  });
  return rises && BigInt(xmin) <= BigInt(xmax) && inOrder.slice(1).every((number) => number < BigInt(xmax));
}

/** A forged cursor can have the form of a day that is none; `Date` reads the 30th of February as the 2nd of March. */
function realMoment(text: string): string {
  const SECONDS = 19;
  const read = momentOf(text, '/cursor')?.toISOString();
  if (read?.slice(0, SECONDS) === text.slice(0, SECONDS)) return text;
  throw invalidCursor();
}
