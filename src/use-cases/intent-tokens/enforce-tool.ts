/**
 * May this principal call this tool now? (contract section 4.6). The operator's policy decides, without any token. A
 * grant is written before it is given, and only while key and policy are what was read; refusals are on record as all
 * refusals are. What would be passed to the tool is never looked at.
 */

import type { Address } from '../../domain/network/ip-address.ts';
import { decideTool, type ToolDecision, toolReadings } from '../../domain/policies/tool-decision.ts';
import { auditEvent } from '../audit/build-audit-event.ts';
import type { DenialLog } from '../audit/denial-log.ts';
import type { CallerEvents, RequestContext } from '../audit/ports.ts';
import type { Authenticator } from '../authentication/authenticate-api-key.ts';
import type { Caller } from '../authentication/ports.ts';
import type { Clock } from '../ports.ts';
import { RETRY, retryGuardedWrite } from '../retry-guarded-write.ts';

export interface ToolRequest {
  readonly toolName: string;
  readonly clientAddress: Address | undefined;
  /** What the client says of itself, for the trail. */
  readonly claimed: Readonly<Record<string, string>>;
}

export interface EnforceToolDeps {
  readonly events: CallerEvents;
  readonly denialLog: Pick<DenialLog, 'record'>;
  readonly confirm: Authenticator['confirm'];
  readonly clock: Clock;
  readonly newId: () => string;
}

export type EnforceTool = (
  asked: ToolRequest,
  caller: Caller,
  context: RequestContext,
) => Promise<ToolDecision>;

export function createEnforceTool(deps: EnforceToolDeps): EnforceTool {
  return (asked, caller, context) =>
    retryGuardedWrite(async (isFirst) =>
      attempt(deps, asked, isFirst ? caller : await deps.confirm(caller, context), context),
    );
}

async function attempt(
  deps: EnforceToolDeps,
  { toolName, clientAddress, claimed }: ToolRequest,
  caller: Caller,
  context: RequestContext,
): Promise<ToolDecision | typeof RETRY> {
  const { principal, keyId } = caller;
  const nowSeconds = deps.clock.now().getTime() / 1000;
  const decision = decideTool(principal.policy, toolReadings(toolName), { nowSeconds, clientAddress });
  const resource = { type: 'tool', id: toolName };
  const metadata = {
    allowed: decision.allowed,
    ...(decision.rule === undefined ? {} : { rule: decision.rule }),
    ...(Object.keys(claimed).length === 0 ? {} : { claimed }),
  };
  const type = 'intent.enforced';
  if (!decision.allowed) {
    // What was remembered of the key may be out of date, and a refusal has no guarded write that would tell.
    const confirmed = await deps.confirm(caller, context);
    if (confirmed.principal.revision !== principal.revision) return RETRY;
    const denial = { type, code: 'POLICY_DENIED', actor: principal, credentialId: keyId, context } as const;
    await deps.denialLog.record({ ...denial, resource, metadata });
    return decision;
  }
  const event = auditEvent(principal, context, {
    id: deps.newId(),
    type,
    resource,
    metadata: { ...metadata, credential: keyId },
  });
  const written = await deps.events.append([event], { keyId, revision: principal.revision });
  return written ? decision : RETRY;
}
