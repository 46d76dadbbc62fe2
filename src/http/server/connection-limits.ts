/** What one connection may cost, and all of them together: one request at a time, and answers that are read. */

import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { takeRequestsInTurn } from './requests-in-turn.ts';
import { UNREAD_LIMITS, watchUnreadAnswers } from './unread-answers.ts';

const CUT_OFF =
  'connections were closed that did not read their answers, or sent many requests before they did';

export interface ConnectionLimits {
  /** Of `http.createServer`. */
  readonly Response: typeof ServerResponse;
  /** After everybody else who listens to requests. */
  keepFor(app: FastifyInstance): void;
}

export function createConnectionLimits(options: {
  readonly monotonicMs: () => number;
  readonly log: { warn(fields: object, message: string): void };
}): ConnectionLimits {
  let cutOff = 0;
  const onCutOff = (): void => {
    cutOff += 1;
  };
  const unread = watchUnreadAnswers({ ...options, limits: UNREAD_LIMITS, onCutOff });
  return {
    Response: unread.Response,
    keepFor: (app) => {
      takeRequestsInTurn(app.server, onCutOff);
      const looking = setInterval(() => {
        unread.closeSlowReaders();
        // One line a second, whatever they cost.
        if (cutOff > 0) options.log.warn({ connections: cutOff }, CUT_OFF);
        cutOff = 0;
      }, 1000);
      looking.unref();
      app.server.once('close', () => clearInterval(looking));
    },
  };
}
