/**
 * Events that a caller's key writes and that nothing else rides on (contract sections 4.6, 4.8): grants of a tool, and
 * what a client reports. In one statement, and only while key and agent are live.
 */

import type { CallerEvents } from '../../use-cases/audit/ports.ts';
import type { Database, Statement } from '../engine/database.ts';
import { fromLiveActor } from '../engine/liveness-sql.ts';
import { insertEventOf } from './audit-store.ts';

/** Closes the race between a decision and a change of what was decided by: the agent's `revision` must be as it was read. */
const APPEND: Statement = {
  name: 'append_caller_events',
  effect: 'write',
  text: `
    with caller as (
      select ${fromLiveActor('$2')}
        and agent.revision = coalesce($3::int, agent.revision)
    ), event as (
      ${insertEventOf('caller', '$1')}
    )
    select true as written from caller`,
};

export function createCallerEvents(database: Database): CallerEvents {
  return {
    append: async (events, { keyId, revision }) =>
      (await database.query(APPEND, [JSON.stringify(events), keyId, revision])).length === 1,
  };
}
