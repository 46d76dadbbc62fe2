/** `GET /metrics` on a listener of its own (contract section 1), with the limits and time-outs of the main one. */

import type { FastifyInstance } from 'fastify';
import { readStrictJson } from '../domain/json/strict-json.ts';
import { createAnswerTally } from '../http/server/answer-tally.ts';
import { createServer } from '../http/server/create-server.ts';
import { createClientReader } from '../http/server/request-state.ts';
import { newId } from '../platform/ids.ts';
import type { AppDeps } from './app-context.ts';

/** Does not listen. Its own requests are counted nowhere. */
export async function buildMetricsListener({
  config,
  log,
  metrics,
}: Pick<AppDeps, 'config' | 'log' | 'metrics'>): Promise<FastifyInstance> {
  // A process that nobody scrapes loads none of it.
  const { createMetricsText } = await import('../platform/metrics-text.ts');
  const text = createMetricsText(metrics);
  const server = createServer({
    requestTimeoutMs: config.requestTimeoutMs,
    readClient: createClientReader(config.trustProxy),
    readJson: readStrictJson,
    newRequestId: newId,
    monotonicMs: performance.now.bind(performance),
    log,
    tally: createAnswerTally(),
  });
  server.get('/metrics', async (_request, reply) => {
    reply.header('content-type', text.contentType);
    return text.scrape();
  });
  return server;
}
