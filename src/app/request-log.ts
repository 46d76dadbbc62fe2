/** One log line for each request. */

import { WritError } from '../errors.ts';
import type { createServer } from '../http/server/create-server.ts';
import type { Log } from '../platform/log.ts';

export const PROBES: ReadonlySet<string> = new Set(['/ready', '/health', '/v1/health']);

export function logRequest(
  log: Log,
  line: Parameters<Parameters<typeof createServer>[0]['logRequest']>[0],
): void {
  const fields = {
    request_id: line.requestId,
    method: line.method,
    route: line.route,
    status: line.status,
    ms: line.ms,
    ip: line.ip,
    principal: line.principal,
    // Undefined members are not written.
    code: line.failure instanceof WritError ? line.failure.code : undefined,
    err: line.status >= 500 ? line.failure : undefined,
  };
  if (line.status >= 500) log.error(fields, 'request');
  // Probes ask every few seconds; their success is no news.
  else if (PROBES.has(line.route) && line.status === 200) log.debug(fields, 'request');
  else log.info(fields, 'request');
}
