/**
 * Every setting of Writ, once: its environment variable, kind, default and meaning. The type of the configuration,
 * the parser, `writ serve --help`, `.env.example` and the README's table follow from it (`npm run docs:settings`).
 */

import { SIGNING_ALGS } from './domain/crypto/jwk.ts';
import { HIGHEST_BCRYPT_COST } from './domain/principals/api-key.ts';
import {
  ADDRESS_BLOCKS,
  API_KEY,
  AUDIENCE,
  FLAG,
  ISSUER_URL,
  KMS_KEY,
  MASTER_KEY,
  oneOf,
  POSTGRES_URL,
  type SettingKind,
  text,
  VAULT_ADDR,
  VAULT_TOKEN,
  WEBHOOK_SECRET,
  WEBHOOK_URL,
  wholeNumber,
} from './setting-kinds.ts';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

export type SettingGroup = 'Listener' | 'Database' | 'Keys' | 'Tokens' | 'Limits' | 'Approvals' | 'Operation';

export interface Setting extends SettingKind<unknown> {
  /** Settings of one group stand together. */
  readonly group: SettingGroup;
  /** What an unset variable stands for, as text. Without it the value is `unset`, else undefined. */
  readonly default?: string;
  readonly unset?: unknown;
  /** One sentence. Names of variables and of things to type are in back quotes. */
  readonly help: string;
  /** A value that is allowed. */
  readonly example?: string;
}

/** In the order in which they are documented. */
export const SETTINGS = {
  HOST: {
    ...text('an IP address or a host name'),
    group: 'Listener',
    default: '127.0.0.1',
    help: 'Address to listen on; unless it is a loopback address, `ISSUER_URL` is required.',
    example: '0.0.0.0',
  },
  PORT: {
    ...wholeNumber(0, 65_535),
    group: 'Listener',
    default: '3000',
    help: 'Port to listen on; 0 takes a free port.',
  },
  TRUST_PROXY: {
    ...ADDRESS_BLOCKS,
    group: 'Listener',
    help: 'Reverse proxies whose `X-Forwarded-For` header Writ believes.',
    example: '10.0.0.0/8,192.0.2.1',
  },
  REQUEST_TIMEOUT_MS: {
    ...wholeNumber(100, 600_000),
    group: 'Listener',
    default: '10000',
    help: 'Milliseconds in which a client has to send a whole request.',
  },
  SHUTDOWN_TIMEOUT_MS: {
    ...wholeNumber(0, 600_000),
    group: 'Listener',
    default: '10000',
    help: 'Milliseconds that requests in flight have to finish after SIGTERM or SIGINT.',
  },
  METRICS_PORT: {
    ...wholeNumber(0, 65_535),
    group: 'Listener',
    help: 'Port of the listener for Prometheus, which serves `/metrics` and asks for no credential; if unset, there is none.',
    example: '9464',
  },
  METRICS_HOST: {
    ...text('an IP address or a host name'),
    group: 'Listener',
    default: '127.0.0.1',
    help: 'Address of that listener; let nobody reach it who may not know how much is asked.',
    example: '10.0.0.5',
  },
  DATABASE_URL: {
    ...POSTGRES_URL,
    group: 'Database',
    help: 'PostgreSQL database to use; if unset, Writ runs an embedded database in `DATA_DIR`, for one process.',
    example: 'postgres://writ@localhost:5432/writ',
  },
  DATABASE_POOL_MAX: {
    ...wholeNumber(2, 1000),
    group: 'Database',
    default: '10',
    help: 'Maximum number of connections from one process to PostgreSQL.',
  },
  DATA_DIR: {
    ...text('the path of a folder'),
    group: 'Database',
    default: './data',
    help: 'Folder of the embedded database and of the generated master key.',
    example: '/var/lib/writ',
  },
  ACCEPT_UNSAFE_DURABILITY: {
    ...FLAG,
    group: 'Database',
    help: 'With 1, Writ starts on a PostgreSQL that may lose acknowledged writes.',
  },
  MASTER_KEY: {
    ...MASTER_KEY,
    group: 'Keys',
    help: 'Key that wraps the signing keys and the keys of secrets, for example from `openssl rand -hex 32`; with `DATABASE_URL`, either this, `MASTER_KEY_FILE` or `MASTER_KEY_KMS` is required.',
  },
  MASTER_KEY_FILE: {
    ...text('the path of a file'),
    group: 'Keys',
    help: 'File that holds the master key, which the first start creates if it is missing; if unset, `master.key` in `DATA_DIR`.',
    example: '/etc/writ/master.key',
  },
  MASTER_KEY_PREVIOUS: {
    ...MASTER_KEY,
    group: 'Keys',
    help: 'The other master key while one takes the place of the other (`writ kek rotate`); what is under it is read, and the database says which of the two is written under.',
  },
  MASTER_KEY_PREVIOUS_FILE: {
    ...text('the path of a file'),
    group: 'Keys',
    help: 'File that holds the other master key, in place of `MASTER_KEY_PREVIOUS`.',
    example: '/etc/writ/previous-master.key',
  },
  MASTER_KEY_KMS: {
    ...KMS_KEY,
    group: 'Keys',
    help: 'Key of a key management service that wraps the master key, in place of `MASTER_KEY`; the database keeps what it wraps, and a start asks the service to unwrap it.',
    example: 'vault:transit/keys/writ',
  },
  MASTER_KEY_PREVIOUS_KMS: {
    ...KMS_KEY,
    group: 'Keys',
    help: 'Key of a service that wraps the other master key, in place of `MASTER_KEY_PREVIOUS`.',
    example: 'aws:alias/writ',
  },
  VAULT_ADDR: {
    ...VAULT_ADDR,
    group: 'Keys',
    help: 'Address of OpenBao or Vault; required if a key is named that begins with `vault:`, and only then allowed.',
    example: 'https://openbao.example:8200',
  },
  VAULT_TOKEN: {
    ...VAULT_TOKEN,
    group: 'Keys',
    help: 'Token of OpenBao or Vault that may wrap and unwrap with this key; with `VAULT_ADDR`, either this or `VAULT_TOKEN_FILE` is required.',
  },
  VAULT_TOKEN_FILE: {
    ...text('the path of a file'),
    group: 'Keys',
    help: 'File that holds this token, read anew each time.',
    example: '/run/secrets/openbao-token',
  },
  BOOTSTRAP_ADMIN_KEY: {
    ...API_KEY,
    group: 'Keys',
    help: 'API key of the first administrator; if unset, the first start generates one and prints it once.',
  },
  BCRYPT_COST: {
    ...wholeNumber(10, HIGHEST_BCRYPT_COST),
    group: 'Keys',
    default: '10',
    help: 'bcrypt cost of the hashes of API keys.',
  },
  KEY_EXPIRY_WARNING_DAYS: {
    ...wholeNumber(0, 365),
    group: 'Keys',
    default: '14',
    help: 'Days before the end of an API key from when Writ tells of it: log, webhook, `/v1/me`, metrics; 0 tells nobody.',
  },
  ISSUER_URL: {
    ...ISSUER_URL,
    group: 'Tokens',
    help: '`iss` of the tokens; if unset, the value that the first start stored, by default `http://HOST:PORT`.',
    example: 'https://writ.example',
  },
  TOKEN_AUDIENCE: {
    ...AUDIENCE,
    group: 'Tokens',
    help: '`aud` of the tokens; if unset, the value that the first start stored, by default `writ`.',
    example: 'https://tools.example',
  },
  SIGNING_KEY_ROTATION_DAYS: {
    ...wholeNumber(0, 3650),
    group: 'Tokens',
    default: '90',
    help: 'Days after which another key signs the intent tokens; 0 leaves that to `writ signing-key rotate`.',
  },
  SIGNING_ALG: {
    ...oneOf(SIGNING_ALGS),
    group: 'Tokens',
    default: 'EdDSA',
    help: 'Name that the header of an intent token gives its algorithm; `Ed25519` is that of RFC 9864, which not every library knows.',
  },
  RATE_LIMIT_MAX: {
    ...wholeNumber(0, 1_000_000_000),
    group: 'Limits',
    default: '1200',
    help: 'Requests that a principal, or an address without one, may send per window; 0 turns the limit off.',
  },
  RATE_LIMIT_WINDOW_SECONDS: {
    ...wholeNumber(1, 86_400),
    group: 'Limits',
    default: '60',
    help: 'Length of the window of these limits in seconds.',
  },
  AUTH_FAILURE_MAX: {
    ...wholeNumber(0, 1_000_000),
    group: 'Limits',
    default: '30',
    help: 'Failed credentials that an address may send per window; 0 turns the limit off.',
  },
  APPROVAL_TTL_SECONDS: {
    ...wholeNumber(60, 604_800),
    group: 'Approvals',
    default: '3600',
    help: 'Seconds that approvers have to decide a request, and then, from when the approval takes effect, the agent has to claim its token.',
  },
  CRITICAL_APPROVALS: {
    ...wholeNumber(1, 10),
    group: 'Approvals',
    default: '2',
    help: 'Number of different approvers that a critical secret requires.',
  },
  CRITICAL_DELAY_SECONDS: {
    ...wholeNumber(0, 86_400),
    group: 'Approvals',
    default: '300',
    help: 'Seconds between the last of these approvals and the claim, in which an approver can still deny.',
  },
  APPROVAL_WEBHOOK_URL: {
    ...WEBHOOK_URL,
    group: 'Approvals',
    help: 'URL that Writ posts every notice to, of approvals and of the rest; it requires `APPROVAL_WEBHOOK_SECRET`.',
    example: 'https://hooks.example/writ',
  },
  APPROVAL_WEBHOOK_SECRET: {
    ...WEBHOOK_SECRET,
    group: 'Approvals',
    help: 'Secret that signs these notices, as Standard Webhooks prescribes.',
  },
  LOG_LEVEL: {
    ...oneOf(LOG_LEVELS),
    group: 'Operation',
    default: 'info',
    help: 'Least severe level that Writ logs.',
  },
  RETENTION_DAYS: {
    ...wholeNumber(1, 36_500),
    group: 'Operation',
    default: '30',
    help: 'Days that expired tokens and closed approvals are kept; audit events are kept forever.',
  },
  SECRET_VERSIONS_KEPT: {
    ...wholeNumber(0, 1_000_000),
    group: 'Operation',
    default: '10',
    help: 'How many of the newest versions of a secret are always kept; 0 keeps all versions forever.',
  },
  SECRET_VERSIONS_KEPT_DAYS: {
    ...wholeNumber(0, 36_500),
    group: 'Operation',
    default: '30',
    help: 'Days that an older version is kept after the next one was written.',
  },
} as const satisfies Record<string, Setting>;

export type ConfigVariable = keyof typeof SETTINGS;

export const CONFIG_VARIABLES = Object.keys(SETTINGS) as readonly ConfigVariable[];

/** `DATABASE_URL` is `databaseUrl` in the configuration. */
export type SettingName<Variable extends string> = Variable extends `${infer Head}_${infer Tail}`
  ? `${Lowercase<Head>}${Capitalize<SettingName<Tail>>}`
  : Lowercase<Variable>;

/** What a row parses to, and what it is when it is unset. */
export type SettingValue<Row> = Row extends { readonly parse: (given: string) => infer Parsed }
  ? Exclude<Parsed, undefined> | UnsetValue<Row>
  : never;

type UnsetValue<Row> = Row extends { readonly default: string }
  ? never
  : Row extends { readonly unset: infer Unset }
    ? Unset
    : undefined;
