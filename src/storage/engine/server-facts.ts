/** What is asked of the database server itself: at the start, and again by `/ready`, since an operator may change it. */

import type { Database } from './database.ts';

export interface ServerFacts {
  readonly versionNumber: number;
  /** Names of durability settings that are off for the sessions of this process. */
  readonly unsafeSettings: readonly string[];
}

export const FACTS = {
  name: 'server_facts',
  effect: 'read',
  text: `
    select current_setting('server_version_num')::int as version_number,
      coalesce(array_agg(name::text order by name) filter (where setting = 'off'), '{}') as unsafe_settings
    from pg_settings where name in ('fsync', 'full_page_writes', 'synchronous_commit')`,
} as const;

export async function readServerFacts(database: Database): Promise<ServerFacts> {
  const [row] = await database.query<{ version_number: number; unsafe_settings: string[] }>(FACTS, []);
  return {
    versionNumber: row?.version_number ?? 0,
    unsafeSettings: row?.unsafe_settings ?? [],
  };
}
