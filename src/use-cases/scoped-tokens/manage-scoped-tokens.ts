/** The inventory of scoped tokens, and their end (contract section 5.5): an agent's own, an admin's all. */

import { UUID } from '../../domain/formats/uuid.ts';
import { holderWithinReach, isWithinReach } from '../../domain/principals/token-holder.ts';
import type { TokenState } from '../../domain/secrets/secret-authorization.ts';
import { WritError } from '../../errors.ts';
import { auditEvent } from '../audit/build-audit-event.ts';
import type { RequestContext } from '../audit/ports.ts';
import type { DenyCaller } from '../authentication/deny-caller.ts';
import type { Caller } from '../authentication/ports.ts';
import type { ScopedTokenRecord, ScopedTokenStore } from './ports.ts';

export interface ScopedTokenManager {
  list(
    query: { state: TokenState | undefined; limit: number; before: string | undefined },
    caller: Caller,
  ): Promise<readonly ScopedTokenRecord[]>;
  /** Another's token is `NOT_FOUND`, like one that never was. */
  get(id: string, caller: Caller): Promise<ScopedTokenRecord>;
  /** Again is fine. */
  revoke(id: string, caller: Caller, context: RequestContext): Promise<void>;
}

export function createScopedTokenManager(deps: {
  readonly store: ScopedTokenStore;
  readonly newId: () => string;
  readonly denyCaller: DenyCaller;
}): ScopedTokenManager {
  const get = async (id: string, { principal }: Caller): Promise<ScopedTokenRecord> => {
    const token = UUID.test(id) ? await deps.store.find(id) : undefined;
    if (token === undefined || !isWithinReach(principal, token.agentId))
      throw new WritError('NOT_FOUND', 'There is no such token.', { about: { type: 'scoped_token', id } });
    return token;
  };
  return {
    get,
    list: (query, { principal }) => deps.store.list({ ...query, agentId: holderWithinReach(principal) }),
    revoke: async (id, caller, context) => {
      const token = await get(id, caller);
      const outcome = await deps.store.revoke(token.id, {
        actorKeyId: caller.keyId,
        event: auditEvent(caller.principal, context, {
          id: deps.newId(),
          type: 'token.revoked',
          resource: { type: 'scoped_token', id: token.id },
          metadata: { key_id: caller.keyId, agent_id: token.agentId },
        }),
      });
      if (outcome === 'actor_not_live') await deps.denyCaller.deadKey(caller, context);
    },
  };
}
