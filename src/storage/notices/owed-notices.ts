/** How a notice is owed with what it tells of, in its transaction or in its statement: no notice, no effect. */

import type { Notice } from '../../use-cases/notices/ports.ts';
import type { RowSeals } from '../../use-cases/ports.ts';
import type { Session, Statement } from '../engine/database.ts';
import { messageOf } from '../engine/sealed-rows.ts';
import { insertFrom, members, recordset } from '../engine/table-columns.ts';
import { webhookOutbox } from '../schema.ts';

/** Where a notice of the same id is owed, or was sent, it is the same notice. */
const ONCE = ' on conflict (id) do nothing';

const SENT = { id: 'uuid', payload: 'text', sealHex: 'text' };

/** Inserts the list that is sent as `parameter`, as `sentNotices` makes it. */
const insertNotices = (parameter: string, condition: string): string =>
  insertFrom(
    webhookOutbox,
    { ...members('notice', ['id', 'payload']), seal: `decode(notice."sealHex", 'hex')` },
    `${recordset(parameter, 'notice', SENT)} where ${condition}`,
  ) + ONCE;

const OWE: Statement = { name: 'owe_notices', effect: 'write', text: insertNotices('$1', 'true') };

/** In the statement of one effect: owes the notices sent as `parameter` if `effect` has a row, else nothing. */
export const insertNoticesOf = (effect: string, parameter: string): string =>
  insertNotices(parameter, `exists (select from ${effect})`);

/** The parameter of `insertNoticesOf`. */
export const sentNotices = (notices: readonly (Notice | undefined)[], seals: RowSeals): string =>
  JSON.stringify(
    notices.flatMap((notice) =>
      notice === undefined ? [] : [{ ...notice, sealHex: seals.hexOf(messageOf('webhook_outbox', notice)) }],
    ),
  );

/** What each member of a grouped statement sends of its notice; all are null where it has none. */
export const GROUPED_NOTICE_TYPES = { noticeId: 'uuid', noticePayload: 'text', noticeSealHex: 'text' };

export const groupedNotice = (notice: Notice | undefined, seals: RowSeals) =>
  notice === undefined
    ? {}
    : {
        noticeId: notice.id,
        noticePayload: notice.payload,
        noticeSealHex: seals.hexOf(messageOf('webhook_outbox', notice)),
      };

/** In a grouped statement: the notices of the members that `granted` holds. */
export const insertGroupedNotices = (): string =>
  insertFrom(
    webhookOutbox,
    {
      id: 'granted."noticeId"',
      payload: 'granted."noticePayload"',
      seal: `decode(granted."noticeSealHex", 'hex')`,
    },
    'granted where granted."noticeId" is not null',
  ) + ONCE;

/** In the transaction of what they tell of. */
export async function oweNotices(
  session: Session,
  notices: readonly (Notice | undefined)[],
  seals: RowSeals,
): Promise<void> {
  if (notices.some((notice) => notice !== undefined)) await session.query(OWE, [sentNotices(notices, seals)]);
}

/** In the transaction of what it tells of. Undefined: no webhook is configured, or nothing is to be told. */
export const oweNotice = (session: Session, notice: Notice | undefined, seals: RowSeals): Promise<void> =>
  oweNotices(session, [notice], seals);
