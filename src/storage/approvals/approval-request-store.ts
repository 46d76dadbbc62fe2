/** Approvals as they are opened: what was asked is frozen, and an agent has only so many at once. */

import type { BoundSecret } from '../../domain/secrets/bound-secrets.ts';
import type { ApprovalStore } from '../../use-cases/approvals/ports.ts';
import type { RowSeals } from '../../use-cases/ports.ts';
import { insertAuditEvents } from '../audit/audit-store.ts';
import type { Database, Session, Statement } from '../engine/database.ts';
import { AGENT_IS_LIVE, APPROVAL_STATUS, KEY_IS_LIVE } from '../engine/liveness-sql.ts';
import { messageOf } from '../engine/sealed-rows.ts';
import { orUndone, Rollback } from '../engine/storage-errors.ts';
import { columnTypes, insertFrom, members, recordset } from '../engine/table-columns.ts';
import { oweNotice } from '../notices/owed-notices.ts';
import { approvals } from '../schema.ts';
import { REQUEST_MEMBERS } from './approval-rows.ts';

/** Closes the race of two requests for the last place: whoever comes second waits, and then counts the first. */
const LOCK_AGENT: Statement = {
  name: 'lock_requesting_agent',
  effect: 'write',
  text: `select id from agents agent where id = $1 and revision = $2 and ${AGENT_IS_LIVE} for no key update`,
};

const LOCK_KEY: Statement = {
  name: 'hold_requesting_key',
  effect: 'write',
  text: `
    select key_id from api_keys key where key_id = $1 and agent_id = $2 and ${KEY_IS_LIVE} for share`,
};

const COUNT_PENDING: Statement = {
  name: 'count_pending_approvals',
  effect: 'read',
  text: `
    select count(*)::int as pending, clock_timestamp() as now from approvals approval join agents agent on agent.id = approval.agent_id
    where approval.agent_id = $1 and ${APPROVAL_STATUS} = 'pending'`,
};

const OPENED_MEMBERS = [...REQUEST_MEMBERS, 'expiresAt'] as const;

const OPEN: Statement = {
  name: 'open_approval',
  effect: 'write',
  text: `
    ${insertFrom(
      approvals,
      {
        ...members('asked', OPENED_MEMBERS),
        seal: `decode(asked."sealHex", 'hex')`,
      },
      recordset('$1', 'asked', { ...columnTypes(approvals, OPENED_MEMBERS), sealHex: 'text' }),
    )}
    on conflict (id) do nothing
    returning 1`,
};

const GUARDED_SECRETS: Statement = {
  name: 'list_guarded_secrets',
  effect: 'read',
  text: `
    select id, path, access_tier as tier from secrets
    where access_tier <> 'standard' and path > $1 order by path limit 1000`,
};

export function createApprovalRequestStore(
  database: Database,
  seals: RowSeals,
): Pick<ApprovalStore, 'open' | 'guardedMatching'> {
  return {
    open: async (approval, { keyId, agentRevision, maxPending, event, notice }) =>
      orUndone('not_granted', () =>
        database.transaction(async (session) => {
          await require(session, LOCK_AGENT, [approval.agentId, agentRevision]);
          await require(session, LOCK_KEY, [keyId, approval.agentId]);
          const [count] = await session.query<{ pending: number; now: Date }>(COUNT_PENDING, [
            approval.agentId,
          ]);
          if (count === undefined) throw new Rollback();
          if (count.pending >= maxPending) return 'too_many';
          const expiresAt = new Date(count.now.getTime() + approval.windowSeconds * 1000);
          const opened = { ...approval, expiresAt };
          const seal = seals.of(messageOf('approvals', { ...opened, effectiveAt: null }));
          await require(session, OPEN, [JSON.stringify([{ ...opened, sealHex: seal.toString('hex') }])]);
          await oweNotice(session, notice, seals);
          await insertAuditEvents(session, [event]);
          return { expiresAt };
        }),
      ),

    guardedMatching: async (matches, limit) => {
      const found: BoundSecret[] = [];
      for (let after = ''; ; ) {
        const rows = await database.query<BoundSecret>(GUARDED_SECRETS, [after]);
        found.push(...rows.filter(({ path }) => matches(path)));
        const last = rows.at(-1);
        if (last === undefined || rows.length < 1000 || found.length >= limit) return found.slice(0, limit);
        after = last.path;
      }
    },
  };
}

async function require(session: Session, statement: Statement, values: readonly unknown[]): Promise<void> {
  if ((await session.query(statement, values)).length === 0) throw new Rollback();
}
