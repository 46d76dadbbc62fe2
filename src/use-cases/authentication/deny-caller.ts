/** Refusing a caller that is known: on record first, then in words. One place for `FORBIDDEN` and for dead keys. */

import { WritError } from '../../errors.ts';
import type { DenialLog } from '../audit/denial-log.ts';
import { deny } from '../audit/deny.ts';
import type { RequestContext } from '../audit/ports.ts';
import { type Authenticator, refusedKey } from './authenticate-api-key.ts';
import type { Caller } from './ports.ts';

export interface DenyCaller {
  /** A guarded write found the caller's key dead: its row says why. */
  deadKey(caller: Caller, context: RequestContext): Promise<never>;
  forbid(
    caller: Caller,
    context: RequestContext,
    what: { readonly type: string; readonly id: string; readonly why: string },
  ): Promise<never>;
}

export function createDenyCaller(deps: {
  confirm: Authenticator['confirm'];
  denialLog: DenialLog;
}): DenyCaller {
  return {
    deadKey: async (caller, context) => {
      await deps.confirm(caller, context);
      throw refusedKey('AUTH_INVALID_KEY');
    },
    forbid: (caller, context, { type, id, why }) => {
      const denied = { actor: caller.principal, credentialId: caller.keyId, context };
      const error = new WritError('FORBIDDEN', why);
      return deny(deps.denialLog, denied, error, { type: 'auth.denied', resource: { type, id } });
    },
  };
}
