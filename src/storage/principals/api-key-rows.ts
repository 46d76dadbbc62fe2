/** Rows of API keys as the changes of their agent write them, inside the transaction that holds the agent's row. */

import type { RowSeals } from '../../use-cases/ports.ts';
import type { EndedKey, KeyRotation, NewApiKey } from '../../use-cases/principals/ports.ts';
import { insertAuditEvents } from '../audit/audit-store.ts';
import type { Session, Statement } from '../engine/database.ts';
import { earlierEnd, KEY_IS_LIVE } from '../engine/liveness-sql.ts';
import { judgedRow, messageOf, sealList } from '../engine/sealed-rows.ts';

export function keyRow(agentId: string, key: NewApiKey, seals: RowSeals) {
  const row = { ...key, agentId };
  return { ...row, seal: seals.of(messageOf('api_keys', row)) };
}

/** In the order of their ids, in which `note_api_key_uses` takes them as well. To the millisecond, which a seal covers. */
const HOLD_OLDER: Statement = {
  name: 'hold_older_api_keys',
  effect: 'write',
  text: `
    select key.key_id as "keyId", key.hash, key.expires_at as "expiresAt",
      ${earlierEnd('key', `date_trunc('milliseconds', clock_timestamp() + make_interval(secs => $3::int))`)} as "endsAt",
      ${sealList('api_keys', 'key')}
    from api_keys key
    where key.agent_id = $1 and key.key_id = any($2::text[]) and ${KEY_IS_LIVE}
    order by key.key_id for no key update`,
};

const END_LATER: Statement = {
  name: 'end_api_key_later',
  effect: 'write',
  text: `update api_keys set expires_at = $2, seal = $3 where key_id = $1`,
};

const END_NOW: Statement = {
  name: 'end_api_key_now',
  effect: 'write',
  text: `update api_keys set revoked_at = clock_timestamp(), seal = null where key_id = $1`,
};

interface OlderKey {
  readonly keyId: string;
  readonly hash: string;
  readonly expiresAt: Date | null;
  readonly endsAt: Date;
}

/** Those that were live. What somebody else wrote is not made whole by it: it is left as it is, and grants nothing. */
export async function endOlderKeys(
  session: Session,
  agentId: string,
  { older, overlapSeconds, eventOf }: KeyRotation,
  seals: RowSeals,
): Promise<readonly EndedKey[]> {
  const held = await session.query<OlderKey>(HOLD_OLDER, [agentId, older, overlapSeconds]);
  const whole = held.filter((row) => seals.fits(judgedRow('api_keys', row)));
  const ended: EndedKey[] = [];
  for (const { keyId, hash, expiresAt, endsAt } of whole) {
    ended.push({ keyId, endsAt });
    if (overlapSeconds === 0) await session.query(END_NOW, [keyId]);
    else if (expiresAt?.getTime() !== endsAt.getTime()) {
      const seal = seals.of(messageOf('api_keys', { keyId, agentId, hash, expiresAt: endsAt }));
      await session.query(END_LATER, [keyId, endsAt, seal]);
    } else continue;
    await insertAuditEvents(session, [eventOf({ keyId, endsAt })]);
  }
  return ended;
}
