/**
 * What keeps a change by an agent and the end of what it may do apart. Changes share the agent's lock; whoever revokes
 * or narrows takes it alone, so a change that is under way is committed before, and none is after. An advisory lock
 * queues in the order of arrival; row locks do not: shared ones would pass a waiting update for as long as they come.
 */

import type { Session, Statement } from '../engine/database.ts';

const AGENT_LOCKS = 0x4147_4e54; // "AGNT"

const SHARE: Statement = {
  name: 'share_agent_lock',
  effect: 'write',
  text: `select pg_advisory_xact_lock_shared(${AGENT_LOCKS}, hashtext($1::uuid::text))`,
};

/** Waits longer than others do, in this transaction: on a slow machine the changes before it would hold off a revocation. */
const TAKE: Statement = {
  name: 'take_agent_lock',
  effect: 'write',
  text: `
    with patience as materialized (select set_config('lock_timeout', '1500ms', true))
    select pg_advisory_xact_lock(${AGENT_LOCKS}, hashtext($1::uuid::text)) from patience`,
};

/** A statement of its own, so that the next one sees what was committed while this one waited. Held until the end. */
export async function shareAgentLock(session: Session, agentId: string): Promise<void> {
  await session.query(SHARE, [agentId]);
}

/** The same, alone. */
export async function takeAgentLock(session: Session, agentId: string): Promise<void> {
  await session.query(TAKE, [agentId]);
}
