/**
 * Principals and their API keys (contract section 2), for administrators and for the command line. A key's text
 * leaves once, in the answer that creates it. Liveness is derived: revoking an agent or a key writes one row.
 */

import { canonicalText } from '../domain/canonical-json.ts';
import { effectiveScopes } from '../domain/effective-scopes.ts';
import { grantedScopes } from '../domain/granted-scopes.ts';
import { parseAgentPolicy, parsePolicy } from '../domain/policy.ts';
import { formatScope } from '../domain/scope.ts';
import type { JsonObject, JsonValue } from '../domain/strict-json.ts';
import { WritError } from '../errors.ts';
import { refusedKey } from './authenticate.ts';
import type {
  ActorWrite,
  AgentChanges,
  AgentRecord,
  AgentStore,
  ApiKeyRecord,
  AuditEvent,
  Caller,
  EventType,
  NewApiKey,
  RequestContext,
  Role,
} from './ports.ts';

export interface ManageAgentsDeps {
  readonly store: AgentStore;
  readonly newId: () => string;
  readonly now: () => Date;
  /** A fresh key and its hash. */
  readonly makeKey: () => Promise<{ text: string; keyId: string; prefix: string; hash: string }>;
}

/** Who acts: an administrator's key, or the operator at the command line. */
export type Actor = Caller | 'system';

export interface AgentSpec {
  readonly name: string;
  readonly role: Role;
  readonly email: string | null;
  readonly description: string | null;
  readonly allowedScopes: readonly string[] | null;
  readonly allowedNamespaces: readonly string[] | null;
  readonly policy: JsonValue;
  readonly keyExpiresAt: Date | null;
}

/** A principal with what follows from its record. */
export interface AgentDetails extends AgentRecord {
  readonly effectiveScopes: readonly string[];
  readonly policy: JsonObject | null;
}

export interface CreatedAgent {
  readonly agent: AgentDetails;
  readonly apiKey: string;
  readonly keyId: string;
}

export interface AgentManager {
  create(spec: AgentSpec, actor: Actor, context: RequestContext): Promise<CreatedAgent>;
  get(idOrName: string): Promise<AgentDetails>;
  list(page: { limit: number; after: string | undefined }): Promise<readonly AgentDetails[]>;
  update(
    idOrName: string,
    changes: Omit<AgentChanges, 'policyText'> & { policy?: JsonValue },
    actor: Actor,
    context: RequestContext,
  ): Promise<AgentDetails>;
  /** Again is fine. Revoking oneself is `FORBIDDEN`. */
  revoke(idOrName: string, actor: Actor, context: RequestContext): Promise<void>;
  addKey(
    idOrName: string,
    spec: { name: string | null; expiresAt: Date | null },
    actor: Actor,
    context: RequestContext,
  ): Promise<{ agentId: string; key: ApiKeyRecord; apiKey: string }>;
  /** Again is fine. Revoking the key in use is `FORBIDDEN`. */
  revokeKey(target: { agent: string; keyId: string }, actor: Actor, context: RequestContext): Promise<void>;
}

export function createAgentManager(deps: ManageAgentsDeps): AgentManager {
  const { store } = deps;

  const get = async (idOrName: string): Promise<AgentDetails> => {
    const agent = await store.find(idOrName);
    if (agent === undefined) throw noSuchAgent();
    return detailsOf(agent);
  };

  const write = (
    actor: Actor,
    context: RequestContext,
    event: { type: EventType; resource: [type: string, id: string]; metadata?: Record<string, unknown> },
  ): ActorWrite => ({
    actorKeyId: actor === 'system' ? null : actor.keyId,
    event: eventOf(deps.newId(), actor, context, event),
  });

  const newKey = async (
    name: string | null,
    expiresAt: Date | null,
  ): Promise<NewApiKey & { text: string }> => {
    if (expiresAt !== null && expiresAt <= deps.now()) {
      throw new WritError('VALIDATION_ERROR', 'A key must expire in the future.');
    }
    return { ...(await deps.makeKey()), name, expiresAt };
  };

  return {
    get,
    list: async (page) => (await store.list(page)).map(detailsOf),

    create: async (spec, actor, context) => {
      validateName(spec.name);
      validateGrants(spec);
      const id = deps.newId();
      const { text, ...key } = await newKey(null, spec.keyExpiresAt);
      const event = write(actor, context, {
        type: 'agent.created',
        resource: ['agent', id],
        metadata: { name: spec.name, role: spec.role, key_id: key.keyId },
      });
      const outcome = await store.create({ ...spec, id, policyText: policyText(spec.policy), key }, event);
      if (outcome === 'name_taken') {
        throw new WritError('ALREADY_EXISTS', 'An active agent has this name.', {
          details: { pointer: '/name' },
        });
      }
      if (outcome === 'actor_not_live') throw refusedKey('AUTH_INVALID_KEY');
      return { agent: await get(id), apiKey: text, keyId: key.keyId };
    },

    update: async (idOrName, { policy, ...changes }, actor, context) => {
      const before = await get(idOrName);
      validateGrants({
        role: before.role,
        allowedScopes: changes.allowedScopes === undefined ? before.allowedScopes : changes.allowedScopes,
        allowedNamespaces:
          changes.allowedNamespaces === undefined ? before.allowedNamespaces : changes.allowedNamespaces,
        policy: policy ?? null,
      });
      const outcome = await store.update(
        before.id,
        { ...changes, ...(policy === undefined ? {} : { policyText: policyText(policy) }) },
        write(actor, context, {
          type: 'agent.updated',
          resource: ['agent', before.id],
          metadata: { changed: [...Object.keys(changes), ...(policy === undefined ? [] : ['policy'])] },
        }),
      );
      if (outcome === 'actor_not_live') throw refusedKey('AUTH_INVALID_KEY');
      if (outcome === 'absent') throw noSuchAgent();
      return get(before.id);
    },

    revoke: async (idOrName, actor, context) => {
      const agent = await get(idOrName);
      if (actor !== 'system' && agent.id === actor.principal.id) {
        throw new WritError('FORBIDDEN', 'Nobody can revoke themselves.');
      }
      if (agent.revokedAt !== null) return;
      const event = write(actor, context, { type: 'agent.revoked', resource: ['agent', agent.id] });
      if ((await store.revoke(agent.id, event)) === 'actor_not_live') throw refusedKey('AUTH_INVALID_KEY');
    },

    addKey: async (idOrName, spec, actor, context) => {
      const agent = await get(idOrName);
      const { text, ...key } = await newKey(spec.name, spec.expiresAt);
      const event = write(actor, context, {
        type: 'key.created',
        resource: ['api_key', key.keyId],
        metadata: { agent_id: agent.id },
      });
      const outcome = await store.addKey(agent.id, key, event);
      if (outcome === 'actor_not_live') throw refusedKey('AUTH_INVALID_KEY');
      const added = (await get(agent.id)).keys.find((candidate) => candidate.keyId === key.keyId);
      if (outcome === 'absent' || added === undefined) throw noSuchAgent();
      return { agentId: agent.id, key: added, apiKey: text };
    },

    revokeKey: async ({ agent: idOrName, keyId }, actor, context) => {
      const agent = await get(idOrName);
      const key = agent.keys.find((candidate) => candidate.keyId === keyId);
      if (key === undefined) throw new WritError('NOT_FOUND', 'There is no such key.');
      if (actor !== 'system' && keyId === actor.keyId) {
        throw new WritError('FORBIDDEN', 'The key in use cannot revoke itself.');
      }
      if (key.revokedAt !== null) return;
      const event = write(actor, context, {
        type: 'key.revoked',
        resource: ['api_key', keyId],
        metadata: { agent_id: agent.id },
      });
      const outcome = await store.revokeKey({ agentId: agent.id, keyId }, event);
      if (outcome === 'actor_not_live') throw refusedKey('AUTH_INVALID_KEY');
    },
  };
}

function detailsOf(agent: AgentRecord): AgentDetails {
  return {
    ...agent,
    effectiveScopes: grantedScopes(agent).map(formatScope),
    policy: agent.policyText === null ? null : (JSON.parse(agent.policyText) as JsonObject),
  };
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Ids and names share one place in URLs, so a name must not look like an id. */
function validateName(name: string): void {
  const fault = (message: string) =>
    new WritError('VALIDATION_ERROR', message, { details: { pointer: '/name' } });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (!/^[^\u0000-\u001f\u007f]+$/.test(name) || [...name].length > 64) {
    throw fault('A name has 1 to 64 characters, no control characters.');
  }
  if (UUID.test(name)) throw fault('A name must not look like an id.');
}

const noSuchAgent = (): WritError => new WritError('NOT_FOUND', 'There is no such agent.');

/** Scopes, namespaces and policy bind agents only; on another role they would be ignored, so they are refused. */
function validateGrants(
  grant: Pick<AgentSpec, 'role' | 'allowedScopes' | 'allowedNamespaces' | 'policy'>,
): void {
  const given = grant.allowedScopes !== null || grant.allowedNamespaces !== null || grant.policy !== null;
  if (grant.role !== 'agent' && given) {
    throw new WritError(
      'VALIDATION_ERROR',
      'Only role agent takes allowed_scopes, allowed_namespaces and policy.',
    );
  }
  const effective = effectiveScopes(grant);
  if (!effective.ok) {
    const what = effective.code === 'INVALID_SCOPE' ? 'scope' : 'namespace';
    throw new WritError(effective.code, `${effective.pointer.slice(1)} is not a ${what}.`, {
      details: { pointer: effective.pointer },
    });
  }
  if (grant.policy === null) return;
  const policy = parseAgentPolicy(grant.policy);
  if (policy.ok) return;
  const note = parsePolicy(grant.policy).ok ? ' (an agent’s policy takes allow, deny and allowed_tools)' : '';
  throw new WritError('INVALID_POLICY', `policy${policy.pointer}: ${policy.message}${note}`, {
    details: { pointer: `/policy${policy.pointer}` },
  });
}

const policyText = (policy: JsonValue): string | null => (policy === null ? null : canonicalText(policy));

function eventOf(
  id: string,
  actor: Actor,
  context: RequestContext,
  event: { type: EventType; resource: [type: string, id: string]; metadata?: Record<string, unknown> },
): AuditEvent {
  const who = actor === 'system' ? { id: 'system', role: 'system' as const } : actor.principal;
  return {
    id,
    eventType: event.type,
    actorId: who.id,
    actorType: who.role,
    resourceType: event.resource[0],
    resourceId: event.resource[1],
    metadata: event.metadata ?? {},
    ipAddress: context.ipAddress,
    requestId: context.requestId,
  };
}
