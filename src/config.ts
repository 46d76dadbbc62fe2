/**
 * Configuration from environment variables (contract section 9). `loadConfig` is pure: it reports every fault
 * at once and never repeats the value of a variable that it refuses.
 */

import { isIPv4 } from 'node:net';
import { MASTER_KEY, VAULT_ADDR, WEBHOOK_SECRET } from './setting-kinds.ts';
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
const KEY_PLACES = ['MASTER_KEY', 'MASTER_KEY_FILE', 'MASTER_KEY_KMS'] as const satisfies ConfigVariable[];
const PREVIOUS_KEY_PLACES = [
  'MASTER_KEY_PREVIOUS',
  'MASTER_KEY_PREVIOUS_FILE',
  'MASTER_KEY_PREVIOUS_KMS',
] as const satisfies ConfigVariable[];
const KMS_PLACES = ['MASTER_KEY_KMS', 'MASTER_KEY_PREVIOUS_KMS'] as const satisfies ConfigVariable[];
const VAULT_VARIABLES = ['VAULT_ADDR', 'VAULT_TOKEN', 'VAULT_TOKEN_FILE'] as const satisfies ConfigVariable[];
/** All that a process needs that is to have its master keys. */
export const MASTER_KEY_VARIABLES = [...KEY_PLACES, ...PREVIOUS_KEY_PLACES, ...VAULT_VARIABLES] as const;

type Fault = readonly [variable: ConfigVariable, sentence: string];

/**
 * Reads the environment. Empty values count as unset; each fault names its variable and what is allowed. With
 * `relevant`, faults of other variables are left to the commands that read them, and their defaults are taken.
 */
export function loadConfig(env: Environment, relevant?: readonly ConfigVariable[]): ConfigResult {
  const { values, faults: malformed } = parseValues(env);
  const refused = new Set(malformed.map(([variable]) => variable));
  const contradictions = findContradictions(env, values).filter(([variable]) => !refused.has(variable));
  const faults = [...malformed, ...contradictions]
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

/** An empty value counts as unset. */
const isSetIn =
  (env: Environment) =>
  (variable: ConfigVariable): boolean =>
    Boolean(env[variable]);

/** What is wrong between variables that are each allowed by themselves. */
function findContradictions(env: Environment, values: Values): readonly Fault[] {
  const { host } = values;
  const faults: Fault[] = [];
  const isSet = isSetIn(env);
  faults.push(...findKeyContradictions(env), ...findVaultContradictions(env, values));
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

/** A master key comes from one place. */
function findKeyContradictions(env: Environment): readonly Fault[] {
  const faults: Fault[] = [];
  const isSet = isSetIn(env);
  for (const places of [KEY_PLACES, PREVIOUS_KEY_PLACES]) {
    const [first, ...others] = places.filter(isSet);
    for (const other of others)
      faults.push([other, `must be unset when ${first} is set: set one of the two`]);
  }
  if (isSet('DATABASE_URL') && !KEY_PLACES.some(isSet)) {
    const sentence = `must be set, or MASTER_KEY_FILE or MASTER_KEY_KMS, when DATABASE_URL is set: ${MASTER_KEY.allowed}`;
    faults.push(['MASTER_KEY', sentence]);
  }
  if (isSet('MASTER_KEY_KMS') && env['MASTER_KEY_KMS'] === env['MASTER_KEY_PREVIOUS_KMS'])
    faults.push(['MASTER_KEY_PREVIOUS_KMS', 'must be another key than MASTER_KEY_KMS, or unset']);
  return faults;
}

/** What the service needs is set with it, and not without. */
function findVaultContradictions(
  env: Environment,
  { masterKeyKms, masterKeyPreviousKms, vaultAddr }: Values,
): readonly Fault[] {
  const isSet = isSetIn(env);
  const named = [masterKeyKms, masterKeyPreviousKms].filter((key) => key !== undefined);
  // Of one that is refused nobody knows which service it meant.
  if (named.length < KMS_PLACES.filter(isSet).length) return [];
  if (!named.some(({ service }) => service === 'vault')) {
    const sentence = 'must be unset unless MASTER_KEY_KMS or MASTER_KEY_PREVIOUS_KMS begins with vault:';
    return VAULT_VARIABLES.filter(isSet).map((variable) => [variable, sentence]);
  }
  const faults: Fault[] = [];
  if (!isSet('VAULT_ADDR'))
    faults.push(['VAULT_ADDR', `must be set for a key that begins with vault: ${VAULT_ADDR.allowed}`]);
  // Token and root key would be readable on the way.
  if (vaultAddr?.startsWith('http:') && !isLoopback(hostOf(vaultAddr)))
    faults.push(['VAULT_ADDR', `must be ${VAULT_ADDR.allowed}`]);
  if (isSet('VAULT_TOKEN') && isSet('VAULT_TOKEN_FILE'))
    faults.push(['VAULT_TOKEN_FILE', 'must be unset when VAULT_TOKEN is set: set one of the two']);
  if (!isSet('VAULT_TOKEN') && !isSet('VAULT_TOKEN_FILE'))
    faults.push(['VAULT_TOKEN', 'must be set, or VAULT_TOKEN_FILE, for a key that begins with vault:']);
  return faults;
}

/** Without the brackets of an IPv6 address. */
const hostOf = (url: string): string => new URL(url).hostname.replace(/^\[(.*)\]$/, '$1');

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}
