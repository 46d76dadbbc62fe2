/**
 * Configuration from environment variables (contract section 9). `loadConfig` is pure: it reports every fault
 * at once and never repeats the value of a secret. A variable stands here only if something reads it.
 */

import { isIPv4 } from 'node:net';
import { type AddressBlock, parseAddressBlocks } from './domain/network/ip-address.ts';
import { parseApiKey } from './domain/principals/api-key.ts';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Every variable that Writ reads; `.env.example` lists the same. */
export const CONFIG_VARIABLES = [
  'HOST',
  'PORT',
  'DATABASE_URL',
  'DATABASE_POOL_MAX',
  'DATA_DIR',
  'MASTER_KEY',
  'MASTER_KEY_FILE',
  'BOOTSTRAP_ADMIN_KEY',
  'ISSUER_URL',
  'TOKEN_AUDIENCE',
  'BCRYPT_COST',
  'TRUST_PROXY',
  'RATE_LIMIT_MAX',
  'RATE_LIMIT_WINDOW_SECONDS',
  'AUTH_FAILURE_MAX',
  'LOG_LEVEL',
  'RETENTION_DAYS',
  'APPROVAL_TTL_SECONDS',
  'CRITICAL_APPROVALS',
  'CRITICAL_DELAY_SECONDS',
  'APPROVAL_WEBHOOK_URL',
  'APPROVAL_WEBHOOK_SECRET',
  'ACCEPT_UNSAFE_DURABILITY',
  'REQUEST_TIMEOUT_MS',
  'SHUTDOWN_TIMEOUT_MS',
] as const;
export type ConfigVariable = (typeof CONFIG_VARIABLES)[number];

export interface Config {
  readonly host: string;
  readonly port: number;
  /** Undefined means the embedded database in `dataDir`. */
  readonly databaseUrl: string | undefined;
  readonly databasePoolMax: number;
  readonly dataDir: string;
  /** 32 bytes, or undefined when the key comes from a file. */
  readonly masterKey: Uint8Array | undefined;
  readonly masterKeyFile: string | undefined;
  readonly bootstrapAdminKey: string | undefined;
  /** `iss` and `aud` as configured; undefined means "what the first start stored, else the default". */
  readonly issuerUrl: string | undefined;
  readonly tokenAudience: string | undefined;
  readonly bcryptCost: number;
  readonly trustProxy: readonly AddressBlock[];
  /** Requests per principal (or address) and window; 0 = off. */
  readonly rateLimitMax: number;
  readonly rateLimitWindowSeconds: number;
  readonly authFailureMax: number;
  readonly logLevel: LogLevel;
  /** How long dead tokens and closed approvals stay. */
  readonly retentionDays: number;
  /** How long an approval can be decided, and then claimed. */
  readonly approvalTtlSeconds: number;
  /** Distinct approvers that a critical secret takes. */
  readonly criticalApprovals: number;
  /** Between the last of their votes and the claim. */
  readonly criticalDelaySeconds: number;
  /** Undefined: nobody is told. */
  readonly approvalWebhook: { readonly url: string; readonly secret: Uint8Array } | undefined;
  readonly acceptUnsafeDurability: boolean;
  readonly requestTimeoutMs: number;
  readonly shutdownTimeoutMs: number;
}

export type ConfigResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly faults: readonly string[] };

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the environment. Empty values count as unset; each fault names its variable and what is allowed. With
 * `relevant`, faults of other variables are left to the commands that read them.
 */
export function loadConfig(env: Environment, relevant?: readonly ConfigVariable[]): ConfigResult {
  const faults: string[] = [];
  const read = (name: ConfigVariable): string | undefined => env[name] || undefined;
  const fault = (name: ConfigVariable, allowed: string): undefined => {
    if (relevant?.includes(name) ?? true) faults.push(`${name} must be ${allowed}`);
    return undefined;
  };
  const integer = (name: ConfigVariable, range: { min: number; max: number; fallback: number }): number => {
    const text = read(name);
    if (text === undefined) return range.fallback;
    const value = /^(0|[1-9]\d{0,9})$/.test(text) ? Number(text) : Number.NaN;
    if (value >= range.min && value <= range.max) return value;
    fault(name, `a whole number from ${range.min} to ${range.max}`);
    return range.fallback;
  };

  const host = read('HOST') ?? '127.0.0.1';
  const databaseUrl = readDatabaseUrl(read('DATABASE_URL'), fault);
  const masterKeyText = read('MASTER_KEY');
  const masterKey = masterKeyText === undefined ? undefined : parseMasterKey(masterKeyText);
  if (masterKeyText !== undefined && masterKey === undefined) fault('MASTER_KEY', MASTER_KEY_FORM);
  const masterKeyFile = read('MASTER_KEY_FILE');
  if (masterKeyText !== undefined && masterKeyFile !== undefined) {
    fault('MASTER_KEY_FILE', 'unset when MASTER_KEY is set: give one of the two');
  }
  if (read('DATABASE_URL') !== undefined && masterKeyText === undefined && masterKeyFile === undefined) {
    fault('MASTER_KEY', `set, or MASTER_KEY_FILE, when DATABASE_URL is set: ${MASTER_KEY_FORM}`);
  }
  const bootstrapAdminKey = read('BOOTSTRAP_ADMIN_KEY');
  if (bootstrapAdminKey !== undefined && !parseApiKey(bootstrapAdminKey).ok) {
    fault(
      'BOOTSTRAP_ADMIN_KEY',
      'an API key: ak_live_ or ak_test_ and 64 lower-case hex digits with their checksum',
    );
  }
  const issuerUrl = readIssuer(read('ISSUER_URL'), fault);
  if (read('ISSUER_URL') === undefined && !isLoopback(host)) {
    fault('ISSUER_URL', `set when HOST is not a loopback address (HOST is ${JSON.stringify(host)})`);
  }
  const tokenAudience = read('TOKEN_AUDIENCE');
  if (tokenAudience !== undefined && !/^[\x21-\x7e]{1,256}$/.test(tokenAudience)) {
    fault('TOKEN_AUDIENCE', '1 to 256 printable ASCII characters without spaces');
  }
  const logLevel = LOG_LEVELS.find((level) => level === (read('LOG_LEVEL') ?? 'info'));
  if (logLevel === undefined) fault('LOG_LEVEL', `one of ${LOG_LEVELS.join(', ')}`);
  const unsafe = read('ACCEPT_UNSAFE_DURABILITY');
  if (unsafe !== undefined && unsafe !== '1') fault('ACCEPT_UNSAFE_DURABILITY', '1 or unset');

  const config: Config = Object.freeze({
    host,
    port: integer('PORT', { min: 0, max: 65_535, fallback: 3000 }),
    databaseUrl,
    databasePoolMax: integer('DATABASE_POOL_MAX', { min: 2, max: 1000, fallback: 10 }),
    dataDir: read('DATA_DIR') ?? './data',
    masterKey,
    masterKeyFile,
    bootstrapAdminKey,
    issuerUrl,
    tokenAudience,
    bcryptCost: integer('BCRYPT_COST', { min: 10, max: 13, fallback: 10 }),
    trustProxy: readTrustProxy(read('TRUST_PROXY'), fault),
    rateLimitMax: integer('RATE_LIMIT_MAX', { min: 0, max: 1_000_000_000, fallback: 1200 }),
    rateLimitWindowSeconds: integer('RATE_LIMIT_WINDOW_SECONDS', { min: 1, max: 86_400, fallback: 60 }),
    authFailureMax: integer('AUTH_FAILURE_MAX', { min: 0, max: 1_000_000, fallback: 30 }),
    logLevel: logLevel ?? 'info',
    retentionDays: integer('RETENTION_DAYS', { min: 1, max: 36_500, fallback: 30 }),
    approvalTtlSeconds: integer('APPROVAL_TTL_SECONDS', { min: 60, max: 604_800, fallback: 3600 }),
    criticalApprovals: integer('CRITICAL_APPROVALS', { min: 1, max: 10, fallback: 2 }),
    criticalDelaySeconds: integer('CRITICAL_DELAY_SECONDS', { min: 0, max: 86_400, fallback: 300 }),
    approvalWebhook: readWebhook(read('APPROVAL_WEBHOOK_URL'), read('APPROVAL_WEBHOOK_SECRET'), fault),
    acceptUnsafeDurability: unsafe === '1',
    requestTimeoutMs: integer('REQUEST_TIMEOUT_MS', { min: 100, max: 600_000, fallback: 10_000 }),
    shutdownTimeoutMs: integer('SHUTDOWN_TIMEOUT_MS', { min: 0, max: 600_000, fallback: 10_000 }),
  });
  return faults.length > 0 ? { ok: false, faults } : { ok: true, config };
}

const MASTER_KEY_FORM = '32 bytes as 64 hex or 44 base64 characters';

/** 64 hex or 44 base64 characters to 32 bytes; undefined for anything else. A trailing newline (a file's) is ignored. */
export function parseMasterKey(text: string): Uint8Array | undefined {
  const trimmed = text.replace(/\r?\n$/, '');
  if (/^[0-9a-fA-F]{64}$/.test(trimmed)) return Uint8Array.from(Buffer.from(trimmed, 'hex'));
  if (!/^[A-Za-z0-9+/]{43}=$/.test(trimmed)) return undefined;
  const bytes = Buffer.from(trimmed, 'base64');
  return bytes.toString('base64') === trimmed ? Uint8Array.from(bytes) : undefined;
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

type ValidationIssue = (name: ConfigVariable, allowed: string) => undefined;

function readDatabaseUrl(text: string | undefined, fault: ValidationIssue): string | undefined {
  if (text === undefined) return undefined;
  const protocol = URL.canParse(text) ? new URL(text).protocol : '';
  return protocol === 'postgres:' || protocol === 'postgresql:'
    ? text
    : fault('DATABASE_URL', 'a postgres:// URL');
}

/** RFC 8414 section 2: an issuer is a URL without query or fragment. Kept as written, for `iss` is compared byte by byte. */
function readIssuer(text: string | undefined, fault: ValidationIssue): string | undefined {
  if (text === undefined) return undefined;
  const allowed = 'an http:// or https:// URL without query, fragment, credentials or trailing slash';
  if (!URL.canParse(text) || text.length > 512) return fault('ISSUER_URL', allowed);
  const plain = /^https?:\/\/[^/?#\s@\\"<>]+(\/[^?#\s\\"<>]*)?$/.test(text);
  return plain && !text.endsWith('/') ? text : fault('ISSUER_URL', allowed);
}

function readTrustProxy(text: string | undefined, fault: ValidationIssue): readonly AddressBlock[] {
  if (text === undefined) return [];
  const parsed = parseAddressBlocks(text.split(',').map((entry) => entry.trim()));
  if (parsed.ok) return parsed.blocks;
  fault('TRUST_PROXY', 'a comma-separated list of addresses or CIDR blocks, for example 10.0.0.0/8');
  return [];
}

/** Standard Webhooks: `whsec_` and the base64 of 24 to 64 bytes. A URL without a secret would send what nobody can trust. */
function readWebhook(
  url: string | undefined,
  secret: string | undefined,
  fault: ValidationIssue,
): Config['approvalWebhook'] {
  if (url !== undefined && !isWebhookUrl(url)) {
    fault('APPROVAL_WEBHOOK_URL', 'an http:// or https:// URL without credentials or fragment');
  }
  if (url !== undefined && secret === undefined) {
    fault(
      'APPROVAL_WEBHOOK_SECRET',
      'set when APPROVAL_WEBHOOK_URL is set: whsec_ and the base64 of 24 to 64 bytes',
    );
  }
  if (url === undefined && secret !== undefined) {
    fault('APPROVAL_WEBHOOK_URL', 'set when APPROVAL_WEBHOOK_SECRET is set');
  }
  if (secret === undefined) return undefined;
  const bytes = webhookSecret(secret);
  if (bytes === undefined) fault('APPROVAL_WEBHOOK_SECRET', 'whsec_ and the base64 of 24 to 64 bytes');
  return url === undefined || bytes === undefined ? undefined : { url, secret: bytes };
}

function isWebhookUrl(text: string): boolean {
  if (!URL.canParse(text) || text.length > 2048) return false;
  const { username, password } = new URL(text);
  return /^https?:\/\/[^/?#\s]+[^#\s]*$/.test(text) && !username && !password;
}

function webhookSecret(text: string): Uint8Array | undefined {
  const base64 = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text)?.[1];
  const bytes = Buffer.from(base64 ?? '', 'base64');
  const canonical = bytes.toString('base64') === base64 && bytes.length >= 24 && bytes.length <= 64;
  return canonical ? Uint8Array.from(bytes) : undefined;
}
