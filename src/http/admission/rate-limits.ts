/**
 * How often may one ask? (contract section 9). Counted per principal once it is known, before that per address;
 * failed credentials are counted per address besides. Counters come from @fastify/rate-limit.
 */

import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { WritError } from '../../errors.ts';

export interface RateLimitSettings {
  /** 0 = off. */
  readonly max: number;
  readonly authFailureMax: number;
  readonly windowSeconds: number;
}

export interface RateLimits {
  /** Count one request and reject with `RATE_LIMITED` when there were too many. */
  countAddress(request: FastifyRequest): Promise<void>;
  countPrincipal(request: FastifyRequest): Promise<void>;
  /** Rejects while the address has too many failures; counts nothing. */
  requireFewFailures(request: FastifyRequest): Promise<void>;
  countFailure(request: FastifyRequest): Promise<void>;
}

const MAX_COUNTERS = 50_000;
type Limiter = ReturnType<FastifyInstance['createRateLimit']>;

export async function addRateLimits(app: FastifyInstance, settings: RateLimitSettings): Promise<RateLimits> {
  await app.register(rateLimit, { global: false, cache: MAX_COUNTERS });
  const limiter = (max: number, keyGenerator: (request: FastifyRequest) => string): Limiter | undefined =>
    max === 0
      ? undefined
      : app.createRateLimit({ max, timeWindow: settings.windowSeconds * 1000, keyGenerator });
  const byAddress = limiter(settings.max, (request) => request.state.origin);
  const byPrincipal = limiter(settings.max, (request) => request.auth?.principalId ?? '');
  const failures = limiter(settings.authFailureMax, (request) => request.state.origin);

  return {
    countAddress: async (request) => refuseIf(await byAddress?.(request), BY_ADDRESS),
    countPrincipal: async (request) => refuseIf(await byPrincipal?.(request), BY_PRINCIPAL),
    requireFewFailures: async (request) => {
      const state = await failures?.(request, { increment: false });
      // A read does not add the request in hand, so the limit is reached at `max`, not above it.
      if (state !== undefined && !state.isAllowed && state.remaining === 0)
        throw tooMany(BY_FAILURES, state.ttlInSeconds);
    },
    countFailure: async (request) => void (await failures?.(request)),
  };
}

const WAIT = 'wait as long as Retry-After says';
const BY_ADDRESS = `Too many requests from this address; ${WAIT} (RATE_LIMIT_MAX).`;
const BY_PRINCIPAL = `Too many requests of this principal, over all its keys and tokens; ${WAIT} (RATE_LIMIT_MAX).`;
const BY_FAILURES = `Too many wrong credentials from this address; ${WAIT} (AUTH_FAILURE_MAX).`;

function refuseIf(state: Awaited<ReturnType<Limiter>> | undefined, message: string): void {
  if (state !== undefined && !state.isAllowed && state.isExceeded) throw tooMany(message, state.ttlInSeconds);
}

function tooMany(message: string, retryAfterSeconds: number): WritError {
  return new WritError('RATE_LIMITED', message, { retryAfterSeconds });
}
