/**
 * Principals and their API keys (contract section 2), for administrators and for the command line. A key's text
 * leaves once, in the answer that creates it. Liveness is derived: revoking an agent or a key writes one row.
 */

import { canonicalText } from '../../domain/json/canonical-json.ts';
import type { JsonObject, JsonValue } from '../../domain/json/strict-json.ts';
import { grantedScopes } from '../../domain/scopes/granted-scopes.ts';
import { formatScope } from '../../domain/scopes/scope.ts';
import { WritError } from '../../errors.ts';
import type { RequestContext } from '../audit/ports.ts';
import type { AgentChanges, AgentProfile, AgentRecord, AgentStore, ApiKeyRecord } from './ports.ts';
import { mayNamePrincipal, noSuchAgent, noSuchKey, requireName, validateGrants } from './principal-rules.ts';
import { type Actor, createPrincipalWrites, type PrincipalWriteDeps } from './principal-writes.ts';

export interface ManageAgentsDeps extends PrincipalWriteDeps {
  readonly store: AgentStore;
}

export interface AgentSpec extends AgentProfile {
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
    // What can be neither is nobody's, and is never sent to the database.
    const agent = mayNamePrincipal(idOrName) ? await store.find(idOrName) : undefined;
    if (agent === undefined) throw noSuchAgent(idOrName);
    return detailsOf(agent);
  };

  const { write, newKey, refuseDeadActor } = createPrincipalWrites(deps);

  return {
    get,
    list: async (page) => (await store.list(page)).map(detailsOf),

    create: async ({ name: given, ...profile }, actor, context) => {
      const spec = { ...profile, name: requireName(given) };
      validateGrants(spec);
      const id = deps.newId();
      const { text, ...key } = await newKey(null, spec.keyExpiresAt, '/key_expires_at');
      const event = write(actor, context, {
        type: 'agent.created',
        resource: { type: 'agent', id },
        metadata: { name: spec.name, role: spec.role, key_id: key.keyId },
      });
      const outcome = await store.create({ ...spec, id, policyText: policyText(spec.policy), key }, event);
      if (outcome === 'name_taken') {
        throw new WritError('ALREADY_EXISTS', NAME_TAKEN, { details: { pointer: '/name' } });
      }
      if (outcome === 'actor_not_live') return refuseDeadActor(actor, context);
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
          resource: { type: 'agent', id: before.id },
          metadata: { changed: [...Object.keys(changes), ...(policy === undefined ? [] : ['policy'])] },
        }),
      );
      if (outcome === 'actor_not_live') return refuseDeadActor(actor, context);
      if (outcome === 'absent') throw noSuchAgent(before.id);
      return get(before.id);
    },

    revoke: async (idOrName, actor, context) => {
      const agent = await get(idOrName);
      if (actor !== 'system' && agent.id === actor.principal.id) {
        await deps.denyCaller.forbid(actor, context, {
          type: 'agent',
          id: agent.id,
          why: 'Nobody can revoke themselves.',
        });
      }
      if (agent.revokedAt !== null) return;
      const event = write(actor, context, {
        type: 'agent.revoked',
        resource: { type: 'agent', id: agent.id },
        metadata: {},
      });
      if ((await store.revoke(agent.id, event)) === 'actor_not_live') await refuseDeadActor(actor, context);
    },

    addKey: async (idOrName, spec, actor, context) => {
      const agent = await get(idOrName);
      const { text, ...key } = await newKey(spec.name, spec.expiresAt, '/expires_at');
      const event = write(actor, context, {
        type: 'key.created',
        resource: { type: 'api_key', id: key.keyId },
        metadata: { agent_id: agent.id },
      });
      const outcome = await store.addKey(agent.id, key, event);
      if (outcome === 'actor_not_live') return refuseDeadActor(actor, context);
      const added = (await get(agent.id)).keys.find((candidate) => candidate.keyId === key.keyId);
      if (outcome === 'absent' || added === undefined) throw noSuchAgent(agent.id);
      return { agentId: agent.id, key: added, apiKey: text };
    },

    revokeKey: async ({ agent: idOrName, keyId }, actor, context) => {
      const agent = await get(idOrName);
      const key = agent.keys.find((candidate) => candidate.keyId === keyId);
      if (key === undefined) throw noSuchKey(keyId);
      if (actor !== 'system' && keyId === actor.keyId) {
        await deps.denyCaller.forbid(actor, context, {
          type: 'api_key',
          id: keyId,
          why: 'The key in use cannot revoke itself.',
        });
      }
      if (key.revokedAt !== null) return;
      const event = write(actor, context, {
        type: 'key.revoked',
        resource: { type: 'api_key', id: keyId },
        metadata: { agent_id: agent.id },
      });
      const outcome = await store.revokeKey({ agentId: agent.id, keyId }, event);
      if (outcome === 'actor_not_live') return refuseDeadActor(actor, context);
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

const NAME_TAKEN =
  'An active principal has this name, or one that looks like it: case makes no difference, nor do I, l and 1, O and 0, rn and m.';

const policyText = (policy: JsonValue): string | null => (policy === null ? null : canonicalText(policy));
