/**
 * What both kinds of token have in common in storage: a principal's are listed newest first, and one is ended by one row
 * of its own, together with its event, or neither is written.
 */

import type { AuditEvent } from '../use-cases/audit/ports.ts';
import { insertEventOf } from './audit/audit-store.ts';
import type { Database, Session, Statement } from './engine/database.ts';
import { fromLiveActor, isNotRevoked } from './engine/liveness-sql.ts';

/** One kind of token; in `select` and in every expression its row is `token`, and its principal's `agent`. */
export interface HeldTokens {
  /** In the names of statements. */
  readonly name: string;
  readonly table: 'intent_tokens' | 'scoped_tokens';
  /** The column that names a token: a UUIDv7, so the greatest is the newest. */
  readonly id: 'jti' | 'id';
  /** Up to the `where`. */
  readonly select: string;
  /** What a token can still do. */
  readonly state: string;
  /** Of a listing, where the state that is asked for (`$2`) says more about which rows there can be. */
  readonly also?: string;
}

export interface HeldTokensQuery {
  /** Undefined: everybody's. */
  readonly agentId: string | undefined;
  readonly state: string | undefined;
  readonly limit: number;
  readonly before: string | undefined;
}

/** Two statements, so that each has the index that fits. */
export function createTokenList<Row extends object>(
  database: Database,
  tokens: HeldTokens,
): (query: HeldTokensQuery) => Promise<readonly Row[]> {
  const all = listStatement(tokens, `list_${tokens.name}s`, 'true');
  const own = listStatement(tokens, `list_own_${tokens.name}s`, 'token.agent_id = $4');
  return async ({ agentId, state, limit, before }) => {
    const filter = [before ?? null, state ?? null, limit];
    return agentId === undefined
      ? database.query<Row>(all, filter)
      : database.query<Row>(own, [...filter, agentId]);
  };
}

function listStatement({ id, select, state, also }: HeldTokens, name: string, whose: string): Statement {
  return {
    name,
    effect: 'read',
    text: `${select}
    where ${whose} and token.${id} < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
      ${also === undefined ? '' : `and ${also}`}
      and ($2::text is null or ${state} = $2)
    order by token.${id} desc limit $3`,
  };
}

/** `'unchanged'`: it was revoked before, and nothing was written. */
export type TokenRevocation = 'revoked' | 'unchanged' | 'actor_not_live';

/**
 * Closes the race between two revocations: one of them writes the event. A use that is under way holds the row, so it is
 * committed before this statement, or finds the row revoked.
 */
export function createTokenRevocation({ name, table, id }: HeldTokens) {
  const statement: Statement = {
    name: `revoke_${name}`,
    effect: 'write',
    text: `
    with actor as (
      select agent.id, agent.role ${fromLiveActor('$2')}
    ), revoked as (
      update ${table} token set revoked_at = clock_timestamp()${table === 'scoped_tokens' ? ', seal = null' : ''}
      from actor
      where token.${id} = $1 and ${isNotRevoked('token')} and (actor.role = 'admin' or actor.id = token.agent_id)
      returning token.${id}
    ), event as (
      ${insertEventOf('revoked', '$3')}
    )
    select exists (select from actor) as live, exists (select from revoked) as revoked`,
  };
  return async (
    session: Session,
    tokenId: string,
    { actorKeyId, event }: { readonly actorKeyId: string; readonly event: AuditEvent },
  ): Promise<TokenRevocation> => {
    const values = [tokenId, actorKeyId, JSON.stringify([event])];
    const [outcome] = await session.query<{ live: boolean; revoked: boolean }>(statement, values);
    if (outcome?.live !== true) return 'actor_not_live';
    return outcome.revoked ? 'revoked' : 'unchanged';
  };
}
