/**
 * What a principal may do with its own API keys (contract section 4.8): see them, and revoke one that is not in use. A
 * key of somebody else's looks like one that does not exist.
 */

import { KEY_ID } from '../../domain/principals/api-key.ts';
import { auditEvent } from '../audit/build-audit-event.ts';
import type { RequestContext } from '../audit/ports.ts';
import type { DenyCaller } from '../authentication/deny-caller.ts';
import type { Caller } from '../authentication/ports.ts';
import type { ApiKeyRecord, OwnKeyStore } from './ports.ts';
import { noSuchKey } from './principal-rules.ts';

export const KEY_STATUSES = ['active', 'expired', 'revoked'] as const;

export interface OwnKey extends ApiKeyRecord {
  readonly status: (typeof KEY_STATUSES)[number];
}

export interface OwnKeys {
  /** Oldest first. */
  list(caller: Caller): Promise<readonly OwnKey[]>;
  /** Again is fine. The key in use is `FORBIDDEN`, one that is not the caller's `NOT_FOUND`. */
  revoke(keyId: string, caller: Caller, context: RequestContext): Promise<void>;
}

export function createOwnKeys(deps: {
  readonly store: OwnKeyStore;
  readonly now: () => Date;
  readonly newId: () => string;
  readonly denyCaller: DenyCaller;
}): OwnKeys {
  const { store, denyCaller } = deps;
  return {
    list: async ({ principal }) => {
      const now = deps.now();
      return (await store.listOf(principal.id)).map((key) => ({ ...key, status: statusOf(key, now) }));
    },
    revoke: async (keyId, caller, context) => {
      if (!KEY_ID.test(keyId)) throw noSuchKey(keyId);
      const resource = { type: 'api_key', id: keyId };
      if (keyId === caller.keyId) {
        await denyCaller.forbid(caller, context, {
          ...resource,
          why: 'The key in use cannot revoke itself.',
        });
      }
      const event = auditEvent(caller.principal, context, {
        id: deps.newId(),
        type: 'key.revoked',
        resource,
        metadata: { agent_id: caller.principal.id },
      });
      const outcome = await store.revokeOwn({ keyId, agentId: caller.principal.id }, caller.keyId, event);
      if (outcome === 'actor_not_live') await denyCaller.deadKey(caller, context);
      if (outcome === 'absent') throw noSuchKey(keyId);
    },
  };
}

export function statusOf({ revokedAt, expiresAt }: ApiKeyRecord, now: Date): OwnKey['status'] {
  if (revokedAt !== null) return 'revoked';
  return expiresAt !== null && expiresAt <= now ? 'expired' : 'active';
}
