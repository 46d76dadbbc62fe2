/** `writ migrate`: brings the database up to this version, as its owner; the serving role needs no right to do it. */

import { parseArgs } from 'node:util';
import { keepAuditPartitions } from '../storage/audit/audit-partitions.ts';
import { type Command, print } from './command.ts';
import { withDatabase } from './database.ts';

export const migrate: Command = {
  summary: 'apply pending migrations to the database',
  usage: 'writ migrate [--json]',
  run: async (args, env) => {
    const { values } = parseArgs({ args, options: { json: { type: 'boolean', default: false } } });
    return withDatabase(env, [], async ({ applied, database }) => {
      await keepAuditPartitions(database);
      print(
        values.json,
        { applied },
        applied === 0 ? 'The database is up to date.' : `${applied} migrations applied.`,
      );
      return 0;
    });
  },
};
