/** Guarantees that `.env.example` and the README tell the variables and defaults that the configuration has. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { type Config, loadConfig } from '../../src/config.ts';
import { CONFIG_VARIABLES, SETTINGS, type Setting } from '../../src/settings-table.ts';
import { plain, readText, tableOf } from '../support/markdown.ts';
import { GENERATED_PARTS, withGeneratedPart } from '../support/settings-docs.ts';

const example = readText('.env.example');
const ASSIGNMENT = /^#?([A-Z][A-Z0-9_]*)=(.*)$/gm;
const exampleLines = [...example.matchAll(ASSIGNMENT)].map(([line, name = '', value = '']) => ({
  line,
  name,
  value,
}));
const readmeRows = tableOf(readText('README.md'), 'variable');

for (const part of GENERATED_PARTS) {
  test(`what ${part.path} says of the settings is what the table of settings says`, () => {
    assert.equal(readText(part.path), withGeneratedPart(part), 'run `npm run docs:settings`');
  });
}

test('each setting has one sentence of help, an example that is allowed, and stands with its group', () => {
  const groups = new Set<string>();
  let previous: string | undefined;
  for (const variable of CONFIG_VARIABLES) {
    const setting: Setting = SETTINGS[variable];
    assert.match(setting.help, /^[^.]+[^.]\.$|^[^ ].*`[^`]+\.[^`]+`.*\.$/, variable);
    if (setting.example !== undefined) assert.notEqual(setting.parse(setting.example), undefined, variable);
    assert.ok(
      setting.group === previous || !groups.has(setting.group),
      `${variable} is apart from its group`,
    );
    groups.add(setting.group);
    previous = setting.group;
  }
});

test('.env.example has every variable once, in the order of the configuration', () => {
  assert.deepEqual(
    exampleLines.map((line) => line.name),
    [...CONFIG_VARIABLES],
  );
});

test('.env.example sets nothing until a line is uncommented', () => {
  assert.deepEqual(
    exampleLines.filter(({ line }) => !line.startsWith('#')),
    [],
  );
});

test('each variable of .env.example has a line above it that says what it means', () => {
  const lines = example.split('\n');
  for (const { line } of exampleLines) {
    assert.match(lines[lines.indexOf(line) - 1] ?? '', /^# \S.*\.$/, line);
  }
});

test('the values in .env.example are the defaults', () => {
  assert.deepEqual(
    Object.fromEntries(exampleLines.map(({ name, value }) => [name, value])),
    Object.fromEntries(CONFIG_VARIABLES.map((name) => [name, defaultOf(name)])),
  );
});

test('uncommenting all of .env.example changes nothing', () => {
  const uncommented = Object.fromEntries(exampleLines.map(({ name, value }) => [name, value]));
  assert.deepEqual(loadConfig(uncommented), loadConfig({}));
});

test('the README has every variable with its default, in the order of the configuration', () => {
  assert.deepEqual(
    readmeRows.map(([name, value]) => [plain(name), plain(value)]),
    CONFIG_VARIABLES.map((name) => [name, defaultOf(name) || 'unset']),
  );
});

test('the README says of each variable what it means', () => {
  for (const row of readmeRows) assert.ok((row[2] ?? '').length > 5, `${row[0]} has no meaning`);
});

test('src reads no variable past the configuration', () => {
  const files = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  assert.ok(files.length > 10);
  const readers = files.filter((file) => /process\.env(\.|\[)/.test(readText(`src/${file}`)));
  assert.deepEqual(readers, []);
});

/** As text; '' for a variable that is unset by default. */
function defaultOf(variable: string): string {
  const loaded = loadConfig({});
  assert.ok(loaded.ok);
  // Two variables make one member.
  if (variable.startsWith('APPROVAL_WEBHOOK_')) return String(loaded.config.approvalWebhook ?? '');
  const member = variable.toLowerCase().replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  assert.ok(member in loaded.config, `${variable} has no member ${member}`);
  const value = loaded.config[member as keyof Config];
  const unset = value === undefined || value === false || (Array.isArray(value) && value.length === 0);
  return unset ? '' : String(value);
}
