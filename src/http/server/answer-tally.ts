/** How often each route answered with what, and how long it took: arrays that a request adds to and a scrape reads. */

import type { FastifyInstance } from 'fastify';
import type { ErrorCode } from '../../errors.ts';

/** Upper bounds of the buckets in milliseconds: hot paths take 1 to 10, a fresh API key some 100. */
export const DURATION_BOUNDS_MS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000] as const;

export interface RouteAnswers {
  readonly method: string;
  /** The pattern: a target as sent could be anything. */
  readonly route: string;
  /** By the first digit of the status. */
  readonly byClass: number[];
  /** By bucket; the last one is beyond all bounds. */
  readonly durations: number[];
  milliseconds: number;
}

export interface AnswerTally {
  /** From now on every route that is declared there has its own. */
  watch(app: FastifyInstance): void;
  /** Of those that answered at all. */
  answered(): readonly RouteAnswers[];
  readonly refusals: Map<ErrorCode, number>;
  /** What no route is for. */
  readonly unrouted: RouteAnswers;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    answers?: RouteAnswers;
  }
}

export function createAnswerTally(): AnswerTally {
  const unrouted = nothingYet('-', '-');
  const all = [unrouted];
  return {
    watch: (app) => {
      app.addHook('onRoute', (route) => {
        const answers = nothingYet([route.method].flat().join(), route.url);
        all.push(answers);
        route.config = Object.assign({ takesForms: false }, route.config, { answers });
      });
    },
    unrouted,
    refusals: new Map(),
    answered: () => all.filter(({ durations }) => durations.some((count) => count > 0)),
  };
}

const nothingYet = (method: string, route: string): RouteAnswers => ({
  method,
  route,
  byClass: new Array<number>(6).fill(0),
  durations: new Array<number>(DURATION_BOUNDS_MS.length + 1).fill(0),
  milliseconds: 0,
});
