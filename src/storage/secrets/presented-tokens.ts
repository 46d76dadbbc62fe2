/** A scoped token and its owner, as a request that presents the token reads them. */

import type { Role } from '../../domain/principals/role.ts';
import { grantedScopes } from '../../domain/scopes/granted-scopes.ts';
import { parseGrantedScope, type Scope } from '../../domain/scopes/scope.ts';
import type { AccessTier } from '../../domain/secrets/access-tier.ts';
import { parseBoundSecret } from '../../domain/secrets/bound-secrets.ts';
import type { PresentedState } from '../../domain/secrets/secret-authorization.ts';
import {
  type AccessRestrictions,
  compileRestrictions,
  RESTRICTION_MEMBERS,
  type TokenRestrictions,
} from '../../domain/secrets/token-restrictions.ts';
import type { Memories, RowSeals } from '../../use-cases/ports.ts';
import type { PresentedToken } from '../../use-cases/secrets/ports.ts';
import { createBoundedMemo } from '../engine/bounded-memo.ts';
import { PRESENTED_TOKEN_STATE } from '../engine/liveness-sql.ts';
import { epochMs, judgedRow, sealList } from '../engine/sealed-rows.ts';
import { columns, selectList } from '../engine/table-columns.ts';
import { scopedTokens } from '../schema.ts';

/** As JSON, which a driver does not parse: read once for each token. */
type RestrictionTexts = Readonly<Record<keyof TokenRestrictions, string | null>>;

export interface TokenRow extends RestrictionTexts {
  readonly tokenId: string;
  readonly agentId: string;
  /** Joined by a blank: a text costs less than a list, and is read once for each token. */
  readonly scopes: string;
  readonly limited: boolean;
  readonly tokenTier: AccessTier;
  readonly sealText: string;
  /** Joined by a comma, which is in none of them. */
  readonly boundSecrets: string | null;
  readonly state: PresentedState;
  readonly agentRole: Role;
  readonly agentRevision: number;
  /** As JSON. */
  readonly allowedScopes: string | null;
  readonly allowedNamespaces: string | null;
  readonly livesMs: number;
}

/** In base64, as JavaScript writes it. */
const SEAL_TEXT = `coalesce(encode(token.seal, 'base64'), '')`;

/** Of `token`, joined with its `agent`. */
export const TOKEN_COLUMNS = `${sealList('scoped_tokens', 'token')}, ${sealList('agents', 'agent')}, ${selectList<TokenRow>(
  {
    tokenId: 'token.id',
    agentId: 'token.agent_id',
    scopes: `array_to_string(token.scopes, ' ')`,
    ...columns(scopedTokens, 'token', RESTRICTION_MEMBERS, (column) => `to_json(${column})::text`),
    limited: 'token.max_uses is not null',
    tokenTier: 'token.access_tier',
    sealText: SEAL_TEXT,
    boundSecrets: `array_to_string(token.bound_secrets, ',')`,
    state: PRESENTED_TOKEN_STATE,
    agentRole: 'agent.role',
    agentRevision: 'agent.revision',
    allowedScopes: 'to_json(agent.allowed_scopes)::text',
    allowedNamespaces: 'to_json(agent.allowed_namespaces)::text',
    livesMs: `${epochMs('token.expires_at')} - ${epochMs('clock_timestamp()')}`,
  },
)}`;

/** What `asRead` of a row is made of, for a statement that has `token`. */
export const TOKEN_AS_READ = `concat_ws(' ', ${SEAL_TEXT}, array_to_string(token.scopes, ' '), token.access_tier,
  coalesce(token.max_uses::text, 'null'), coalesce(to_json(token.allowed_ips)::text, 'null'),
  array_to_string(token.bound_secrets, ','))`;

/** With its seal: one that was revoked has lost it, so that what a process remembers does not fit a row that is revived. */
function asRead({ sealText, scopes, tokenTier, maxUses, allowedIps, boundSecrets }: TokenRow): string {
  const always = `${sealText} ${scopes} ${tokenTier} ${maxUses} ${allowedIps}`;
  return boundSecrets === null ? always : `${always} ${boundSecrets}`;
}

const REMEMBERED = 10_000;

/** Each text is parsed, and each pattern compiled, once. */
export function createPresentedTokens(
  memories: Memories,
  seals: RowSeals,
): (row: TokenRow) => PresentedToken {
  const ofToken = createBoundedMemo<
    Pick<PresentedToken, 'scopes' | 'opens'> & { restrictions: AccessRestrictions }
  >({ memories, name: 'scopes and restrictions of tokens' }, REMEMBERED);
  const ofOwner = createBoundedMemo<readonly Scope[]>({ memories, name: 'scopes of owners' }, REMEMBERED);
  return (row) => {
    // One that says that it is not live grants nothing, whoever wrote that.
    if (row.state === 'live') {
      const token = judgedRow('scoped_tokens', row);
      seals.require(token);
      seals.require(judgedRow('agents', row), token);
    }
    const content = asRead(row);
    const { scopes, restrictions, opens } = ofToken(row.tokenId, content, () => ({
      scopes: row.scopes.split(' ').map(storedScope),
      restrictions: compileRestrictions(storedRestrictions(row)),
      opens: { tier: row.tokenTier, bound: storedBound(row) },
    }));
    const ownerScopes = ofOwner(
      row.agentId,
      `${row.agentRole} ${row.allowedScopes} ${row.allowedNamespaces}`,
      () =>
        grantedScopes({
          role: row.agentRole,
          allowedScopes: storedList(row.allowedScopes),
          allowedNamespaces: storedList(row.allowedNamespaces),
        }),
    );
    return {
      id: row.tokenId,
      agentId: row.agentId,
      agentRole: row.agentRole,
      agentRevision: row.agentRevision,
      scopes,
      ownerScopes,
      restrictions,
      limited: row.limited,
      asRead: content,
      livesMs: row.livesMs,
      state: row.state,
      opens,
    };
  };
}

const storedList = (json: string | null): string[] | null =>
  json === null ? null : (JSON.parse(json) as string[]);

/** What a row grants was validated when it was written; one that no longer parses is a fault, never a grant. */
function storedScope(text: string): Scope {
  const parsed = parseGrantedScope(text);
  if (!parsed.ok) throw new Error('a stored scope does not parse');
  return parsed.scope;
}

const NOTHING_BOUND: ReadonlyMap<string, AccessTier> = new Map();

/** One that no longer parses opens nothing. */
function storedBound({ boundSecrets }: TokenRow): ReadonlyMap<string, AccessTier> {
  if (boundSecrets === null || boundSecrets === '') return NOTHING_BOUND;
  const bound = boundSecrets.split(',').flatMap((text) => parseBoundSecret(text) ?? []);
  return new Map(bound.map(({ id, tier }) => [id, tier]));
}

function storedRestrictions(row: RestrictionTexts): TokenRestrictions {
  const read = RESTRICTION_MEMBERS.map((member) => [member, JSON.parse(row[member] ?? 'null')]);
  return Object.fromEntries(read) as TokenRestrictions;
}
