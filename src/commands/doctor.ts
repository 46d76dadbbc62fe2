/** `writ doctor`: what somebody else than Writ has written to the database, and what to do about it. */

import { Argument } from 'commander';
import { readSeals } from '../start/open-seals.ts';
import { SEALED_TABLES, type SealedTable } from '../storage/engine/sealed-rows.ts';
import { findTooFewUses, type TokenWithTooFewUses } from '../storage/scoped-tokens/uses-on-record.ts';
import { findUnfitRows, type UnfitRow } from '../storage/unfit-rows.ts';
import { type CommandContext, type DeclareCommand, JSON_FLAG, print } from './command.ts';
import { MASTER_KEY_VARIABLES, withDatabaseAsItIs } from './configured-database.ts';
import { reseal } from './doctor-reseal.ts';
import { sanitizeLine } from './terminal-text.ts';

export const declareDoctor: DeclareCommand = (program, context) => {
  const doctor = program
    .command('doctor')
    .description('look for rows that Writ did not write and for uses that were set back');
  doctor
    .command('look', { isDefault: true })
    .description('list what is found; changes nothing')
    .option(...JSON_FLAG)
    .action(({ json }: { json?: true }) => look(context, json));
  doctor
    .command('reseal')
    .description('show a row that Writ did not write, ask, and let it grant what was shown')
    .addArgument(new Argument('<table>', 'where it is').choices(Object.keys(SEALED_TABLES)))
    .argument('<id...>', 'its primary key, as "writ doctor" names it; after "--" if it begins with "-"')
    .option('--yes', 'seal it without asking')
    .option(...JSON_FLAG)
    .action((table: SealedTable, primaryKey: string[], options: { yes?: true; json?: true }) =>
      reseal(context, { table, primaryKey }, options),
    );
};

function look(context: CommandContext, json: true | undefined): Promise<void> {
  return withDatabaseAsItIs(context.env, MASTER_KEY_VARIABLES, async ({ database, config }) => {
    const { seals } = await readSeals(database, config);
    const rows = await findUnfitRows(database, seals);
    const tokens = await findTooFewUses(database);
    print(context, { json, value: viewOf(rows, tokens), people: describe(rows, tokens) });
    if (rows.length + tokens.length > 0) context.exitWith(1);
  });
}

const viewOf = (rows: readonly UnfitRow[], tokens: readonly TokenWithTooFewUses[]) => ({
  rows: rows.map(({ table, primaryKey, why }) => ({ table, primary_key: primaryKey, why })),
  tokens: tokens.map(({ tokenId, uses, events }) => ({ token_id: tokenId, uses, events })),
});

const ALL_IS_WELL = 'Every live row that grants is as Writ wrote it, and every use on record is counted.';
const ABOUT_ROWS =
  'Writ uses none of these rows. Delete what nobody of yours wrote, and make anew what was changed. What is to stay as it is now: writ doctor reseal TABLE ID';
const ABOUT_TOKENS =
  'These tokens were used more often than their rows say, so somebody set the count back. Revoke each with: DELETE /v1/tokens/ID';

function describe(rows: readonly UnfitRow[], tokens: readonly TokenWithTooFewUses[]): string {
  const unfit = rows.map(({ table, primaryKey, why }) => `${table} ${primaryKey.join(' ')}: ${why}`);
  const used = tokens.map(
    ({ tokenId, uses, events }) =>
      `scoped_tokens ${tokenId}: uses is ${uses}, and the audit trail has ${events}`,
  );
  if (unfit.length + used.length === 0) return ALL_IS_WELL;
  const part = (lines: readonly string[], about: string) =>
    lines.length === 0 ? [] : [[...lines.map(sanitizeLine), about].join('\n')];
  return [...part(unfit, ABOUT_ROWS), ...part(used, ABOUT_TOKENS)].join('\n\n');
}
