/** What is asked of the database server itself: at the start, and again by `/ready`, since an operator may change it. */

import type { Database } from './database.ts';

export interface ServerFacts {
  readonly versionNumber: number;
  /** Names of durability settings that are off as they are configured, whatever a session has set for itself. */
  readonly unsafeSettings: readonly string[];
  /** Names of those that are off for the sessions of this process. */
  readonly unsafeInForce: readonly string[];
}

/** `reset_val` is what a session would have that sets nothing for itself. */
export const FACTS = {
  name: 'server_facts',
  effect: 'read',
  text: `
    select current_setting('server_version_num')::int as version_number,
      coalesce(array_agg(name::text order by name) filter (where reset_val = 'off'), '{}') as unsafe_settings,
      coalesce(array_agg(name::text order by name) filter (where setting = 'off'), '{}') as unsafe_in_force
    from pg_settings where name in ('fsync', 'full_page_writes', 'synchronous_commit')`,
} as const;

export async function readServerFacts(database: Database): Promise<ServerFacts> {
  const [row] = await database.query<{
    version_number: number;
    unsafe_settings: string[];
    unsafe_in_force: string[];
  }>(FACTS, []);
  return {
    versionNumber: row?.version_number ?? 0,
    unsafeSettings: row?.unsafe_settings ?? [],
    unsafeInForce: row?.unsafe_in_force ?? [],
  };
}
