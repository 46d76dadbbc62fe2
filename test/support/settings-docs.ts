/**
 * Guarantees that a test and `npm run docs:settings` mean the same documents: the parts of `.env.example` and of the
 * README that follow from the table of settings, each between two markers.
 */
import { CONFIG_VARIABLES, SETTINGS, type Setting, type SettingGroup } from '../../src/settings-table.ts';
import { readText } from './markdown.ts';

interface GeneratedPart {
  readonly path: string;
  readonly begin: string;
  readonly end: string;
  readonly render: () => string;
}

export const GENERATED_PARTS: readonly GeneratedPart[] = [
  {
    path: '.env.example',
    begin: '# Written by `npm run docs:settings`:',
    end: '# End of what `npm run docs:settings` writes.',
    render: renderEnvExample,
  },
  {
    path: 'README.md',
    begin: '<!-- Written by `npm run docs:settings`: -->',
    end: '<!-- End of what `npm run docs:settings` writes. -->',
    render: renderTable,
  },
];

/** The text of the file with its part as it should be. Throws if a marker is missing. */
export function withGeneratedPart({ path, begin, end, render }: GeneratedPart): string {
  const present = readText(path);
  const from = present.indexOf(`${begin}\n`);
  const to = present.indexOf(`${end}\n`);
  if (from === -1 || to < from) throw new Error(`${path} has no part between "${begin}" and "${end}"`);
  return `${present.slice(0, from)}${begin}\n\n${render()}\n\n${present.slice(to)}`;
}

function renderEnvExample(): string {
  let group: SettingGroup | undefined;
  const blocks = CONFIG_VARIABLES.map((variable) => {
    const setting: Setting = SETTINGS[variable];
    const heading = setting.group === group ? '' : `## ${setting.group}\n\n`;
    group = setting.group;
    const help = setting.help.replaceAll('`', '');
    return `${heading}# ${help}\n# Allowed: ${allowed(setting)}.\n#${variable}=${setting.default ?? ''}`;
  });
  return blocks.join('\n\n');
}

function renderTable(): string {
  const rows = CONFIG_VARIABLES.map((variable) => {
    const setting: Setting = SETTINGS[variable];
    const standard = setting.default === undefined ? 'unset' : `\`${setting.default}\``;
    return `| \`${variable}\` | ${standard} | ${setting.help} | ${allowed(setting, '`')} |`;
  });
  return ['| variable | default | meaning | allowed |', '|---|---|---|---|', ...rows].join('\n');
}

function allowed({ allowed: kind, example }: Setting, quote = ''): string {
  return example === undefined ? kind : `${kind}, for example ${quote}${example}${quote}`;
}
