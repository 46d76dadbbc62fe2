/** Guarantees that the configuration is what a person wrote, or is refused with all that is wrong and without a secret. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Config, isLoopback, loadConfig } from '../src/config.ts';
import { generateApiKey } from '../src/keys/credentials/api-key-hash.ts';
import { parseMasterKey } from '../src/setting-kinds.ts';
import { CONFIG_VARIABLES, type ConfigVariable, LOG_LEVELS } from '../src/settings-table.ts';

type Environment = Readonly<Record<string, string>>;

const HEX_KEY = '00112233445566778899aabbccddeeff'.repeat(2);
const BASE64_KEY = Buffer.from(HEX_KEY, 'hex').toString('base64');
const POSTGRES = 'postgres://writ:pass-canary@db.example:5432/writ';
const WEBHOOK_URL = 'https://hooks.example/writ?of=approvals';
const WEBHOOK_BYTES = Uint8Array.from({ length: 32 }, (_, index) => 255 - index);
const WEBHOOK_SECRET = `whsec_${Buffer.from(WEBHOOK_BYTES).toString('base64')}`;
const REMOTE = { HOST: '0.0.0.0', ISSUER_URL: 'https://writ.example' };

function accepted(env: Environment): Config {
  const loaded = loadConfig(env);
  assert.deepEqual(loaded.ok ? [] : loaded.faults, []);
  assert.ok(loaded.ok);
  return loaded.config;
}

function faultsOf(env: Environment): readonly string[] {
  const loaded = loadConfig(env);
  assert.equal(loaded.ok, false, `accepted: ${JSON.stringify(env)}`);
  return loaded.ok ? [] : loaded.faults;
}

/** The variable that each fault names. */
const namesIn = (faults: readonly string[]) => faults.map((fault) => fault.split(' ')[0]);

test('an empty environment has the documented defaults', () => {
  assert.deepEqual(accepted({}), {
    host: '127.0.0.1',
    port: 3000,
    databaseUrl: undefined,
    databasePoolMax: 10,
    dataDir: './data',
    masterKey: undefined,
    masterKeyFile: undefined,
    masterKeyPrevious: undefined,
    masterKeyPreviousFile: undefined,
    masterKeyKms: undefined,
    masterKeyPreviousKms: undefined,
    vaultAddr: undefined,
    vaultToken: undefined,
    vaultTokenFile: undefined,
    bootstrapAdminKey: undefined,
    issuerUrl: undefined,
    tokenAudience: undefined,
    bcryptCost: 10,
    trustProxy: [],
    rateLimitMax: 1200,
    rateLimitWindowSeconds: 60,
    authFailureMax: 30,
    logLevel: 'info',
    retentionDays: 30,
    secretVersionsKept: 10,
    secretVersionsKeptDays: 30,
    approvalTtlSeconds: 3600,
    criticalApprovals: 2,
    criticalDelaySeconds: 300,
    approvalWebhook: undefined,
    acceptUnsafeDurability: false,
    signingKeyRotationDays: 90,
    signingAlg: 'EdDSA',
    requestTimeoutMs: 10_000,
    shutdownTimeoutMs: 10_000,
    keyExpiryWarningDays: 14,
    metricsPort: undefined,
    metricsHost: '127.0.0.1',
  } satisfies Config);
});

test('an empty variable counts as unset', () => {
  const empty = Object.fromEntries(CONFIG_VARIABLES.map((name) => [name, '']));
  assert.deepEqual(loadConfig(empty), loadConfig({}));
});

test('the configuration cannot be changed after it was read', () => {
  assert.ok(Object.isFrozen(accepted({})));
});

test('reading the configuration leaves the environment as it is', () => {
  const env = Object.freeze({ PORT: '8080', HOME: '/root' });
  assert.equal(accepted(env).port, 8080);
});

test('a variable that is not ours changes nothing', () => {
  assert.deepEqual(loadConfig({ port: '1', WRIT_PORT: '2', PORTS: '3' }), loadConfig({}));
});

const VAULT = { VAULT_ADDR: 'https://bao.example', VAULT_TOKEN: 's.token' };
const VAULT_KEY = {
  service: 'vault',
  mount: 'transit',
  key: 'writ',
  text: 'vault:transit/keys/writ',
} as const;
const AWS_KEY = { service: 'aws', keyId: 'alias/writ', region: undefined, text: 'aws:alias/writ' } as const;

const ACCEPTED: readonly [ConfigVariable, string, Partial<Config>, Environment?][] = [
  ['HOST', '::1', { host: '::1' }],
  ['HOST', 'localhost', { host: 'localhost' }],
  ['HOST', '0.0.0.0', { host: '0.0.0.0' }, { ISSUER_URL: 'https://writ.example' }],
  ['PORT', '0', { port: 0 }],
  ['PORT', '65535', { port: 65_535 }],
  ['KEY_EXPIRY_WARNING_DAYS', '0', { keyExpiryWarningDays: 0 }],
  ['METRICS_PORT', '0', { metricsPort: 0 }],
  ['METRICS_HOST', '::', { metricsHost: '::' }],
  ['DATABASE_URL', POSTGRES, { databaseUrl: POSTGRES }, { MASTER_KEY: HEX_KEY }],
  ['DATABASE_URL', 'postgresql:///writ', { databaseUrl: 'postgresql:///writ' }, { MASTER_KEY_FILE: '/k' }],
  ['DATABASE_POOL_MAX', '2', { databasePoolMax: 2 }],
  ['DATA_DIR', '/var/lib/writ', { dataDir: '/var/lib/writ' }],
  ['MASTER_KEY', HEX_KEY, { masterKey: Uint8Array.from(Buffer.from(HEX_KEY, 'hex')) }],
  ['MASTER_KEY', HEX_KEY.toUpperCase(), { masterKey: Uint8Array.from(Buffer.from(HEX_KEY, 'hex')) }],
  ['MASTER_KEY', BASE64_KEY, { masterKey: Uint8Array.from(Buffer.from(HEX_KEY, 'hex')) }],
  ['MASTER_KEY_FILE', '/etc/writ/key', { masterKeyFile: '/etc/writ/key' }],
  ['MASTER_KEY_KMS', 'vault:transit/keys/writ', { masterKeyKms: VAULT_KEY }, VAULT],
  ['MASTER_KEY_KMS', 'aws:alias/writ', { masterKeyKms: AWS_KEY }, { DATABASE_URL: POSTGRES }],
  ['MASTER_KEY_PREVIOUS_KMS', 'aws:alias/writ', { masterKeyPreviousKms: AWS_KEY }, { MASTER_KEY: HEX_KEY }],
  [
    'MASTER_KEY_PREVIOUS_KMS',
    'vault:transit/keys/writ',
    { masterKeyKms: AWS_KEY, masterKeyPreviousKms: VAULT_KEY },
    { ...VAULT, MASTER_KEY_KMS: 'aws:alias/writ' },
  ],
  ...['https://bao.example:8200', 'http://127.0.0.1:8200', 'http://localhost:8200', 'http://[::1]:8200'].map(
    (vaultAddr): [ConfigVariable, string, Partial<Config>, Environment] => [
      'VAULT_ADDR',
      vaultAddr,
      { vaultAddr },
      { MASTER_KEY_KMS: 'vault:transit/keys/writ', VAULT_TOKEN: 's.token' },
    ],
  ),
  [
    'VAULT_TOKEN_FILE',
    '/run/secrets/token',
    { vaultTokenFile: '/run/secrets/token' },
    { MASTER_KEY_KMS: 'vault:transit/keys/writ', VAULT_ADDR: VAULT.VAULT_ADDR },
  ],
  [
    'VAULT_TOKEN',
    'hvs.CAESI-token_1',
    { vaultToken: 'hvs.CAESI-token_1' },
    { ...VAULT, MASTER_KEY_KMS: 'vault:transit/keys/writ' },
  ],
  ['ISSUER_URL', 'https://writ.example/tenant', { issuerUrl: 'https://writ.example/tenant' }],
  ['ISSUER_URL', 'http://localhost:3000', { issuerUrl: 'http://localhost:3000' }],
  ['TOKEN_AUDIENCE', 'https://tools.example', { tokenAudience: 'https://tools.example' }],
  ['SIGNING_KEY_ROTATION_DAYS', '0', { signingKeyRotationDays: 0 }],
  ['SIGNING_KEY_ROTATION_DAYS', '3650', { signingKeyRotationDays: 3650 }],
  ['SIGNING_ALG', 'Ed25519', { signingAlg: 'Ed25519' }],
  ['BCRYPT_COST', '13', { bcryptCost: 13 }],
  ['RATE_LIMIT_MAX', '0', { rateLimitMax: 0 }],
  ['RATE_LIMIT_WINDOW_SECONDS', '86400', { rateLimitWindowSeconds: 86_400 }],
  ['AUTH_FAILURE_MAX', '0', { authFailureMax: 0 }],
  ['RETENTION_DAYS', '1', { retentionDays: 1 }],
  ['RETENTION_DAYS', '36500', { retentionDays: 36_500 }],
  ['SECRET_VERSIONS_KEPT', '0', { secretVersionsKept: 0 }],
  ['SECRET_VERSIONS_KEPT', '1000000', { secretVersionsKept: 1_000_000 }],
  ['SECRET_VERSIONS_KEPT_DAYS', '0', { secretVersionsKeptDays: 0 }],
  ['SECRET_VERSIONS_KEPT_DAYS', '36500', { secretVersionsKeptDays: 36_500 }],
  ['APPROVAL_TTL_SECONDS', '60', { approvalTtlSeconds: 60 }],
  ['APPROVAL_TTL_SECONDS', '604800', { approvalTtlSeconds: 604_800 }],
  ['CRITICAL_APPROVALS', '1', { criticalApprovals: 1 }],
  ['CRITICAL_APPROVALS', '10', { criticalApprovals: 10 }],
  ['CRITICAL_DELAY_SECONDS', '0', { criticalDelaySeconds: 0 }],
  ['CRITICAL_DELAY_SECONDS', '86400', { criticalDelaySeconds: 86_400 }],
  [
    'APPROVAL_WEBHOOK_URL',
    WEBHOOK_URL,
    { approvalWebhook: { url: WEBHOOK_URL, secret: WEBHOOK_BYTES } },
    { APPROVAL_WEBHOOK_SECRET: WEBHOOK_SECRET },
  ],
  ...[24, 64].map((length): [ConfigVariable, string, Partial<Config>, Environment] => [
    'APPROVAL_WEBHOOK_SECRET',
    `whsec_${Buffer.alloc(length, 1).toString('base64')}`,
    { approvalWebhook: { url: WEBHOOK_URL, secret: new Uint8Array(length).fill(1) } },
    { APPROVAL_WEBHOOK_URL: WEBHOOK_URL },
  ]),
  ['ACCEPT_UNSAFE_DURABILITY', '1', { acceptUnsafeDurability: true }],
  ['REQUEST_TIMEOUT_MS', '100', { requestTimeoutMs: 100 }],
  ['SHUTDOWN_TIMEOUT_MS', '0', { shutdownTimeoutMs: 0 }],
  ...LOG_LEVELS.map((level): [ConfigVariable, string, Partial<Config>] => [
    'LOG_LEVEL',
    level,
    { logLevel: level },
  ]),
];

for (const [name, value, expected, also] of ACCEPTED) {
  test(`${name}=${value} is taken as written`, () => {
    const config = accepted({ ...also, [name]: value });
    assert.deepEqual({ ...config, ...expected }, config);
  });
}

const NO_INTEGER = ['abc', '-1', '1.5', '010', '1e3', '0x10', ' 80', '80 ', '+80', '99999999999', 'NaN'];
const NO_MASTER_KEY = [
  HEX_KEY.slice(1),
  `${HEX_KEY}0`,
  `g${HEX_KEY.slice(1)}`,
  BASE64_KEY.slice(0, -1),
  `${BASE64_KEY.slice(0, -2)}B=`, // bits behind the last byte
  `_${BASE64_KEY.slice(1)}`,
  ` ${HEX_KEY}`,
  'correct horse battery staple',
];
const NO_KMS_KEY = [
  'vault',
  'vault:writ',
  'transit/keys/writ',
  'aws:',
  'gcp:key',
  'vault:transit/keys/a b',
  HEX_KEY,
];
const REFUSED: Readonly<Record<ConfigVariable, readonly string[]>> = {
  HOST: ['0.0.0.0', '::', '192.0.2.1', 'writ.example', '128.0.0.1', '::ffff:127.0.0.1'], // without ISSUER_URL
  PORT: [...NO_INTEGER, '65536'],
  KEY_EXPIRY_WARNING_DAYS: [...NO_INTEGER, '366'],
  METRICS_PORT: [...NO_INTEGER, '65536'],
  METRICS_HOST: [], // any text may name a host
  DATABASE_URL: ['writ', 'mysql://db/writ', 'http://db', 'postgres', '/var/run/postgresql', 'postgres//db'],
  DATABASE_POOL_MAX: [...NO_INTEGER, '0', '1', '1001'],
  DATA_DIR: [], // any text may name a folder
  MASTER_KEY: NO_MASTER_KEY,
  MASTER_KEY_FILE: [], // any text may name a file
  MASTER_KEY_PREVIOUS: NO_MASTER_KEY,
  MASTER_KEY_PREVIOUS_FILE: [],
  MASTER_KEY_KMS: NO_KMS_KEY,
  MASTER_KEY_PREVIOUS_KMS: NO_KMS_KEY,
  VAULT_ADDR: [
    ...[
      'openbao.example:8200',
      'https://',
      'https://bao.example/',
      'https://bao.example/v1',
      'ftp://bao.example',
    ],
    ...[
      'https://bao.example?a',
      'https://bao.example#a',
      'https://token@bao.example',
      ' https://bao.example',
    ],
    // What is sent there is the token, and the root key.
    ...['http://bao.example:8200', 'http://192.0.2.1', 'http://127.0.0.1.bao.example', 'http://[::2]:8200'],
  ],
  VAULT_TOKEN: ['two words', 's.größer', 's.a\n', 'a'.repeat(4097)],
  VAULT_TOKEN_FILE: [], // any text may name a file
  BOOTSTRAP_ADMIN_KEY: [
    'admin',
    `ak_live_${'0'.repeat(64)}`,
    `${generateApiKey().text} `,
    generateApiKey().text.toUpperCase(),
    generateApiKey().text.slice(0, -1),
    `ast_tok_${'A'.repeat(43)}`,
  ],
  ISSUER_URL: [
    'writ.example',
    'ftp://writ.example',
    'https://writ.example/',
    'https://writ.example?a=b',
    'https://writ.example?',
    'https://writ.example#f',
    'https://writ.example#',
    'https://user:pass-canary@writ.example',
    'https://user@writ.example',
    'http://@a',
    'http://a"b',
    'http://a\\b',
    'http://a/<>',
    ' https://writ.example',
    'https://writ.example/a b',
    `https://writ.example/${'a'.repeat(512)}`,
  ],
  TOKEN_AUDIENCE: ['two words', 'größer', 'a\n', 'a'.repeat(257)],
  SIGNING_KEY_ROTATION_DAYS: ['-1', '3651', '1.5', '90d'],
  SIGNING_ALG: ['eddsa', 'ES256', 'none', 'Ed25519 '],
  BCRYPT_COST: [...NO_INTEGER, '9', '14'],
  TRUST_PROXY: [
    'proxy.example',
    '10.0.0.0/33',
    '10.0.0.1/8',
    'true',
    '1',
    '*',
    '10.0.0.0/8;10.1.0.0/16',
    ',',
  ],
  RATE_LIMIT_MAX: [...NO_INTEGER, '1000000001'],
  RATE_LIMIT_WINDOW_SECONDS: [...NO_INTEGER, '0', '86401'],
  AUTH_FAILURE_MAX: [...NO_INTEGER, '1000001'],
  RETENTION_DAYS: [...NO_INTEGER, '0', '36501'],
  SECRET_VERSIONS_KEPT: [...NO_INTEGER, '1000001'],
  SECRET_VERSIONS_KEPT_DAYS: [...NO_INTEGER, '36501'],
  APPROVAL_TTL_SECONDS: [...NO_INTEGER, '0', '59', '604801'],
  CRITICAL_APPROVALS: [...NO_INTEGER, '0', '11'],
  CRITICAL_DELAY_SECONDS: [...NO_INTEGER, '86401'],
  APPROVAL_WEBHOOK_URL: [
    'hooks.example',
    '//hooks.example',
    'http:hooks.example',
    'ftp://hooks.example',
    'file:///etc/passwd',
    'https://user:pass-canary@hooks.example',
    'https://user@hooks.example',
    'https://hooks.example#f',
    'https://hooks.example#',
    ' https://hooks.example',
    'https://hooks.example/a b',
    `https://hooks.example/${'a'.repeat(2048)}`,
  ],
  APPROVAL_WEBHOOK_SECRET: [
    'correct horse battery staple',
    WEBHOOK_SECRET.slice('whsec_'.length),
    WEBHOOK_SECRET.toUpperCase(),
    WEBHOOK_SECRET.slice(0, -1),
    `${WEBHOOK_SECRET} `,
    `${WEBHOOK_SECRET}\n`,
    `whsec_${'_'.repeat(43)}=`,
    `${WEBHOOK_SECRET.slice(0, -2)}B=`, // bits behind the last byte
    'whsec_',
    `whsec_${Buffer.alloc(23).toString('base64')}`,
    `whsec_${Buffer.alloc(65).toString('base64')}`,
  ],
  LOG_LEVEL: ['verbose', 'INFO', ' info', 'constructor'],
  ACCEPT_UNSAFE_DURABILITY: ['0', 'true', 'yes', '1 '],
  REQUEST_TIMEOUT_MS: [...NO_INTEGER, '0', '99', '600001'],
  SHUTDOWN_TIMEOUT_MS: [...NO_INTEGER, '600001'],
};

/** What a variable is nothing without. */
const ALSO: Readonly<Record<string, Environment>> = {
  DATABASE_URL: { MASTER_KEY: HEX_KEY },
  APPROVAL_WEBHOOK_URL: { APPROVAL_WEBHOOK_SECRET: WEBHOOK_SECRET },
  VAULT_ADDR: { MASTER_KEY_KMS: 'vault:transit/keys/writ', VAULT_TOKEN: 's.token' },
  VAULT_TOKEN: { MASTER_KEY_KMS: 'vault:transit/keys/writ', VAULT_ADDR: 'https://bao.example' },
  APPROVAL_WEBHOOK_SECRET: { APPROVAL_WEBHOOK_URL: WEBHOOK_URL },
};

for (const [name, values] of Object.entries(REFUSED)) {
  for (const value of values) {
    test(`${name}=${JSON.stringify(value.slice(0, 60))} is refused`, () => {
      // Only the variable in question may be at fault.
      const also = ALSO[name] ?? {};
      const expected = name === 'HOST' ? 'ISSUER_URL' : name;
      assert.deepEqual(namesIn(faultsOf({ ...also, [name]: value })), [expected]);
    });
  }
}

test('each fault says what is allowed', () => {
  assert.deepEqual(faultsOf({ PORT: 'x', LOG_LEVEL: 'x', ACCEPT_UNSAFE_DURABILITY: 'x' }).toSorted(), [
    'ACCEPT_UNSAFE_DURABILITY must be 1 or unset',
    'LOG_LEVEL must be one of trace, debug, info, warn, error, fatal, silent',
    'PORT must be a whole number from 0 to 65535',
  ]);
});

test('all faults are told at once', () => {
  const wrong = Object.entries(REFUSED).flatMap(([name, [value]]) =>
    value === undefined || name === 'HOST' ? [] : [[name, value]],
  );
  const names = wrong.map(([name]) => name);
  assert.equal(names.length, CONFIG_VARIABLES.length - 6);
  assert.deepEqual(namesIn(faultsOf(Object.fromEntries(wrong))).toSorted(), names.toSorted());
});

test('MASTER_KEY and MASTER_KEY_FILE contradict each other', () => {
  assert.deepEqual(namesIn(faultsOf({ MASTER_KEY: HEX_KEY, MASTER_KEY_FILE: '/k' })), ['MASTER_KEY_FILE']);
});

test('a master key comes from one place, and so does the other one', () => {
  const kms = 'aws:alias/writ';
  const faults = (env: Environment) => namesIn(faultsOf(env));
  assert.deepEqual(faults({ MASTER_KEY: HEX_KEY, MASTER_KEY_KMS: kms }), ['MASTER_KEY_KMS']);
  assert.deepEqual(faults({ MASTER_KEY_FILE: '/k', MASTER_KEY_KMS: kms }), ['MASTER_KEY_KMS']);
  const previous = {
    MASTER_KEY_PREVIOUS: HEX_KEY,
    MASTER_KEY_PREVIOUS_FILE: '/k',
    MASTER_KEY_PREVIOUS_KMS: kms,
  };
  assert.deepEqual(faults(previous), ['MASTER_KEY_PREVIOUS_FILE', 'MASTER_KEY_PREVIOUS_KMS']);
  assert.deepEqual(faultsOf({ MASTER_KEY_KMS: kms, MASTER_KEY_PREVIOUS_KMS: kms }), [
    'MASTER_KEY_PREVIOUS_KMS must be another key than MASTER_KEY_KMS, or unset',
  ]);
});

test('what OpenBao or Vault needs is set with a key of it, and not without', () => {
  const MASTER_KEY_KMS = 'vault:transit/keys/writ';
  assert.deepEqual(namesIn(faultsOf({ MASTER_KEY_KMS })), ['VAULT_ADDR', 'VAULT_TOKEN']);
  assert.deepEqual(namesIn(faultsOf({ MASTER_KEY_KMS, VAULT_ADDR: VAULT.VAULT_ADDR })), ['VAULT_TOKEN']);
  assert.deepEqual(namesIn(faultsOf({ ...VAULT, MASTER_KEY_KMS, VAULT_TOKEN_FILE: '/t' })), [
    'VAULT_TOKEN_FILE',
  ]);
  for (const env of [{}, { MASTER_KEY: HEX_KEY }, { MASTER_KEY_KMS: 'aws:alias/writ' }]) {
    const unused = { ...VAULT, VAULT_TOKEN_FILE: '/t' };
    assert.deepEqual(namesIn(faultsOf({ ...env, ...unused })), Object.keys(unused));
  }
  // Whoever mistyped the key is told of that alone.
  assert.deepEqual(namesIn(faultsOf({ ...VAULT, MASTER_KEY_KMS: 'vault:transit/writ' })), ['MASTER_KEY_KMS']);
});

test('DATABASE_URL needs a master key, also when it is itself refused', () => {
  assert.deepEqual(namesIn(faultsOf({ DATABASE_URL: POSTGRES })), ['MASTER_KEY']);
  assert.deepEqual(namesIn(faultsOf({ DATABASE_URL: POSTGRES, MASTER_KEY: '', MASTER_KEY_FILE: '' })), [
    'MASTER_KEY',
  ]);
  assert.deepEqual(namesIn(faultsOf({ DATABASE_URL: 'x' })), ['DATABASE_URL', 'MASTER_KEY']);
});

test('a malformed MASTER_KEY is told once, not also as missing', () => {
  assert.deepEqual(namesIn(faultsOf({ DATABASE_URL: POSTGRES, MASTER_KEY_KMS: 'x' })), ['MASTER_KEY_KMS']);
  assert.deepEqual(namesIn(faultsOf({ DATABASE_URL: POSTGRES, MASTER_KEY: 'x' })), ['MASTER_KEY']);
});

test('a webhook needs both its URL and its secret', () => {
  assert.deepEqual(faultsOf({ APPROVAL_WEBHOOK_URL: WEBHOOK_URL }), [
    'APPROVAL_WEBHOOK_SECRET must be set when APPROVAL_WEBHOOK_URL is set: whsec_ and the base64 of 24 to 64 bytes',
  ]);
  for (const secret of [WEBHOOK_SECRET, 'malformed']) {
    const faults = faultsOf({ APPROVAL_WEBHOOK_SECRET: secret });
    assert.ok(
      faults.includes('APPROVAL_WEBHOOK_URL must be set when APPROVAL_WEBHOOK_SECRET is set'),
      secret,
    );
    assert.ok(!faults.join('\n').includes(secret), 'the secret is not repeated');
  }
  assert.deepEqual(namesIn(faultsOf({ APPROVAL_WEBHOOK_URL: 'x' })), [
    'APPROVAL_WEBHOOK_URL',
    'APPROVAL_WEBHOOK_SECRET',
  ]);
});

test('a HOST that others can reach needs ISSUER_URL', () => {
  assert.deepEqual(namesIn(faultsOf({ HOST: '0.0.0.0' })), ['ISSUER_URL']);
  assert.equal(accepted(REMOTE).issuerUrl, 'https://writ.example');
  for (const host of ['127.0.0.1', '127.1.2.3', 'localhost', '::1'])
    assert.equal(isLoopback(host), true, host);
  for (const host of ['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.evil.example', 'localhost.example', '']) {
    assert.equal(isLoopback(host), false, host);
  }
});

test('TRUST_PROXY takes several blocks, with or without spaces', () => {
  assert.equal(accepted({ TRUST_PROXY: '10.0.0.0/8, 192.0.2.1 ,2001:db8::/32' }).trustProxy.length, 3);
});

test('a good API key is taken for the first administrator', () => {
  const { text } = generateApiKey();
  assert.equal(accepted({ BOOTSTRAP_ADMIN_KEY: text }).bootstrapAdminKey, text);
});

test('the key of a file may end with a newline, and nothing else is cut off', () => {
  assert.equal(Buffer.from(parseMasterKey(`${HEX_KEY}\n`) ?? []).toString('hex'), HEX_KEY);
  assert.equal(Buffer.from(parseMasterKey(`${BASE64_KEY}\r\n`) ?? []).toString('hex'), HEX_KEY);
  for (const text of [`${HEX_KEY}\n\n`, `\n${HEX_KEY}`, `${HEX_KEY} \n`, '', '\n']) {
    assert.equal(parseMasterKey(text), undefined, JSON.stringify(text));
  }
});

test('a fault never repeats a secret', () => {
  const canary = 'c4n4ry';
  const secrets: Environment = {
    DATABASE_URL: `mysql://writ:${canary}@db.example/writ`,
    MASTER_KEY: canary,
    MASTER_KEY_FILE: `/${canary}`,
    BOOTSTRAP_ADMIN_KEY: `ak_live_${canary}`,
    ISSUER_URL: `https://writ:${canary}@writ.example`,
    APPROVAL_WEBHOOK_URL: `https://writ:${canary}@hooks.example`,
    APPROVAL_WEBHOOK_SECRET: `whsec_${canary}`,
    VAULT_ADDR: `https://${canary}@bao.example`,
    VAULT_TOKEN: `${canary} `,
  };
  const faults = faultsOf(secrets);
  assert.deepEqual(namesIn(faults).toSorted(), Object.keys(secrets).toSorted());
  assert.ok(!faults.join('\n').includes(canary));
  const everywhere = Object.fromEntries(
    CONFIG_VARIABLES.filter((name) => name !== 'HOST').map((name) => [name, `${canary} `]),
  );
  assert.ok(!faultsOf(everywhere).join('\n').includes(canary));
});
