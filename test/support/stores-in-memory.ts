/**
 * The five stores that most use cases need, in memory: for tables of decisions, which cost a hundredth on them. They are
 * held to the same contract as those of the database (`stores-in-memory.test.ts`); each method takes effect at once, so
 * nothing comes between what it judges and what it writes.
 */
import { UUID } from '../../src/domain/formats/uuid.ts';
import { parseAgentPolicy } from '../../src/domain/policies/policy.ts';
import { grantedScopes } from '../../src/domain/scopes/granted-scopes.ts';
import { ACCESS_TIERS, type AccessTier } from '../../src/domain/secrets/access-tier.ts';
import type { TokenState } from '../../src/domain/secrets/secret-authorization.ts';
import type { AuditEvent, AuditTrail } from '../../src/use-cases/audit/ports.ts';
import type { CredentialStore, Principal } from '../../src/use-cases/authentication/ports.ts';
import type {
  IdempotencyRecord,
  IdempotencyScope,
  IntentTokenRecord,
  IntentTokenStore,
  RepeatStanding,
} from '../../src/use-cases/intent-tokens/ports.ts';
import type {
  ActorWrite,
  AgentRecord,
  AgentStore,
  ApiKeyRecord,
  EndedKey,
  NewAgent,
} from '../../src/use-cases/principals/ports.ts';
import type {
  NewScopedToken,
  ScopedTokenRecord,
  ScopedTokenStore,
} from '../../src/use-cases/scoped-tokens/ports.ts';
import { aSigningKey } from '../storage/builders.ts';
import type { FiveStores, IntentEnding, SignerState, TokenChange } from '../storage/five-stores.ts';

type Kept<Row> = { -readonly [Member in keyof Row]: Row[Member] };
type AgentRow = Kept<Omit<AgentRecord, 'keys'>> & { revision: number };
type KeyRow = Kept<ApiKeyRecord> & { agentId: string; readonly hash: string };
type TokenRow = Kept<NewScopedToken> & { uses: number; revokedAt: Date | null };

/** By their ids, in the order in which they came. */
interface State {
  readonly agents: Map<string, AgentRow>;
  readonly keys: Map<string, KeyRow>;
  readonly intents: Map<string, IntentTokenRecord>;
  readonly revokedIntents: Set<string>;
  /** Those that a test made; any other kid signs. */
  readonly signers: Map<string, SignerState>;
  readonly repeatable: Map<string, { readonly record: IdempotencyRecord; readonly at: number }>;
  readonly tokens: Map<string, TokenRow>;
  readonly tiers: Map<string, AccessTier>;
  readonly events: AuditEvent[];
}

export interface StoresInMemory extends FiveStores {
  readonly events: readonly AuditEvent[];
}

export function createStoresInMemory(): StoresInMemory {
  const state: State = {
    agents: new Map(),
    keys: new Map(),
    intents: new Map(),
    revokedIntents: new Set(),
    signers: new Map(),
    repeatable: new Map(),
    tokens: new Map(),
    tiers: new Map(),
    events: [],
  };
  const trail: AuditTrail = {
    append: async (event, alarms = []) =>
      void state.events.push(event, ...alarms.map((alarm) => alarm.event)),
    raise: async (alarms) => void state.events.push(...alarms.map((alarm) => alarm.event)),
  };
  return {
    agents: createAgents(state),
    credentials: createCredentials(state),
    intents: createIntents(state),
    tokens: createTokens(state),
    trail,
    events: state.events,
    ...pastTheStores(state),
  };
}

const hasExpired = ({ expiresAt }: { readonly expiresAt: Date | null }): boolean =>
  expiresAt !== null && expiresAt.getTime() <= Date.now();

function liveActor({ keys, agents }: State, keyId: string): AgentRow | undefined {
  const key = keys.get(keyId);
  const agent = key && agents.get(key.agentId);
  const isLive = key?.revokedAt === null && !hasExpired(key) && agent?.revokedAt === null;
  return isLive ? agent : undefined;
}

interface Asked {
  readonly keyId: string;
  readonly agentId: string;
  readonly agentRevision: number;
}

function issuerIsLive(state: State, { keyId, agentId, agentRevision }: Asked): boolean {
  const actor = liveActor(state, keyId);
  return actor?.id === agentId && actor.revision === agentRevision;
}

/** What the database refuses by a unique index. */
function requireFree(isTaken: boolean): void {
  if (isTaken) throw new Error('a row of that key is there');
}

/** What looks alike is one text. */
const skeletonOf = (name: string): string =>
  name.toLowerCase().replace(/[1i]/g, 'l').replaceAll('0', 'o').replaceAll('rn', 'm');

function createAgents(state: State): AgentStore {
  const { agents, keys, events } = state;
  const live = (id: string): AgentRow | undefined => {
    const agent = agents.get(id);
    return agent?.revokedAt === null ? agent : undefined;
  };
  const guarded = async <Outcome extends string>(
    { actorKeyId, event }: ActorWrite,
    effective: Outcome,
    change: () => Outcome,
  ): Promise<Outcome | 'actor_not_live'> => {
    if (actorKeyId !== null && liveActor(state, actorKeyId)?.role !== 'admin') return 'actor_not_live';
    const outcome = change();
    if (outcome === effective) events.push(event);
    return outcome;
  };
  const recordOf = ({ revision: _revision, ...agent }: AgentRow): AgentRecord => ({
    ...agent,
    keys: [...keys.values()]
      .filter(({ agentId }) => agentId === agent.id)
      .map(({ agentId: _agent, hash: _hash, ...key }) => ({ ...key })),
  });
  const addKey = (agentId: string, key: NewAgent['key']): void => {
    requireFree(keys.has(key.keyId));
    keys.set(key.keyId, {
      ...key,
      agentId,
      createdAt: new Date(),
      lastUsedAt: null,
      lastUsedIp: null,
      revokedAt: null,
    });
  };
  const byName = (name: string): AgentRow | undefined =>
    [...agents.values()].find((agent) => agent.name === name && agent.revokedAt === null);
  const looksTaken = (name: string): boolean =>
    [...agents.values()].some(
      (agent) => agent.revokedAt === null && skeletonOf(agent.name) === skeletonOf(name),
    );
  const end = (row: AgentRow | KeyRow | undefined): 'revoked' | 'absent' => {
    if (row?.revokedAt !== null) return 'absent';
    row.revokedAt = new Date();
    return 'revoked';
  };
  return {
    create: ({ key, ...agent }, write) =>
      guarded<'created' | 'name_taken'>(write, 'created', () => {
        if (looksTaken(agent.name)) return 'name_taken';
        addKey(agent.id, key);
        agents.set(agent.id, { ...agent, createdAt: new Date(), revokedAt: null, revision: 1 });
        return 'created';
      }),
    find: async (idOrName) => {
      const found = UUID.test(idOrName) ? agents.get(idOrName.toLowerCase()) : byName(idOrName);
      return found && recordOf(found);
    },
    list: async ({ limit, after }) =>
      [...agents.values()]
        .filter(({ id }) => after === undefined || id > after)
        .sort((one, other) => (one.id < other.id ? -1 : 1))
        .slice(0, limit)
        .map(recordOf),
    update: (id, changes, write) =>
      guarded<'updated' | 'absent'>(write, 'updated', () => {
        const agent = live(id);
        if (agent === undefined) return 'absent';
        Object.assign(agent, changes, { revision: agent.revision + 1 });
        return 'updated';
      }),
    revoke: (id, write) => guarded<'revoked' | 'absent'>(write, 'revoked', () => end(live(id))),
    addKey: (id, key, write) =>
      guarded<'added' | 'absent'>(write, 'added', () => {
        if (live(id) === undefined) return 'absent';
        addKey(id, key);
        return 'added';
      }),
    revokeKey: ({ agentId, keyId }, write) =>
      guarded<'revoked' | 'absent'>(write, 'revoked', () => {
        const key = keys.get(keyId);
        const outcome = end(key?.agentId === agentId ? key : undefined);
        const agent = agents.get(agentId);
        if (outcome === 'revoked' && agent !== undefined) agent.revision += 1;
        return outcome;
      }),
    rotateKeys: async (id, { key, older, overlapSeconds, eventOf }, write) => {
      const ended: EndedKey[] = [];
      const outcome = await guarded<'rotated' | 'absent'>(write, 'rotated', () => {
        const agent = live(id);
        if (agent === undefined) return 'absent';
        const cutOff = new Date(Date.now() + overlapSeconds * 1000);
        for (const row of older.toSorted().map((keyId) => keys.get(keyId))) {
          if (row?.agentId !== id || row.revokedAt !== null || hasExpired(row)) continue;
          const endsAt = row.expiresAt !== null && row.expiresAt < cutOff ? row.expiresAt : cutOff;
          ended.push({ keyId: row.keyId, endsAt });
          if (overlapSeconds === 0) row.revokedAt = new Date();
          else if (row.expiresAt?.getTime() !== endsAt.getTime()) row.expiresAt = endsAt;
          else continue;
          events.push(eventOf({ keyId: row.keyId, endsAt }));
        }
        addKey(id, key);
        agent.revision += 1;
        return 'rotated';
      });
      return outcome === 'rotated' ? ended : outcome;
    },
    countAgents: async () =>
      [...agents.values()].filter(({ role, revokedAt }) => role === 'agent' && revokedAt === null).length,
  };
}

const LATER = new Date(8.64e15);

function createCredentials({ keys, agents }: State): CredentialStore {
  return {
    findKey: async (keyId) => {
      const key = keys.get(keyId);
      const agent = key && agents.get(key.agentId);
      if (key === undefined || agent === undefined) return undefined;
      return {
        caller: { principal: principalOf(agent), keyId, keyPrefix: key.prefix, keyExpiresAt: key.expiresAt },
        hash: key.hash,
        revoked: key.revokedAt !== null || agent.revokedAt !== null,
        expired: hasExpired(key),
        stopped: false,
        livesMs: key.expiresAt === null ? null : key.expiresAt.getTime() - Date.now(),
        isWhole: true,
      };
    },
    noteUses: async (uses) => {
      for (const { keyId, at, ipAddress } of uses) {
        const key = keys.get(keyId);
        const isNews = (key?.lastUsedAt?.getTime() ?? 0) < at.getTime();
        const wasLive = [key?.revokedAt, key?.expiresAt].every((end) => (end ?? LATER) > at);
        if (key !== undefined && isNews && wasLive)
          Object.assign(key, { lastUsedAt: at, lastUsedIp: ipAddress });
      }
    },
  };
}

function principalOf({ id, name, role, policyText, revision, ...allowed }: AgentRow): Principal {
  const policy = policyText === null ? null : parseAgentPolicy(JSON.parse(policyText));
  if (policy?.ok === false) throw new Error(`agent ${id} has a policy that does not parse`);
  const effectiveScopes = grantedScopes({ role, ...allowed });
  return { id, name, role, policy: policy?.policy ?? null, effectiveScopes, revision };
}

const REPEATABLE_MS = 600_000;

function createIntents(state: State): IntentTokenStore {
  const { intents, repeatable, events } = state;
  const nameOf = ({ agentId, path, key }: IdempotencyScope): string => JSON.stringify([agentId, path, key]);
  const found = (scope: IdempotencyScope): IdempotencyRecord | undefined => {
    const kept = repeatable.get(nameOf(scope));
    return kept !== undefined && Date.now() - kept.at < REPEATABLE_MS ? kept.record : undefined;
  };
  const standingOf = ({ jti, keyId }: IdempotencyRecord, agentId: string): RepeatStanding => {
    const token = intents.get(jti);
    const isRevoked =
      token === undefined ||
      state.revokedIntents.has(jti) ||
      state.signers.get(token.kid) === 'is compromised';
    if (isRevoked || state.agents.get(agentId)?.revokedAt !== null) return 'revoked';
    if (token.expiresAtSeconds * 1000 <= Date.now()) return 'expired';
    return liveActor(state, keyId)?.id === agentId ? 'live' : 'key_ended';
  };
  return {
    issue: async (record, event, idempotency) => {
      if (!issuerIsLive(state, record)) return false;
      if ((state.signers.get(record.kid) ?? 'is leaving') !== 'is leaving') return false;
      if (idempotency !== undefined && found(idempotency.scope) !== undefined) return false;
      requireFree(intents.has(record.jti));
      intents.set(record.jti, record);
      events.push(event);
      if (idempotency !== undefined) {
        repeatable.set(nameOf(idempotency.scope), { record: idempotency.record, at: Date.now() });
      }
      return true;
    },
    findIssued: async (scope) => {
      const record = found(scope);
      return record && { ...record, standing: standingOf(record, scope.agentId) };
    },
    recordRepeat: async ({ scope, jti, callerKeyId, agentRevision, event }) => {
      const record = found(scope);
      const { agentId } = scope;
      if (record?.jti !== jti || standingOf(record, agentId) !== 'live') return false;
      if (!issuerIsLive(state, { keyId: callerKeyId, agentId, agentRevision })) return false;
      events.push(event);
      return true;
    },
  };
}

function createTokens(state: State): ScopedTokenStore {
  const { tokens, agents, tiers, events } = state;
  const stateOf = (token: TokenRow): TokenState => {
    if (token.revokedAt !== null || agents.get(token.agentId)?.revokedAt !== null) return 'revoked';
    if (hasExpired(token)) return 'expired';
    return token.maxUses !== null && token.uses >= token.maxUses ? 'exhausted' : 'live';
  };
  const recordOf = (token: TokenRow): ScopedTokenRecord => {
    const { tokenHashHex: _hash, keyId: _key, agentRevision: _revision, ...kept } = token;
    return { ...kept, state: stateOf(token) };
  };
  const byHash = (hash: string): TokenRow | undefined =>
    [...tokens.values()].find(({ tokenHashHex }) => tokenHashHex === hash);
  return {
    issue: async (token, event) => {
      if (!issuerIsLive(state, token)) return false;
      requireFree(tokens.has(token.id) || byHash(token.tokenHashHex) !== undefined);
      tokens.set(token.id, { ...token, uses: 0, revokedAt: null });
      events.push(event);
      return true;
    },
    find: async (id) => {
      const token = tokens.get(id);
      return token && { ...recordOf(token), isWhole: true, isStopped: false };
    },
    findByHash: async (hash) => {
      const token = byHash(hash);
      return token && { ...recordOf(token), isWhole: true, isStopped: false };
    },
    list: async ({ agentId, state: wanted, limit, before }) =>
      [...tokens.values()]
        .map(recordOf)
        .filter(
          (token) =>
            (agentId === undefined || token.agentId === agentId) &&
            (wanted === undefined || token.state === wanted) &&
            (before === undefined || token.id < before),
        )
        .sort((one, other) => (one.id < other.id ? 1 : -1))
        .slice(0, limit),
    revoke: async (id, { actorKeyId, event }) => {
      const actor = liveActor(state, actorKeyId);
      if (actor === undefined) return 'actor_not_live';
      const token = tokens.get(id);
      const mayEnd = actor.role === 'admin' || actor.id === token?.agentId;
      if (token?.revokedAt !== null || !mayEnd) return 'unchanged';
      token.revokedAt = new Date();
      events.push(event);
      return 'revoked';
    },
    highestTier: async (paths) =>
      ACCESS_TIERS.findLast((tier) => paths.some((path) => tiers.get(path) === tier)),
  };
}

function pastTheStores({ keys, tokens, intents, revokedIntents, signers, tiers, events }: State) {
  return {
    eventsOf: async (resourceId: string) =>
      events.filter((event) => event.resourceId === resourceId).map(({ eventType }) => eventType),
    countEvents: async () => events.length,
    isIssued: async (jti: string) => intents.has(jti),
    endIntent: async (jti: string, how: IntentEnding) =>
      how === 'revoked' ? revokedIntents.add(jti) : changed(intents, jti, { expiresAtSeconds: 0 }),
    signerThat: async (does: SignerState) => {
      const { kid } = aSigningKey();
      signers.set(kid, does);
      return kid;
    },
    compromise: async (kid: string) => signers.set(kid, 'is compromised'),
    expireKey: async (keyId: string) => changed(keys, keyId, { expiresAt: new Date(Date.now() - 1) }),
    giveKey: async (keyId: string, agentId: string) => changed(keys, keyId, { agentId }),
    changeToken: async (id: string, { expired, revoked, ...change }: TokenChange) =>
      changed(tokens, id, {
        ...change,
        ...(expired === undefined ? {} : { expiresAt: new Date(Date.now() - 1) }),
        ...(revoked === undefined ? {} : { revokedAt: new Date() }),
      }),
    keepSecret: async (tier: AccessTier) => {
      const path = `kept-${tiers.size}/KEY`;
      tiers.set(path, tier);
      return path;
    },
  };
}

function changed<Row extends object>(rows: ReadonlyMap<string, Row>, id: string, to: Partial<Row>): void {
  const row = rows.get(id);
  if (row === undefined) throw new Error(`there is no ${id}`);
  Object.assign(row, to);
}
