/**
 * `writ migrate`: brings the database up to this version, as its owner; the serving role needs no right to do it. What an
 * older version granted of the audit trail and this one does not is taken back.
 */

import { keepAuditPartitions } from '../storage/audit/audit-partitions.ts';
import { narrowAuditRights } from '../storage/audit/audit-rights.ts';
import { type DeclareCommand, JSON_FLAG, print } from './command.ts';
import { withDatabase } from './configured-database.ts';

export const declareMigrate: DeclareCommand = (program, context) => {
  program
    .command('migrate')
    .description('apply pending migrations to the database')
    .option(...JSON_FLAG)
    .action(({ json }: { json?: true }) =>
      withDatabase(
        context.env,
        [],
        async ({ applied, database }) => {
          await keepAuditPartitions(database);
          await narrowAuditRights(database);
          const people = applied === 0 ? 'The database is up to date.' : `${applied} migrations applied.`;
          print(context, { json, value: { applied }, people });
        },
        { makes: true },
      ),
    );
};
