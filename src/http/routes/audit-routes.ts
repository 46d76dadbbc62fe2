/** `GET /v1/audit` and its export (contract section 8). */

import Type from 'typebox';
import { WritError } from '../../errors.ts';
import type { RequestContext } from '../../use-cases/audit/ports.ts';
import type { RecordedTrailReading, TrailReader } from '../../use-cases/audit/record-trail-reading.ts';
import type { DenyCaller } from '../../use-cases/authentication/deny-caller.ts';
import type { Caller } from '../../use-cases/authentication/ports.ts';
import type { Routes } from '../routing/route.ts';
import { freeObject, instant, nullable, oneOf, strictObject, uuid } from '../routing/schemas.ts';
import { csvOf, jsonLinesOf, reported, type WriteCsv } from './audit-export.ts';
import {
  AUDIT_FILTERS,
  filterOf,
  readHorizon,
  readPosition,
  writeHorizon,
  writePosition,
} from './audit-query.ts';

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

const DEFAULT_LIMIT = 50;
/** Of a horizon: it grows with the transactions that run beside the export. */
const MAX_HORIZON_CURSOR = 8000;
const READING = {
  tag: 'audit',
  roles: ['admin', 'approver'],
  keyCheck: 'before-handler',
  method: 'GET',
} as const;

export interface AuditRouteDeps {
  readonly trail: RecordedTrailReading;
  readonly deadKey: DenyCaller['deadKey'];
  readonly writeCsv: WriteCsv;
  /** An export broke off: its answer had begun, so nobody else can be told. */
  readonly onBrokenOff: (error: unknown) => void;
}

export function addAuditRoutes(routes: Routes, deps: AuditRouteDeps): void {
  const { trail, writeCsv, onBrokenOff } = deps;
  const readerOf = (caller: Caller, context: RequestContext): TrailReader => ({
    actor: caller.principal,
    keyId: caller.keyId,
    context,
    deadKey: () => deps.deadKey(caller, context),
  });
  routes.authenticated({
    ...READING,
    url: '/v1/audit',
    summary: 'The audit trail, newest first',
    query: strictObject({
      ...AUDIT_FILTERS,
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
    handle: async ({ query, caller, context }) => {
      if (query.page !== undefined && query.cursor !== undefined) {
        throw new WritError('VALIDATION_ERROR', 'The query names a page and a cursor: give one of them.', {
          details: { pointer: '/cursor' },
        });
      }
      const limit = query.limit === undefined ? DEFAULT_LIMIT : Number(query.limit);
      const page = query.page === undefined ? 1 : Number(query.page);
      const before = readPosition(query.cursor);
      const found = await trail.page(
        { filter: filterOf(query, caller.principal), limit, page, before },
        readerOf(caller, context),
      );
      const body = {
        events: found.events,
        total: found.total,
        total_exact: found.totalIsExact,
        page,
        limit,
        next_cursor: writePosition(found.next),
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
      ...AUDIT_FILTERS,
      format: oneOf(['jsonl', 'csv']),
      cursor: Type.Optional(Type.String({ minLength: 1, maxLength: MAX_HORIZON_CURSOR })),
    }),
    mediaTypes: ['application/x-ndjson', 'text/csv'],
    refusals: ['CURSOR_OUTDATED', 'AUDIT_UNAVAILABLE'],
    answerHeaders: {
      'X-Next-Cursor': Type.String({ description: 'the `cursor` with which the next export goes on' }),
      'Content-Disposition': Type.String(),
    },
    answers: { 200: Type.String() },
    handle: async ({ query, caller, context }) => {
      const from = readHorizon(query.cursor);
      const asked = { filter: filterOf(query, caller.principal), from, format: query.format };
      const { horizon, batches } = await trail.export(asked, readerOf(caller, context));
      const write = query.format === 'csv' ? csvOf(writeCsv) : jsonLinesOf;
      return {
        status: 200,
        headers: {
          'content-type':
            query.format === 'csv' ? 'text/csv; charset=utf-8; header=present' : 'application/x-ndjson',
          'content-disposition': `attachment; filename="audit.${query.format}"`,
          'x-next-cursor': writeHorizon(horizon),
        },
        body: ReadableStream.from(reported(write(batches), onBrokenOff)),
      };
    },
  });
}
