/** How a statement that makes scoped tokens is sent them, and how it inserts those that it grants. */

import { RESTRICTION_MEMBERS } from '../../domain/secrets/token-restrictions.ts';
import type { NewScopedToken } from '../../use-cases/scoped-tokens/ports.ts';
import { columnTypes, type Expressions, insertFrom, members } from '../engine/table-columns.ts';
import { scopedTokens } from '../schema.ts';

/** Sent as they are kept. */
const KEPT = ['id', 'agentId', 'keyId', 'scopes', 'description', ...RESTRICTION_MEMBERS] as const;

/** Of the members of `newTokenRow`. */
export const NEW_TOKEN_TYPES: Expressions<keyof NewScopedToken> = {
  ...columnTypes(scopedTokens, KEPT),
  tokenHashHex: 'text',
  agentRevision: 'int',
  createdAt: 'float8',
  expiresAt: 'float8',
};

/** Times in milliseconds, because a date's text costs more than all the rest. */
export function newTokenRow(token: NewScopedToken) {
  const times = { createdAt: token.createdAt.getTime(), expiresAt: token.expiresAt.getTime() };
  // Not spread into one literal: that makes a hash table of so many members, which costs five times as much.
  return Object.assign({}, token, times);
}

/** Inserts the rows of `granted`; `claimed` names what only the token of an approval has. */
export const insertNewTokens = (claimed: Partial<Expressions<'tier' | 'approvalId'>> = {}): string =>
  insertFrom(
    scopedTokens,
    {
      ...members('granted', KEPT),
      tokenHash: `decode(granted."tokenHashHex", 'hex')`,
      createdAt: 'to_timestamp(granted."createdAt" / 1000)',
      expiresAt: 'to_timestamp(granted."expiresAt" / 1000)',
      ...claimed,
    },
    'granted',
  );
