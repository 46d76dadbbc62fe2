/** What a start asks of the database server itself. */

import type { Database } from './database.ts';

export interface ServerFacts {
  readonly versionNumber: number;
  /** Names of durability settings that are off. */
  readonly unsafeSettings: readonly string[];
}

export const FACTS = {
  name: 'server_facts',
  effect: 'read',
  text: `
    select current_setting('server_version_num')::int as version_number,
      array(
        select name::text from pg_settings
        where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off' order by name
      ) as unsafe_settings`,
} as const;

export async function readServerFacts(database: Database): Promise<ServerFacts> {
  const [row] = await database.query<{ version_number: number; unsafe_settings: string[] }>(FACTS, []);
  return { versionNumber: row?.version_number ?? 0, unsafeSettings: row?.unsafe_settings ?? [] };
}
