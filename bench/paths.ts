/** The paths that are measured, and what each asks of Writ. */

import type { Ask } from './load.ts';

export const PATHS = ['intent', 'verify', 'scoped', 'read', 'limited'] as const;
export type PathName = (typeof PATHS)[number];

/** Different secrets that are asked for in turn, and limited tokens to ask with. */
export const IN_TURN = 200;
export const MAX_USES = 1_000_000;
export const SCOPE = 'secrets:read:prod/*';
export const SECRET_VALUE = 'x'.repeat(40);

export const TITLES: Readonly<Record<PathName, string>> = {
  intent: 'intent: POST /token/issue, a plan of three steps',
  verify: `verify: POST /token/verify, a step of a plan of three, ${IN_TURN} tokens in turn`,
  scoped: 'scoped: POST /v1/tokens, one scope, no limit of uses',
  read: `read: GET /v1/secrets/prod/k…, one token without limit, ${IN_TURN} secrets in turn`,
  limited: `limited: GET /v1/secrets/prod/k…, ${IN_TURN} tokens of ${MAX_USES} uses and as many secrets in turn`,
};

const JSON_BODY = { 'content-type': 'application/json' };

/** A plan with `steps` steps of ordinary size. */
export function planOf(steps: number): { readonly goal: string; readonly steps: readonly object[] } {
  return {
    goal: 'Tell the team what the weather does to the launch',
    steps: Array.from({ length: steps }, (_, index) => ({
      action: index % 2 === 0 ? 'get_forecast' : 'send_message',
      mcp: index % 2 === 0 ? 'weather-mcp' : 'mail-mcp',
      description: `step ${index + 1}`,
      params: { place: 'Tromsø', days: 3, units: 'metric' },
    })),
  };
}

export function askForIntentToken(apiKey: string, plan: object, more: { expires_in?: number } = {}): Ask {
  const headers = { ...JSON_BODY, 'x-api-key': apiKey };
  return { method: 'POST', path: '/token/issue', headers, body: JSON.stringify({ plan, ...more }) };
}

/** What an issued token is asked about: its second step, whole. */
export interface IssuedPlan {
  readonly token: string;
  readonly step_proofs: readonly { readonly proof: unknown }[];
}

const ASKED_STEP = 1;

export function askAboutStep(path: string, { token, step_proofs: proofs }: IssuedPlan): Ask {
  const step = planOf(3).steps[ASKED_STEP];
  const body = JSON.stringify({ token, step_index: ASKED_STEP, step, proof: proofs[ASKED_STEP]?.proof });
  return { method: 'POST', path, headers: JSON_BODY, body };
}

export function askForScopedToken(apiKey: string, limits: { max_uses?: number } = {}): Ask {
  const headers = { ...JSON_BODY, 'x-api-key': apiKey };
  const body = JSON.stringify({ scopes: [SCOPE], ...limits });
  return { method: 'POST', path: '/v1/tokens', headers, body };
}

export function askForSecret(token: string, index: number): Ask {
  return { method: 'GET', path: `/v1/secrets/prod/k${index}`, headers: { authorization: `Bearer ${token}` } };
}
