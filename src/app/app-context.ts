/** What every subject is composed from. A subject's file is named `compose-<subject>.ts` and takes this first. */

import type { Config } from '../config.ts';
import type { Routes } from '../http/routing/route.ts';
import { createDatabaseClock, type DatabaseClock } from '../platform/database-clock.ts';
import { newId } from '../platform/ids.ts';
import type { Log } from '../platform/log.ts';
import type { Metrics } from '../platform/metrics.ts';
import type { Provisioned } from '../start/provision.ts';
import type { Database } from '../storage/engine/database.ts';
import { readDatabaseTime } from '../storage/engine/database-health.ts';
import { type BuildNotice, createBuildNotice } from '../use-cases/notices/build-notice.ts';

export interface AppDeps {
  readonly config: Config;
  readonly database: Database;
  readonly provisioned: Provisioned;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface AppContext extends AppDeps {
  readonly clock: DatabaseClock;
  readonly buildNotice: BuildNotice;
  readonly monotonicMs: () => number;
}

/** A composed subject that is served. */
export interface ServedPart {
  addRoutes(routes: Routes): void;
}

/** Rejects when the database does not tell its time. */
export async function createAppContext(deps: AppDeps): Promise<AppContext> {
  const clock = createDatabaseClock({ readDatabaseTime: () => readDatabaseTime(deps.database) });
  // Another server may have another clock. The job that samples it sees to a failure.
  deps.database.memories.add('offset of the clock', (why) => {
    if (why === 'another history') void clock.sample().catch(() => {});
  });
  await clock.sample();
  const buildNotice = createBuildNotice({ configured: deps.config.approvalWebhook !== undefined, newId });
  return { ...deps, clock, buildNotice, monotonicMs: performance.now.bind(performance) };
}
