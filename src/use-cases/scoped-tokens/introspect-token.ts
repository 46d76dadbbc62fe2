/**
 * What is this token? (RFC 7662, contract section 5.5). A scoped token may ask about itself, an agent about its own
 * tokens of both kinds, an admin about all; whatever else is asked is "not active", so nothing is learnt about a token
 * that is not one's own. Nothing is consumed.
 */

import { isWithinReach } from '../../domain/principals/token-holder.ts';
import { SCOPED_TOKEN_PREFIX } from '../../domain/scoped-tokens/scoped-token-format.ts';
import type {
  IntrospectedIntentToken,
  IntrospectIntentToken,
} from '../intent-tokens/introspect-intent-token.ts';
import type { SecretRequester } from '../secrets/authorized-request.ts';
import type { FoundScopedToken, ScopedTokenRecord, ScopedTokenStore } from './ports.ts';

/** Undefined: not active, or none of the asker's business. */
export type IntrospectToken = (
  asker: SecretRequester,
  /** Undefined: the token that asks. */
  token: string | undefined,
) => Promise<IntrospectedToken | undefined>;

export type IntrospectedToken =
  | { readonly kind: 'scoped_token'; readonly record: ScopedTokenRecord }
  | { readonly kind: 'intent_token'; readonly token: IntrospectedIntentToken };

export function createIntrospectToken(deps: {
  readonly store: Pick<ScopedTokenStore, 'find' | 'findByHash'>;
  /** SHA-256 in hex. */
  readonly hashToken: (text: string) => string;
  readonly introspectIntentToken: IntrospectIntentToken;
}): IntrospectToken {
  const scopedToken = async (asker: SecretRequester, text: string | undefined) => {
    const record =
      text === undefined
        ? await findOwn(deps.store, asker)
        : await deps.store.findByHash(deps.hashToken(text));
    const isActive = record?.state === 'live' && record.isWhole && !record.isStopped;
    return isActive && concernsScoped(asker, record)
      ? ({ kind: 'scoped_token', record } as const)
      : undefined;
  };
  const intentToken = async (asker: SecretRequester, jwt: string) => {
    // Before any work: a scoped token learns of none.
    if (asker.guard.kind === 'scoped_token') return undefined;
    const token = await deps.introspectIntentToken(jwt);
    return token !== undefined && isWithinReach(asker.actor, token.agentId)
      ? ({ kind: 'intent_token', token } as const)
      : undefined;
  };
  return (asker, token) =>
    token === undefined || token.startsWith(SCOPED_TOKEN_PREFIX)
      ? scopedToken(asker, token)
      : intentToken(asker, token);
}

/** An API key is no scoped token. */
async function findOwn(
  store: Pick<ScopedTokenStore, 'find'>,
  { guard }: SecretRequester,
): Promise<FoundScopedToken | undefined> {
  return guard.kind === 'scoped_token' ? store.find(guard.tokenId) : undefined;
}

function concernsScoped(asker: SecretRequester, record: ScopedTokenRecord): boolean {
  const { guard } = asker;
  return guard.kind === 'scoped_token'
    ? record.id === guard.tokenId
    : isWithinReach(asker.actor, record.agentId);
}
