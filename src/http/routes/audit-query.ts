/** What a query of the audit trail asks (contract section 8): filters, and how far an earlier answer went. */

import Type, { type Static } from 'typebox';
import { FIRST_INSTANT_MS, LAST_INSTANT_MS } from '../../domain/formats/rfc3339.ts';
import { UUID_PATTERN } from '../../domain/formats/uuid.ts';
import type { Role } from '../../domain/principals/role.ts';
import { WritError } from '../../errors.ts';
import type { AuditFilter, AuditHorizon, AuditPosition } from '../../use-cases/audit/ports.ts';
import { cursorOutdated } from '../../use-cases/audit/read-audit-trail.ts';
import { decodeCursor, invalidCursor, writeCursor } from '../routing/pagination.ts';
import { instant, strictObject, text } from '../routing/schemas.ts';

export const AUDIT_FILTERS = {
  event_type: Type.Optional(text({ min: 1, max: 64 })),
  actor_id: Type.Optional(text({ min: 1, max: 256 })),
  resource_type: Type.Optional(text({ min: 1, max: 64 })),
  resource_id: Type.Optional(text({ min: 1, max: 600 })),
  since: Type.Optional(instant('inclusive')),
  until: Type.Optional(instant('exclusive')),
};
const FilterQuery = strictObject(AUDIT_FILTERS);

const MICROSECOND = '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{6}Z';
const POSITION = new RegExp(`^${MICROSECOND} ${UUID_PATTERN}$`);
/** Without the first group it is of a version that knew no epochs. */
const HORIZON = new RegExp(
  `^(${UUID_PATTERN} )?${MICROSECOND} [1-9]\\d{0,17}:[1-9]\\d{0,17}:(\\d{1,18}(,\\d{1,18})*)?$`,
);

/** Throws `VALIDATION_ERROR` for a moment that the database does not know. */
export function filterOf(query: Static<typeof FilterQuery>, { role }: { readonly role: Role }): AuditFilter {
  return {
    ofCanaries: role === 'admin',
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

/** Where a page begins. Throws `VALIDATION_ERROR` for a cursor that is not ours. */
export function readPosition(cursor: string | undefined): AuditPosition | undefined {
  const [createdAt, id = ''] = decodeCursor(cursor, POSITION)?.split(' ') ?? [];
  return createdAt === undefined ? undefined : { createdAt: realMoment(createdAt), id };
}

export const writePosition = (position: AuditPosition | undefined): string | null =>
  writeCursor(position && `${position.createdAt} ${position.id}`);

/**
 * Where an export begins. Throws `VALIDATION_ERROR` for a cursor that is not ours, and `CURSOR_OUTDATED` for one that
 * says nothing of its epoch: nobody can tell whether the database has been restored since.
 */
export function readHorizon(cursor: string | undefined): AuditHorizon | undefined {
  const parts = decodeCursor(cursor, HORIZON)?.split(' ');
  if (parts === undefined) return undefined;
  const [snapshot = '', at = '', epochId] = parts.reverse();
  if (!isSnapshot(snapshot)) throw invalidCursor();
  const horizon = { at: realMoment(at), snapshot };
  if (epochId === undefined) throw cursorOutdated();
  return { ...horizon, epochId };
}

export const writeHorizon = ({ epochId, at, snapshot }: AuditHorizon): string =>
  writeCursor(`${epochId} ${at} ${snapshot}`) ?? '';

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
