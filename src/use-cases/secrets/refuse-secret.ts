/** A refusal of a request about secrets: it is on record, under the name that its credential gives it, and is answered then. */

import type { DenialLog } from '../audit/denial-log.ts';
import { deny } from '../audit/deny.ts';
import type { EventType, RequestContext } from '../audit/ports.ts';
import type { AuditResource, SecretRequester } from './authorized-request.ts';

/** Puts a refusal of a known credential on record, unless it is about the request's form, and rejects with it. */
export function refuseSecret(
  deps: { readonly denialLog: DenialLog },
  requester: SecretRequester,
  context: RequestContext,
  what: {
    readonly error: unknown;
    readonly resource: AuditResource;
    /** Of secrets, where the resource is none. */
    readonly paths?: readonly string[];
  },
): Promise<never> {
  const { actor, credentialId } = requester;
  const type = denialOf(requester);
  const { error, ...about } = what;
  return deny(deps.denialLog, { actor, credentialId, context }, error, { type, ...about });
}

/** The type of the event of a refusal. */
export const denialOf = ({ guard }: Pick<SecretRequester, 'guard'>): EventType =>
  guard.kind === 'scoped_token' ? 'token.denied' : 'secret.denied';
