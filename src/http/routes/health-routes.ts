/** `GET /health`, `/v1/health` and `/ready`: is the process there, and can it do its work? */

import Type from 'typebox';
import { WritError } from '../../errors.ts';
import type { Routes } from '../routing/route.ts';
import { oneOf, strictObject } from '../routing/schemas.ts';

const Health = strictObject({ success: Type.Boolean(), status: oneOf(['ok']), version: Type.String() });
const Ready = strictObject({
  status: oneOf(['ready']),
  integrity_errors: Type.Integer({
    minimum: 0,
    description: 'how often this process has refused a row of the database that is not what Writ wrote',
  }),
});

export interface HealthDeps {
  readonly version: string;
  /** Undefined when the work can be done, else what stands in the way, for the log. */
  readonly whyNotReady: () => Promise<string | undefined>;
  /** Since the start. */
  readonly countIntegrityErrors: () => number;
}

export function addHealthRoutes(routes: Routes, deps: HealthDeps): void {
  for (const url of ['/health', '/v1/health']) {
    routes.public({
      method: 'GET',
      url,
      tag: 'operation',
      summary: 'Is the process there? An API key that is sent is checked.',
      credential: 'api-key-if-sent',
      answers: { 200: Health },
      handle: async () => ({ status: 200, body: { success: true, status: 'ok', version: deps.version } }),
    });
  }
  routes.public({
    method: 'GET',
    url: '/ready',
    tag: 'operation',
    summary:
      'Can it do its work? The database takes and keeps writes, migrations are current, keys are usable.',
    credential: 'none',
    answers: { 200: Ready },
    refusals: ['UNAVAILABLE'],
    handle: async () => {
      const reason = await deps.whyNotReady();
      if (reason !== undefined) {
        throw new WritError('UNAVAILABLE', 'Not ready.', { detail: reason, retryAfterSeconds: 2 });
      }
      return { status: 200, body: { status: 'ready', integrity_errors: deps.countIntegrityErrors() } };
    },
  });
}
