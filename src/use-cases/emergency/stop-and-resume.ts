/**
 * The emergency stop (contract section 2): one row, from whose commit an agent, or everybody but administrators, is
 * granted nothing. A stop ends nothing: resuming it brings back what was there.
 */

import { formatTimestamp } from '../../domain/formats/rfc3339.ts';
import { WritError } from '../../errors.ts';
import type { RequestContext } from '../audit/ports.ts';
import type { DenyCaller } from '../authentication/deny-caller.ts';
import type { BuildNotice } from '../notices/build-notice.ts';
import type { AgentStore } from '../principals/ports.ts';
import { mayNamePrincipal, noSuchAgent } from '../principals/principal-rules.ts';
import { type Actor, createActorWrites } from '../principals/principal-writes.ts';
import type { EmergencyStop, EmergencyStore, EmergencyWrite, ResumeProofs } from './ports.ts';

export interface EmergencyDeps {
  readonly store: EmergencyStore;
  readonly agents: Pick<AgentStore, 'find'>;
  readonly proofs: ResumeProofs;
  readonly buildNotice: BuildNotice;
  readonly newId: () => string;
  readonly now: () => Date;
  readonly denyCaller: Pick<DenyCaller, 'deadKey'>;
}

export interface EmergencyCommand {
  /** An id or a name; null: everybody but administrators. */
  readonly agent: string | null;
  readonly reason: string;
}

export interface StopOutcome {
  /** False: it was stopped before, and nothing was written. */
  readonly changed: boolean;
  /** Whether all that was under way when it was stopped has ended. */
  readonly settled: boolean;
}

/**
 * `stop` and `resume` reject with `NOT_FOUND` for an agent that there is not, with `INTEGRITY_ERROR` where a stop is in
 * force that Writ did not write, and with the codes of an administrator's key that is no longer live.
 */
export interface Emergency {
  list(): Promise<readonly EmergencyStop[]>;
  /** Again is fine. */
  stop(command: EmergencyCommand, actor: Actor, context: RequestContext): Promise<StopOutcome>;
  /** Of just this stop: one of everybody leaves that of an agent, and the other way round. */
  resume(
    command: EmergencyCommand,
    actor: Actor,
    context: RequestContext,
  ): Promise<{ readonly changed: boolean }>;
}

interface Target {
  readonly id: string;
  readonly name: string;
}

export function createEmergency(deps: EmergencyDeps): Emergency {
  const { store } = deps;
  const { write, refuseDeadActor } = createActorWrites(deps);

  const targetOf = async (agent: string | null): Promise<Target | null> => {
    if (agent === null) return null;
    const found = mayNamePrincipal(agent) ? await deps.agents.find(agent) : undefined;
    if (found === undefined) throw noSuchAgent(agent);
    return { id: found.id, name: found.name };
  };

  const writeOf = (
    type: 'emergency.stopped' | 'emergency.resumed',
    { target, stopId, reason }: { target: Target | null; stopId: string; reason: string },
    actor: Actor,
    context: RequestContext,
  ): EmergencyWrite => {
    const written = write(actor, context, {
      type,
      resource: { type: 'agent', id: target?.id ?? '*' },
      metadata: { stop_id: stopId, reason, ...(actor === 'system' ? {} : { key_id: actor.keyId }) },
    });
    return {
      ...written,
      notice: deps.buildNotice(type, deps.now(), {
        id: stopId,
        agent_id: target?.id ?? null,
        agent_name: target?.name ?? null,
        reason,
        actor_id: written.event.actorId,
      }),
    };
  };

  /** Whoever planted a stop by SQL could end it by SQL: it must not be taken for one of ours. */
  const requireOwnStop = async (agentId: string | null): Promise<void> => {
    const found = await store.find(agentId);
    if (found !== undefined && deps.proofs.open(found.id, found.kept) === undefined)
      throw foreignStop(found.id);
  };

  return {
    list: () => store.list(),

    stop: async ({ agent, reason }, actor, context) => {
      const target = await targetOf(agent);
      const id = deps.newId();
      const outcome = await store.stop(
        { id, agentId: target?.id ?? null, reason, kept: deps.proofs.make(id) },
        writeOf('emergency.stopped', { target, stopId: id, reason }, actor, context),
      );
      if (outcome === 'actor_not_live') return refuseDeadActor(actor, context);
      if (outcome === 'absent') throw noSuchAgent(agent ?? '');
      if (outcome === 'unchanged') await requireOwnStop(target?.id ?? null);
      return { changed: outcome === 'stopped', settled: await store.settle() };
    },

    resume: async ({ agent, reason }, actor, context) => {
      const target = await targetOf(agent);
      const found = await store.find(target?.id ?? null);
      if (found === undefined) return { changed: false };
      const proof = deps.proofs.open(found.id, found.kept);
      if (proof === undefined) throw foreignStop(found.id);
      const outcome = await store.resume(
        { id: found.id, proof },
        writeOf('emergency.resumed', { target, stopId: found.id, reason }, actor, context),
      );
      if (outcome === 'actor_not_live') return refuseDeadActor(actor, context);
      return { changed: outcome === 'resumed' };
    },
  };
}

const foreignStop = (id: string): WritError =>
  new WritError(
    'INTEGRITY_ERROR',
    'Writ did not write the stop that is in force here: the owner of the tables can end it (docs/operating.md).',
    {
      detail: `the proof of stop ${id} does not open`,
      about: { type: 'emergency_stops', id },
    },
  );

/** As it is told, over HTTP and at the command line. */
export const stopView = ({ id, agent, reason, stoppedAt, actorId }: EmergencyStop) => ({
  id,
  all: agent === null,
  agent_id: agent?.id ?? null,
  agent_name: agent?.name ?? null,
  reason,
  stopped_at: formatTimestamp(stoppedAt),
  stopped_by: actorId,
});
