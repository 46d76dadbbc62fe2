/**
 * Reports on plans. A plan has no row of its own; it is a token's, and is found without an index of plans: a token's id
 * and its plan's are made one after the other, and both begin with the time (RFC 9562 section 5.7).
 */

import type { PlanReports } from '../../use-cases/intent-tokens/ports.ts';
import { insertEventOf } from '../audit/audit-store.ts';
import type { Database, Statement } from '../engine/database.ts';
import { fromLiveActor } from '../engine/liveness-sql.ts';

/** `$4` and `$5` bound the ids that are looked at: at most what was issued within two seconds. */
const REPORT: Statement = {
  name: 'report_plan',
  effect: 'write',
  text: `
    with caller as (
      select agent.id ${fromLiveActor('$2')}
    ), own as (
      select from intent_tokens token join caller on caller.id = token.agent_id
      where token.jti between $4::uuid and $5::uuid and token.plan_id = $1::uuid
      limit 1
    ), event as (
      ${insertEventOf('own', '$3')}
    )
    select true as written from own`,
};

const AROUND_MS = 1000;
const MOST_MS = 2 ** 48 - 1;

export function createPlanReports(database: Database): PlanReports {
  return {
    report: async (planId, event, keyId) => {
      const [from, to] = idsMadeAround(planId);
      const rows = await database.query(REPORT, [planId, keyId, JSON.stringify([event]), from, to]);
      return rows.length === 1;
    },
  };
}

/** The least and the greatest id whose time is close to that of this one. */
export function idsMadeAround(id: string): readonly [string, string] {
  const at = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
  const from = Math.max(0, at - AROUND_MS);
  const to = Math.min(MOST_MS, at + AROUND_MS);
  return [idOf(from, '0'), idOf(to, 'f')];
}

function idOf(ms: number, rest: string): string {
  const hex = ms.toString(16).padStart(12, '0') + rest.repeat(20);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
