/**
 * Uses of intent tokens: consumed steps and counted verifications. One statement grants many at once, by the database's
 * clock and exactly across processes, and the event of each grant is written in it.
 */

import { RATE_WINDOW_SECONDS, type StepUses } from '../../domain/intent-tokens/step-uses.ts';
import type { IntentTokenUse, IntentTokenUses } from '../../use-cases/intent-tokens/ports.ts';
import { GROUPED_EVENT_TYPES, groupedEvent, insertGroupedEvents } from '../audit/audit-store.ts';
import { createBatcher, runGuardedBatch, selectApplied } from '../engine/batcher.ts';
import type { Database, Statement } from '../engine/database.ts';
import { fromLiveActor, INTENT_TOKEN_IS_LIVE, isNotRevoked } from '../engine/liveness-sql.ts';
import {
  assignments,
  columnTypes,
  insertFrom,
  members,
  recordset,
  selectList,
} from '../engine/table-columns.ts';
import { auditEvents, intentTokenUses } from '../schema.ts';

const WINDOW = `interval '${RATE_WINDOW_SECONDS} seconds'`;
const WINDOW_RUNS = `(used.window_start > clock_timestamp() - ${WINDOW}) is true`;

const ASKED = recordset('$1', 'asked', {
  position: 'int',
  jti: 'uuid',
  rootJti: 'uuid',
  agentRevision: 'int',
  callerKeyId: 'text',
  consumedStep: 'int',
  rateLimit: 'int',
  ...columnTypes(auditEvents, ['eventType', 'actorId', 'resourceId']),
  ...GROUPED_EVENT_TYPES,
});

const CALLER_IS_LIVE = `exists (
          select ${fromLiveActor('asked."callerKeyId"')}
            and agent.id::text = asked."actorId"
        )`;

/** A plan without a consumed step, and one in which `step` is consumed. */
const NO_STEP = `repeat('0', sound.steps)::bit varying`;
const withStep = (steps: string): string =>
  `case when sound."consumedStep" is null then ${steps} else set_bit(${steps}, sound."consumedStep", 1) end`;

/**
 * A group has each root once, so that no row is asked for twice.
 *
 * `held` closes the races. The rows of the token and of its ancestors are locked in the order of their ids, first of all
 * that of the root, by which uses are counted: of two statements about one root the second waits for the first, and then
 * updates the row as the first has left it, under the same conditions. A token that was revoked meanwhile is read as it
 * is then and drops out. What is granted is what `made` and `taken` have written, and only that has an event.
 *
 * The row of uses that another statement has made meanwhile is not seen by `taken`: nothing is granted, and the use case
 * starts over.
 */
const USE: Statement = {
  name: 'use_intent_tokens',
  effect: 'write',
  text: `
    with asked as (
      select * from ${ASKED}
    ), chain as (
      select asked.position, link.jti
      from asked
      join intent_tokens token on token.jti = asked.jti and token.root_jti = asked."rootJti"
      cross join unnest(token.ancestors || token.jti) as link (jti)
    ), held as (
      select token.jti from intent_tokens token
      where token.jti in (select jti from chain) and ${isNotRevoked('token')}
      order by token.jti for no key update
    ), sound as (
      select asked.*, token.tree_size / 2 as steps
      from asked
      join intent_tokens token on token.jti = asked.jti and token.root_jti = asked."rootJti"
      join agents agent on agent.id = token.agent_id and agent.revision = asked."agentRevision"
      where ${INTENT_TOKEN_IS_LIVE}
        and not exists (
          select from chain where chain.position = asked.position and chain.jti not in (select jti from held)
        )
        and ${CALLER_IS_LIVE}
    ), made as (
      ${insertFrom(
        intentTokenUses,
        {
          rootJti: 'sound."rootJti"',
          consumedSteps: withStep(NO_STEP),
          windowStart: `case when sound."rateLimit" is not null then clock_timestamp() end`,
          windowCount: `case when sound."rateLimit" is null then 0 else 1 end`,
        },
        'sound',
      )}
      on conflict (root_jti) do nothing
      returning root_jti
    ), taken as (
      update intent_token_uses used set ${assignments(intentTokenUses, {
        consumedSteps: withStep('used.consumed_steps'),
        windowStart: `case when sound."rateLimit" is null or ${WINDOW_RUNS} then used.window_start else clock_timestamp() end`,
        windowCount: `case when sound."rateLimit" is null then used.window_count when ${WINDOW_RUNS} then used.window_count + 1 else 1 end`,
      })}
      from sound
      where used.root_jti = sound."rootJti"
        and (sound."consumedStep" is null or get_bit(used.consumed_steps, sound."consumedStep") = 0)
        and (sound."rateLimit" is null or used.window_count < sound."rateLimit" or not ${WINDOW_RUNS})
      returning used.root_jti
    ), granted as (
      select sound.* from sound
      where sound."rootJti" in (select root_jti from made union all select root_jti from taken)
    ), event as (
      ${insertGroupedEvents({
        ...members('granted', ['eventType', 'actorId', 'resourceId']),
        resourceType: `'intent_token'`,
      })}
    )
    ${selectApplied('position')}`,
};

const FIND: Statement = {
  name: 'find_uses_of_intent_token',
  effect: 'read',
  text: `
    select ${selectList<StepUses>({
      consumedSteps: 'used.consumed_steps::text',
      windowCount: `case when ${WINDOW_RUNS} then used.window_count else 0 end`,
      windowSecondsLeft: `greatest(0, coalesce(extract(epoch from used.window_start + ${WINDOW} - clock_timestamp()), 0))::float8`,
    })}
    from intent_token_uses used where used.root_jti = $1`,
};

export function createIntentTokenUses(database: Database): IntentTokenUses {
  const queue = createBatcher<IntentTokenUse, { granted: boolean }>({
    orderKey: ({ rootJti }) => rootJti,
    oneAtATime: ({ rootJti }) => rootJti,
    run: async (uses) => {
      const isGranted = await runGuardedBatch<number>(database, USE, uses.map(rowOf));
      return uses.map((_, position) => ({ granted: isGranted(position) }));
    },
  });
  return {
    record: async (use) => (await queue.submit(use)).granted,
    find: async (rootJti) => (await database.query<StepUses>(FIND, [rootJti]))[0],
  };
}

function rowOf({ event, ...use }: IntentTokenUse, position: number): object {
  const { eventType, actorId, resourceId } = event;
  return Object.assign(groupedEvent(event), use, { position, eventType, actorId, resourceId });
}
