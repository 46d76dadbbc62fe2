/** `/v1/emergency`: stop an agent, or everybody but administrators, at once, and resume (contract section 2). */

import Type, { type Static } from 'typebox';
import { WritError } from '../../errors.ts';
import { type Emergency, stopView } from '../../use-cases/emergency/stop-and-resume.ts';
import type { Routes } from '../routing/route.ts';
import { instant, note, nullable, strictObject, text, uuid } from '../routing/schemas.ts';

const Stop = strictObject({
  id: uuid(),
  all: Type.Boolean({ description: 'everybody but administrators' }),
  agent_id: nullable(uuid()),
  agent_name: nullable(Type.String()),
  reason: Type.String(),
  stopped_at: instant(),
  stopped_by: Type.String({ description: 'the id of a principal, or `system`: the command line' }),
});
const inForce = Type.Array(Stop, { description: 'what is in force, oldest first' });
const changed = Type.Boolean({ description: 'false: it was so before, and nothing was written' });

const Asked = strictObject({
  agent: Type.Optional(
    text({ min: 1, max: 64, description: 'id or name; an id wins. Either this or `all`' }),
  ),
  all: Type.Optional(Type.Boolean({ description: '`true`: everybody but administrators' })),
  reason: note({ min: 1, max: 500 }),
});

const ADMIN = { tag: 'emergency', roles: ['admin'], keyCheck: 'before-handler' } as const;

export function addEmergencyRoutes(routes: Routes, emergency: Emergency): void {
  const stops = async () => (await emergency.list()).map(stopView);

  routes.authenticated({
    ...ADMIN,
    method: 'GET',
    url: '/v1/emergency',
    summary: 'Which emergency stops are in force',
    answers: { 200: strictObject({ stops: inForce }) },
    handle: async () => ({ status: 200, body: { stops: await stops() } }),
  });

  routes.authenticated({
    ...ADMIN,
    method: 'POST',
    url: '/v1/emergency/stop',
    summary: 'Stop an agent, or everybody but administrators, at once; again is fine',
    body: Asked,
    refusals: ['NOT_FOUND', 'INTEGRITY_ERROR'],
    answers: {
      200: strictObject({
        changed,
        settled: Type.Boolean({
          description: 'all that was under way has ended; false: ask again until it has',
        }),
        stops: inForce,
      }),
    },
    handle: async ({ body, caller, context }) => {
      const outcome = await emergency.stop(commandOf(body), caller, context);
      return { status: 200, body: { ...outcome, stops: await stops() } };
    },
  });

  routes.authenticated({
    ...ADMIN,
    method: 'POST',
    url: '/v1/emergency/resume',
    summary: 'End one emergency stop; again is fine',
    body: Asked,
    answers: { 200: strictObject({ changed, stops: inForce }) },
    refusals: ['NOT_FOUND', 'INTEGRITY_ERROR'],
    handle: async ({ body, caller, context }) => {
      const outcome = await emergency.resume(commandOf(body), caller, context);
      return { status: 200, body: { ...outcome, stops: await stops() } };
    },
  });
}

function commandOf({ agent, all, reason }: Static<typeof Asked>) {
  if ((agent === undefined) === (all === true)) return { agent: agent ?? null, reason };
  throw new WritError('VALIDATION_ERROR', 'Either agent must be there, or all with true, and not both.', {
    details: { pointer: '/agent' },
  });
}
