/** The emergency stop, as administrators reach it over HTTP. */

import { addEmergencyRoutes } from '../http/routes/emergency-routes.ts';
import { createResumeProofs } from '../keys/encryption/resume-proofs.ts';
import { newId } from '../platform/ids.ts';
import { createEmergencyStore } from '../storage/emergency/emergency-store.ts';
import { createAgentStore } from '../storage/principals/agent-store.ts';
import { createEmergency } from '../use-cases/emergency/stop-and-resume.ts';
import type { AppContext, ServedPart } from './app-context.ts';
import type { AuditPart } from './compose-audit.ts';
import type { AuthenticationPart } from './compose-authentication.ts';

export function composeEmergency(
  { database, provisioned, clock, buildNotice }: AppContext,
  parts: { readonly audit: AuditPart; readonly authentication: AuthenticationPart },
): ServedPart {
  const { seals } = parts.audit;
  const emergency = createEmergency({
    store: createEmergencyStore(database, seals),
    agents: createAgentStore(database, seals),
    proofs: createResumeProofs(provisioned.masterKeys),
    buildNotice,
    newId,
    now: clock.now,
    denyCaller: parts.authentication.denyCaller,
  });
  return { addRoutes: (routes) => addEmergencyRoutes(routes, emergency) };
}
