/** `writ doctor reseal`: seals one row as it is, for an owner who has looked at it and wants to keep it. */

import { newId } from '../platform/ids.ts';
import { readSeals } from '../start/open-seals.ts';
import type { SealedTable } from '../storage/engine/sealed-rows.ts';
import { resealRow, type ShownRow, showRow } from '../storage/reseal-row.ts';
import { primaryKeyOf } from '../storage/unfit-rows.ts';
import { auditEvent, SYSTEM } from '../use-cases/audit/build-audit-event.ts';
import { AT_THE_COMMAND_LINE, type CommandContext, print, UsageError } from './command.ts';
import { MASTER_KEY_VARIABLES, withDatabaseAsItIs } from './configured-database.ts';
import { confirm } from './confirmation.ts';
import { renderFields, sanitizeLine } from './terminal-text.ts';

export async function reseal(
  context: CommandContext,
  key: { readonly table: SealedTable; readonly primaryKey: readonly string[] },
  { yes, json }: { readonly yes?: true; readonly json?: true },
): Promise<void> {
  const { table, primaryKey } = key;
  const parts = primaryKeyOf(table).map(({ name }) => name);
  if (parts.length !== primaryKey.length) {
    throw new UsageError(`a row of ${table} is named by its ${parts.join(' and ')}`);
  }
  const name = sanitizeLine(`${table} ${primaryKey.join(' ')}`);
  const refuse = (why: string): void => {
    context.stderr.write(`${why}\nNothing was done.\n`);
    context.exitWith(1);
  };
  await withDatabaseAsItIs(context.env, MASTER_KEY_VARIABLES, async ({ database, config }) => {
    const { seals } = await readSeals(database, config);
    const shown = await showRow(database, key, seals);
    if (shown === undefined) return refuse(`There is no row ${name}.`);
    if (shown.hasEnded) return refuse(`${name} was revoked, denied or claimed, and is not opened again.`);
    if (shown.why === undefined) return refuse(`The seal of ${name} fits: Writ wrote this row as it is.`);
    context.stderr.write(`${describe(shown)}\n\n`);
    if (yes !== true && !(await confirm(context, `Let ${name} grant all this? [y/N] `))) {
      context.stderr.write('Nothing was done.\n');
      context.exitWith(1);
      return;
    }
    const event = auditEvent(SYSTEM, AT_THE_COMMAND_LINE, {
      id: newId(),
      type: 'integrity.resealed',
      resource: { type: table, id: primaryKey.join(' ') },
      metadata: { why: shown.why },
    });
    if (!(await resealRow(database, shown, { seals, event }))) {
      return refuse(`${name} is not any more what was shown.`);
    }
    print(context, {
      json,
      value: { table, primary_key: primaryKey, resealed: true },
      people: `${name} is sealed as shown.`,
    });
  });
}

const describe = ({ table, columns, why = '' }: ShownRow): string =>
  renderFields([
    ['table', table],
    ['found', why],
    ...columns.map(([name, text]) => [name, text ?? '(null)'] as const),
  ]);
