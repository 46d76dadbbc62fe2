/** A new scoped token, whether it is granted at once or claimed from an approval. */

import { formatTimestamp } from '../../domain/formats/rfc3339.ts';
import {
  namedRestrictions,
  restrictionsOf,
  type TokenRestrictions,
} from '../../domain/secrets/token-restrictions.ts';
import { auditEvent } from '../audit/build-audit-event.ts';
import type { AuditEvent, RequestContext } from '../audit/ports.ts';
import type { Caller } from '../authentication/ports.ts';
import type { Clock } from '../ports.ts';
import type { NewScopedToken } from './ports.ts';

export interface MakeScopedTokenDeps {
  /** A fresh token and its SHA-256. */
  readonly generate: () => { readonly text: string; readonly hashHex: string };
  readonly newId: () => string;
  readonly clock: Clock;
}

export interface MadeScopedToken {
  /** The token itself: leaves in one answer and never again. */
  readonly text: string;
  readonly token: NewScopedToken;
}

/** Of whoever is handed the token; `approval_id` where it was approved first. */
export function tokenIssuedEvent(
  deps: Pick<MakeScopedTokenDeps, 'newId'>,
  token: NewScopedToken,
  { principal, keyId }: Caller,
  context: RequestContext,
  approval?: { readonly approval_id: string },
): AuditEvent {
  const { description } = token;
  const metadata = {
    key_id: keyId,
    scopes: token.scopes,
    expires_at: formatTimestamp(token.expiresAt),
    ...namedRestrictions(token),
  };
  return auditEvent(principal, context, {
    id: deps.newId(),
    type: 'token.issued',
    resource: { type: 'scoped_token', id: token.id },
    // Most tokens have neither: their text is not made longer, nor their metadata twice.
    metadata:
      description === null && approval === undefined
        ? metadata
        : { ...metadata, ...(description === null ? {} : { description }), ...approval },
  });
}

/** Its time starts now. */
export function makeScopedToken(
  deps: MakeScopedTokenDeps,
  { principal, keyId }: Caller,
  asked: TokenRestrictions & { readonly ttlSeconds: number; readonly description: string | null },
  scopes: readonly string[],
): MadeScopedToken {
  const createdAt = deps.clock.now();
  const { text, hashHex } = deps.generate();
  const token = {
    id: deps.newId(),
    tokenHashHex: hashHex,
    agentId: principal.id,
    keyId,
    agentRevision: principal.revision,
    scopes,
    ...restrictionsOf(asked),
    description: asked.description,
    createdAt,
    expiresAt: new Date(createdAt.getTime() + asked.ttlSeconds * 1000),
  };
  return { text, token };
}
