/** `writ settings`: what must be the same on every replica. A change takes effect when the replicas start again. */

import { Argument } from 'commander';
import { newId } from '../platform/ids.ts';
import { SETTINGS } from '../settings-table.ts';
import { readSeals } from '../start/open-seals.ts';
import { type JudgedSetting, judgeSettings, readSettings, setSetting } from '../storage/settings-store.ts';
import { auditEvent, SYSTEM } from '../use-cases/audit/build-audit-event.ts';
import {
  AT_THE_COMMAND_LINE,
  type CommandContext,
  type DeclareCommand,
  JSON_FLAG,
  print,
  UsageError,
} from './command.ts';
import { MASTER_KEY_VARIABLES, openCommandSeals, withDatabase } from './configured-database.ts';
import { sanitizeLine } from './terminal-text.ts';

/** The stored setting's name, and the variable whose rules its value follows. */
const STORED = { issuer_url: SETTINGS.ISSUER_URL, token_audience: SETTINGS.TOKEN_AUDIENCE } as const;
type StoredSetting = keyof typeof STORED;

export const declareSettings: DeclareCommand = (program, context) => {
  const settings = program
    .command('settings')
    .description('show or change what all processes share: issuer and audience');
  settings
    .command('show', { isDefault: true })
    .description('show what is stored, and mark what Writ did not write')
    .option(...JSON_FLAG)
    .action(({ json }: { json?: true }) => show(context, json));
  settings
    .command('set')
    .description('change a stored setting; it takes effect when the processes start again')
    .addArgument(new Argument('<name>', 'which setting').choices(Object.keys(STORED)))
    .argument('<value>', 'its new value')
    .option(...JSON_FLAG)
    .action((name: StoredSetting, value: string, { json }: { json?: true }) =>
      change(context, { name, value, json }),
    );
};

function show(context: CommandContext, json: true | undefined): Promise<void> {
  return withDatabase(context.env, MASTER_KEY_VARIABLES, async ({ database, config }) => {
    const isEmpty = (await readSettings(database)).size === 0;
    const rows = isEmpty ? [] : await judgeSettings(database, (await readSeals(database, config)).seals);
    const value = Object.fromEntries(
      rows.map((row) => [row.name, row.why === undefined ? row.value : { value: row.value, why: row.why }]),
    );
    print(context, { json, value, people: describe(rows) });
    if (rows.some(({ why }) => why !== undefined)) context.exitWith(1);
  });
}

function describe(rows: readonly JudgedSetting[]): string {
  if (rows.length === 0) return 'Nothing is stored: Writ has not been started yet.';
  const lines = rows.map(({ name, value, why }) =>
    sanitizeLine(`${name}=${value}${why === undefined ? '' : ` (not what Writ wrote: ${why})`}`),
  );
  const isMarked = rows.some(({ why }) => why !== undefined);
  const advice = 'No process starts with a row that is marked. Set it with: writ settings set NAME VALUE';
  return [...lines, ...(isMarked ? [advice] : [])].join('\n');
}

async function change(
  context: CommandContext,
  { name, value, json }: { name: StoredSetting; value: string; json: true | undefined },
): Promise<void> {
  if (STORED[name].parse(value) === undefined) {
    throw new UsageError(`${name} must be ${STORED[name].allowed}`);
  }
  await withDatabase(context.env, MASTER_KEY_VARIABLES, async ({ database, config }) => {
    const seals = await openCommandSeals(database, config);
    const eventOf = (before: string | null) =>
      auditEvent(SYSTEM, AT_THE_COMMAND_LINE, {
        id: newId(),
        type: 'settings.changed',
        resource: { type: 'settings', id: name },
        metadata: { name, before, after: value },
      });
    await database.transaction((session) => setSetting(session, { name, value }, { seals, eventOf }));
    const people = `${name} is ${value}. Start every replica again, with this or no ${name.toUpperCase()} in its environment.`;
    print(context, { json, value: { [name]: value }, people });
  });
}
