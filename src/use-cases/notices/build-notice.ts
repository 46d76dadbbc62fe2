/**
 * Builds what the webhook is told: `{type, timestamp, data}`. Every type of notice stands in one table, with the members
 * of its `data`; `docs/webhooks.md` says when each is sent. A notice never holds a key, a token or a value.
 */

import { formatTimestamp } from '../../domain/formats/rfc3339.ts';
import type { Notice } from './ports.ts';

const APPROVAL = [
  'id',
  'status',
  'agent_id',
  'agent_name',
  'access_tier',
  'secret_count',
  'secrets',
  'scopes',
  'ttl_seconds',
  'max_uses',
  'allowed_ips',
  'description',
  'approvals_required',
  'effective_at',
] as const;

const EMERGENCY = ['id', 'agent_id', 'agent_name', 'reason', 'actor_id'] as const;

/** The members of `data`, by type. A type is named as the event of the trail that is written with it. */
export const NOTICES = {
  'approval.requested': APPROVAL,
  'approval.granted': APPROVAL,
  'approval.denied': APPROVAL,
  'secret.canary_touched': [
    'path',
    'secret_id',
    'how',
    'code',
    'actor_id',
    'actor_type',
    'credential',
    'ip_address',
    'request_id',
  ],
  'secret.rotation_due': ['path', 'secret_id', 'version', 'rotate_after_days', 'rotation_due_at'],
  'signing_key.created': ['kid', 'state'],
  'signing_key.activated': ['kid', 'retiring'],
  'signing_key.retired': ['kid'],
  'signing_key.compromised': ['kid', 'was'],
  'emergency.stopped': EMERGENCY,
  'emergency.resumed': EMERGENCY,
  'key.expiring': ['key_id', 'key_name', 'agent_id', 'agent_name', 'expires_at', 'last_used_at'],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type NoticeType = keyof typeof NOTICES;

/** Undefined where no webhook is configured: then nothing is owed. `at`: when it happened. */
export type BuildNotice = <Type extends NoticeType>(
  type: Type,
  at: Date,
  data: Readonly<Record<(typeof NOTICES)[Type][number], unknown>>,
  /** A UUID: of notices with one id the first is owed, and the others are not. Absent: one of its own. */
  id?: string,
) => Notice | undefined;

export function createBuildNotice(deps: {
  readonly configured: boolean;
  readonly newId: () => string;
}): BuildNotice {
  return (type, at, data, id) =>
    deps.configured
      ? { id: id ?? deps.newId(), payload: JSON.stringify({ type, timestamp: formatTimestamp(at), data }) }
      : undefined;
}
