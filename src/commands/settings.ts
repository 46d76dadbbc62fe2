/** `writ settings`: what must be the same on every replica. A change takes effect when the replicas start again. */

import { parseArgs } from 'node:util';
import { loadConfig } from '../config.ts';
import { readSettings, setSetting } from '../storage/settings-store.ts';
import { type Command, print, UsageError } from './command.ts';
import { withDatabase } from './database.ts';

/** The setting's name and the variable whose rules its value follows. */
const SETTINGS = { issuer_url: 'ISSUER_URL', token_audience: 'TOKEN_AUDIENCE' } as const;

export const settings: Command = {
  summary: 'show or change issuer_url and token_audience',
  usage: `writ settings [--json]
writ settings set issuer_url|token_audience VALUE [--json]`,
  run: async (args, env) => {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { json: { type: 'boolean', default: false } },
    });
    if (positionals.length === 0) return show(env, values.json);
    const [action, name, value, ...rest] = positionals;
    const known = Object.entries(SETTINGS).find(([setting]) => setting === name);
    if (action !== 'set' || known === undefined || !value || rest.length > 0) {
      throw new UsageError('say nothing, or "set issuer_url|token_audience VALUE"');
    }
    const [setting, variable] = known;
    const checked = loadConfig({ [variable]: value }, [variable]);
    if (!checked.ok) throw new UsageError(checked.faults.join('\n'));
    return withDatabase(env, [], async ({ database }) => {
      await setSetting(database, setting, value);
      print(
        values.json,
        { [setting]: value },
        `${setting} is ${value}. Start every replica again, with this or no ${setting.toUpperCase()} in its environment.`,
      );
      return 0;
    });
  },
};

function show(env: NodeJS.ProcessEnv, json: boolean): Promise<number> {
  return withDatabase(env, [], async ({ database }) => {
    const stored = await readSettings(database);
    const lines = [...stored].map(([name, value]) => `${name}=${value}`);
    print(
      json,
      Object.fromEntries(stored),
      lines.join('\n') || 'Nothing is stored: Writ has not been started yet.',
    );
    return 0;
  });
}
