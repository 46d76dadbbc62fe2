/** `writ settings`: what must be the same on every replica. A change takes effect when the replicas start again. */

import { Argument } from 'commander';
import { SETTINGS } from '../settings-table.ts';
import { readSettings, setSetting } from '../storage/settings-store.ts';
import { type CommandContext, type DeclareCommand, JSON_FLAG, print, UsageError } from './command.ts';
import { MASTER_KEY_VARIABLES, openCommandSeals, withDatabase } from './configured-database.ts';

/** The stored setting's name, and the variable whose rules its value follows. */
const STORED = { issuer_url: SETTINGS.ISSUER_URL, token_audience: SETTINGS.TOKEN_AUDIENCE } as const;
type StoredSetting = keyof typeof STORED;

export const declareSettings: DeclareCommand = (program, context) => {
  const settings = program
    .command('settings')
    .description('show or change what all processes share: issuer and audience');
  settings
    .command('show', { isDefault: true })
    .description('show what is stored')
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
  return withDatabase(context.env, [], async ({ database }) => {
    const stored = await readSettings(database);
    const lines = [...stored].map(([name, value]) => `${name}=${value}`);
    const people = lines.join('\n') || 'Nothing is stored: Writ has not been started yet.';
    print(context, { json, value: Object.fromEntries(stored), people });
  });
}

async function change(
  context: CommandContext,
  { name, value, json }: { name: StoredSetting; value: string; json: true | undefined },
): Promise<void> {
  if (STORED[name].parse(value) === undefined) {
    throw new UsageError(`${name} must be ${STORED[name].allowed}`);
  }
  await withDatabase(context.env, MASTER_KEY_VARIABLES, async ({ database, config }) => {
    await setSetting(database, { name, value }, await openCommandSeals(database, config));
    const people = `${name} is ${value}. Start every replica again, with this or no ${name.toUpperCase()} in its environment.`;
    print(context, { json, value: { [name]: value }, people });
  });
}
