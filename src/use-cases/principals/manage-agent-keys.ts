/**
 * The API keys of a principal, for administrators (contract section 2): looked at, and rotated. After a rotation the new
 * key and the older ones work side by side for the overlap.
 */

import { auditEvent } from '../audit/build-audit-event.ts';
import type { RequestContext } from '../audit/ports.ts';
import type { Caller } from '../authentication/ports.ts';
import { type OwnKey, statusOf } from './manage-own-keys.ts';
import type { AgentDetails } from './manage-principals.ts';
import type { AgentStore, EndedKey } from './ports.ts';
import { noSuchAgent, noSuchKey } from './principal-rules.ts';
import { createPrincipalWrites, type PrincipalWriteDeps } from './principal-writes.ts';

export interface AgentKey extends OwnKey {
  readonly agentId: string;
  readonly agentName: string;
}

export interface RotationSpec {
  readonly name: string | null;
  readonly expiresAt: Date | null;
  /** 0: the older keys end at once. */
  readonly overlapSeconds: number;
}

export interface RotatedKeys {
  readonly key: AgentKey;
  /** The key itself. */
  readonly apiKey: string;
  /** The older keys that were live, with their ends. */
  readonly older: readonly EndedKey[];
}

export interface AgentKeys {
  /** Oldest first; those after `after`, a key id. */
  list(idOrName: string, page: { limit: number; after: string | undefined }): Promise<readonly AgentKey[]>;
  get(target: { agent: string; keyId: string }): Promise<AgentKey>;
  /** Ending the key in use at once is `FORBIDDEN`. */
  rotate(idOrName: string, spec: RotationSpec, caller: Caller, context: RequestContext): Promise<RotatedKeys>;
}

export function createAgentKeys(
  deps: PrincipalWriteDeps & {
    readonly store: Pick<AgentStore, 'rotateKeys'>;
    readonly getAgent: (idOrName: string) => Promise<AgentDetails>;
  },
): AgentKeys {
  const { store, getAgent, denyCaller } = deps;
  const { write, newKey, refuseDeadActor } = createPrincipalWrites(deps);

  const keysOf = ({ id, name, keys }: AgentDetails): readonly AgentKey[] => {
    const now = deps.now();
    return keys.map((key) => ({ ...key, status: statusOf(key, now), agentId: id, agentName: name }));
  };
  const keyOf = (agent: AgentDetails, keyId: string): AgentKey => {
    const key = keysOf(agent).find((candidate) => candidate.keyId === keyId);
    if (key === undefined) throw noSuchKey(keyId);
    return key;
  };

  return {
    list: async (idOrName, { limit, after }) => {
      const keys = keysOf(await getAgent(idOrName));
      const start = after === undefined ? 0 : keys.findIndex(({ keyId }) => keyId === after) + 1;
      return after !== undefined && start === 0 ? [] : keys.slice(start, start + limit);
    },

    get: async ({ agent, keyId }) => keyOf(await getAgent(agent), keyId),

    rotate: async (idOrName, { name, expiresAt, overlapSeconds }, caller, context) => {
      const agent = await getAgent(idOrName);
      if (overlapSeconds === 0 && agent.id === caller.principal.id) {
        await denyCaller.forbid(caller, context, {
          type: 'api_key',
          id: caller.keyId,
          why: 'The key in use cannot end at once: give an overlap.',
        });
      }
      const { text, ...key } = await newKey(name, expiresAt, '/expires_at');
      const older = agent.keys.filter(({ revokedAt }) => revokedAt === null).map(({ keyId }) => keyId);
      const eventOf = ({ keyId, endsAt }: EndedKey) =>
        auditEvent(caller.principal, context, {
          id: deps.newId(),
          type: overlapSeconds === 0 ? 'key.revoked' : 'key.rotated',
          resource: { type: 'api_key', id: keyId },
          metadata: { agent_id: agent.id, successor: key.keyId, ends_at: endsAt.toISOString() },
        });
      const event = write(caller, context, {
        type: 'key.created',
        resource: { type: 'api_key', id: key.keyId },
        metadata: { agent_id: agent.id, overlap_seconds: overlapSeconds },
      });
      const ended = await store.rotateKeys(agent.id, { key, older, overlapSeconds, eventOf }, event);
      if (ended === 'actor_not_live') return refuseDeadActor(caller, context);
      if (ended === 'absent') throw noSuchAgent(agent.id);
      return { key: keyOf(await getAgent(agent.id), key.keyId), apiKey: text, older: ended };
    },
  };
}
