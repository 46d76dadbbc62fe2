/**
 * What is this token? (RFC 7662, contract section 5.5). A token may ask about itself, an agent about its own, an admin
 * about all; whatever else is asked is "not active", so nothing is learnt about a token that is not one's own. Nothing
 * is consumed.
 */

import type { SecretRequester } from '../secrets/authorized-request.ts';
import type { ScopedTokenRecord, ScopedTokenStore } from './ports.ts';

/** Which token; `itself`: the one that asks. */
export type IntrospectedToken = { readonly hashHex: string } | 'itself';

/** Undefined: not active, or none of the asker's business. */
export type IntrospectScopedToken = (
  asker: SecretRequester,
  token: IntrospectedToken,
) => Promise<ScopedTokenRecord | undefined>;

export function createIntrospectScopedToken(deps: {
  readonly store: ScopedTokenStore;
}): IntrospectScopedToken {
  return async (asker, token) => {
    const record =
      token === 'itself' ? await findOwn(deps.store, asker) : await deps.store.findByHash(token.hashHex);
    return record?.state === 'live' && concerns(asker, record) ? record : undefined;
  };
}

/** An API key is no scoped token. */
async function findOwn(
  store: ScopedTokenStore,
  { guard }: SecretRequester,
): Promise<ScopedTokenRecord | undefined> {
  return guard.kind === 'scoped_token' ? store.find(guard.tokenId) : undefined;
}

function concerns({ guard, actor }: SecretRequester, record: ScopedTokenRecord): boolean {
  if (guard.kind === 'scoped_token') return record.id === guard.tokenId;
  return actor.role === 'admin' || record.agentId === actor.id;
}
