/** The table of settings as help for a terminal: what each environment variable means, and its default. */

import type { Help } from 'commander';
import { CONFIG_VARIABLES, SETTINGS, type Setting, type SettingGroup } from '../settings-table.ts';

const WIDTH = 80;
const TERM_WIDTH = Math.max(...CONFIG_VARIABLES.map((variable) => variable.length));

export function renderSettingsHelp(help: Help): string {
  help.prepareContext({ helpWidth: WIDTH });
  let group: SettingGroup | undefined;
  const items = CONFIG_VARIABLES.flatMap((variable) => {
    const setting: Setting = SETTINGS[variable];
    const heading = setting.group === group ? [] : ['', `${setting.group}:`];
    group = setting.group;
    const standard = setting.default === undefined ? '' : ` (default: ${setting.default})`;
    const text = `${setting.help.replaceAll('`', '').replace(/\.$/, '')}${standard}`;
    return [...heading, help.formatItem(variable, TERM_WIDTH, text, help)];
  });
  return ['', 'Environment variables (.env.example says what is allowed):', ...items].join('\n');
}
