/**
 * The inventory of intent tokens, and their end (contract section 4.7): an agent's own, an admin's all. Revoking writes
 * one row; whatever was delegated from it, before or while it happens, derives its end from that row.
 */

import { UUID } from '../../domain/formats/uuid.ts';
import { holderWithinReach, isWithinReach } from '../../domain/principals/token-holder.ts';
import { WritError } from '../../errors.ts';
import { auditEvent } from '../audit/build-audit-event.ts';
import type { RequestContext } from '../audit/ports.ts';
import type { DenyCaller } from '../authentication/deny-caller.ts';
import type { Caller } from '../authentication/ports.ts';
import type { IntentTokenEntry, IntentTokenInventory, IntentTokenLiveness } from './ports.ts';

/** Of an answer that names what has ended with a token. */
const MAX_HEIRS_NAMED = 1000;

export interface RevokeIntentTokenCommand {
  /** In lower case, if it is an id at all. */
  readonly jti: string;
  /** Which plan the client believes it to be of; undefined where it says none. */
  readonly planId: string | undefined;
  readonly reason: string | undefined;
}

export interface RevokedIntentTokens {
  /** The token itself, then what was delegated from it and has not expired: at most 1,001 ids. */
  readonly jtis: readonly string[];
  /** All of them. */
  readonly count: number;
}

export interface IntentTokenManager {
  list(
    query: { state: IntentTokenLiveness | undefined; limit: number; before: string | undefined },
    caller: Caller,
  ): Promise<readonly IntentTokenEntry[]>;
  /** Again is fine. Another's token is `NOT_FOUND`, like one that never was. */
  revoke(
    command: RevokeIntentTokenCommand,
    caller: Caller,
    context: RequestContext,
  ): Promise<RevokedIntentTokens>;
}

export function createIntentTokenManager(deps: {
  readonly inventory: IntentTokenInventory;
  readonly newId: () => string;
  readonly denyCaller: DenyCaller;
}): IntentTokenManager {
  const { inventory } = deps;
  return {
    list: (query, { principal }) => inventory.list({ ...query, agentId: holderWithinReach(principal) }),
    revoke: async ({ jti, planId, reason }, caller, context) => {
      const owner = UUID.test(jti) ? await inventory.findOwner(jti) : undefined;
      const { principal } = caller;
      if (owner === undefined || !isWithinReach(principal, owner.agentId))
        throw new WritError('NOT_FOUND', 'There is no such token.', {
          about: { type: 'intent_token', id: jti },
        });
      if (planId !== undefined && planId.toLowerCase() !== owner.planId)
        throw new WritError('VALIDATION_ERROR', 'planId is not the plan of this token.', {
          details: { pointer: '/planId' },
        });
      const outcome = await inventory.revoke(jti, {
        actorKeyId: caller.keyId,
        event: auditEvent(principal, context, {
          id: deps.newId(),
          type: 'intent.revoked',
          resource: { type: 'intent_token', id: jti },
          metadata: {
            key_id: caller.keyId,
            agent_id: owner.agentId,
            ...(reason === undefined ? {} : { reason }),
          },
        }),
      });
      if (outcome === 'actor_not_live') return deps.denyCaller.deadKey(caller, context);
      const heirs = await inventory.listHeirs(jti, MAX_HEIRS_NAMED);
      return { jtis: [jti, ...heirs.jtis], count: 1 + heirs.count };
    },
  };
}
