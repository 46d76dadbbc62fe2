/**
 * When an API key ends soon: an event and a notice to the webhook, once for each key, and a line of the log once a day.
 * Nothing else changes: the key works until its end.
 */

import { formatTimestamp, instantOrNull } from '../../domain/formats/rfc3339.ts';
import { auditEvent, NO_REQUEST, SYSTEM } from '../audit/build-audit-event.ts';
import type { BuildNotice } from '../notices/build-notice.ts';
import type { KeyEndReminders, KeyThatEnds } from './ports.ts';

const AT_ONCE = 100;

interface TellingDeps {
  readonly reminders: KeyEndReminders;
  readonly newId: () => string;
  readonly now: () => Date;
  readonly buildNotice: BuildNotice;
  /** 0: nobody is told. */
  readonly withinDays: number;
  /** To the log. */
  readonly warn: (key: KeyThatEnds) => void;
}

/** A job calls it; whichever process comes first tells. */
export function createTellOfEndingKeys(deps: TellingDeps): () => Promise<void> {
  return async () => {
    if (deps.withinDays === 0) return;
    for (let taken = AT_ONCE; taken === AT_ONCE; ) {
      const which = { withinDays: deps.withinDays, limit: AT_ONCE };
      const told = await deps.reminders.take(which, (key) => tellOf(deps, key));
      for (const key of told.whole) deps.warn(key);
      taken = told.taken;
    }
  };
}

function tellOf({ newId, now, buildNotice }: TellingDeps, key: KeyThatEnds) {
  const { keyId, agentId, agentName } = key;
  const type = 'key.expiring';
  const until = { agent_id: agentId, expires_at: formatTimestamp(key.expiresAt) };
  const resource = { type: 'api_key', id: keyId } as const;
  return {
    event: auditEvent(SYSTEM, NO_REQUEST, { id: newId(), type, resource, metadata: until }),
    notice: buildNotice(type, now(), {
      ...until,
      key_id: keyId,
      key_name: key.keyName,
      agent_name: agentName,
      last_used_at: instantOrNull(key.lastUsedAt),
    }),
  };
}
