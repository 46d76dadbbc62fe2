/**
 * Configuration from environment variables (contract section 9). `loadConfig` is pure: it reports every fault
 * at once and never repeats the value of a variable that it refuses.
 */

import { isIPv4 } from 'node:net';
import { MASTER_KEY, WEBHOOK_SECRET } from './setting-kinds.ts';
import {
  CONFIG_VARIABLES,
  type ConfigVariable,
  SETTINGS,
  type Setting,
  type SettingName,
  type SettingValue,
} from './settings-table.ts';

/** One member for each row of the table. */
type Values = {
  readonly [Variable in ConfigVariable as SettingName<Variable>]: SettingValue<(typeof SETTINGS)[Variable]>;
};

export interface Config extends Omit<Values, 'approvalWebhookUrl' | 'approvalWebhookSecret'> {
  /** Both or neither: an event without a signature is one that its receiver cannot trust. */
  readonly approvalWebhook: { readonly url: string; readonly secret: Uint8Array } | undefined;
}

export type ConfigResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly faults: readonly string[] };

type Environment = Readonly<Record<string, string | undefined>>;
type Fault = readonly [variable: ConfigVariable, sentence: string];

/**
 * Reads the environment. Empty values count as unset; each fault names its variable and what is allowed. With
 * `relevant`, faults of other variables are left to the commands that read them, and their defaults are taken.
 */
export function loadConfig(env: Environment, relevant?: readonly ConfigVariable[]): ConfigResult {
  const { values, faults: malformed } = parseValues(env);
  const faults = [...malformed, ...findContradictions(env, values.host)]
    .filter(([variable]) => relevant?.includes(variable) ?? true)
    .map(([variable, sentence]) => `${variable} ${sentence}`);
  if (faults.length > 0) return { ok: false, faults };
  const { approvalWebhookUrl: url, approvalWebhookSecret: secret, ...others } = values;
  const approvalWebhook = url === undefined || secret === undefined ? undefined : { url, secret };
  return { ok: true, config: Object.freeze({ ...others, approvalWebhook }) };
}

function parseValues(env: Environment): { values: Values; faults: readonly Fault[] } {
  const faults: Fault[] = [];
  const entries = CONFIG_VARIABLES.map((variable) => {
    const setting: Setting = SETTINGS[variable];
    const unset = setting.default === undefined ? setting.unset : setting.parse(setting.default);
    const given = env[variable];
    if (!given) return [settingName(variable), unset];
    const value = setting.parse(given);
    if (value === undefined) faults.push([variable, `must be ${setting.allowed}`]);
    return [settingName(variable), value ?? unset];
  });
  return { values: Object.fromEntries(entries) as Values, faults };
}

/** `DATABASE_URL` to `databaseUrl`. */
function settingName(variable: string): string {
  return variable.toLowerCase().replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** What is wrong between variables that are each allowed by themselves. */
function findContradictions(env: Environment, host: string): readonly Fault[] {
  const faults: Fault[] = [];
  const isSet = (variable: ConfigVariable): boolean => Boolean(env[variable]);
  if (isSet('MASTER_KEY') && isSet('MASTER_KEY_FILE')) {
    faults.push(['MASTER_KEY_FILE', 'must be unset when MASTER_KEY is set: set one of the two']);
  }
  if (isSet('MASTER_KEY_PREVIOUS') && isSet('MASTER_KEY_PREVIOUS_FILE')) {
    const sentence = 'must be unset when MASTER_KEY_PREVIOUS is set: set one of the two';
    faults.push(['MASTER_KEY_PREVIOUS_FILE', sentence]);
  }
  if (isSet('DATABASE_URL') && !isSet('MASTER_KEY') && !isSet('MASTER_KEY_FILE')) {
    const sentence = `must be set, or MASTER_KEY_FILE, when DATABASE_URL is set: ${MASTER_KEY.allowed}`;
    faults.push(['MASTER_KEY', sentence]);
  }
  if (!isSet('ISSUER_URL') && !isLoopback(host)) {
    const sentence = `must be set when HOST is not a loopback address (HOST is ${JSON.stringify(host)})`;
    faults.push(['ISSUER_URL', sentence]);
  }
  if (isSet('APPROVAL_WEBHOOK_URL') && !isSet('APPROVAL_WEBHOOK_SECRET')) {
    const sentence = `must be set when APPROVAL_WEBHOOK_URL is set: ${WEBHOOK_SECRET.allowed}`;
    faults.push(['APPROVAL_WEBHOOK_SECRET', sentence]);
  }
  if (isSet('APPROVAL_WEBHOOK_SECRET') && !isSet('APPROVAL_WEBHOOK_URL')) {
    faults.push(['APPROVAL_WEBHOOK_URL', 'must be set when APPROVAL_WEBHOOK_SECRET is set']);
  }
  return faults;
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}
