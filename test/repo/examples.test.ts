/** Every example does what it says against a running server, and fails aloud with a key that is not accepted. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, suite, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { generateApiKey } from '../../src/keys/api-key-hash.ts';
import { printedKey } from '../support/issuing.ts';
import { startServer } from '../support/processes.ts';

const TSX = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;

interface Example {
  readonly file: string;
  readonly command: string;
  readonly args: readonly string[];
  /** What it prints when all is well. */
  readonly says: RegExp;
}

const EXAMPLES: readonly Example[] = [
  {
    file: 'examples/curl/first-token.sh',
    command: 'sh',
    args: [],
    says: /"token_id":"[0-9a-f-]{36}"[\s\S]*\n\{"valid":true,"code":"VALID"/,
  },
  {
    file: 'examples/curl/secrets-with-a-key.sh',
    command: 'sh',
    args: [],
    says: inOrder(
      /^\{[^\n]*"version":\d+[^\n]*\}\n/,
      /"value":"sk-example"\}\n/,
      /\{"namespace":"examples\/curl","items":\[\{[^\n]*"key":"API_KEY"[^\n]*\}\n/,
      /\{[^\n]*"version":\d+[^\n]*\}\n/,
      /"value":"sk-rotated"\}\n$/,
    ),
  },
  {
    file: 'examples/curl/scoped-token.sh',
    command: 'sh',
    args: [],
    says: inOrder(
      /^token [0-9a-f-]{36}\n/,
      /\{[^\n]*"value":"sk-scoped"\}\n/,
      /\{[^\n]*"value":"sk-scoped"\}\n/,
      /the third use: 401 TOKEN_EXHAUSTED\n/,
      /\{[^\n]*"uses_remaining":0[^\n]*"status":"revoked"[^\n]*\}\n$/,
    ),
  },
  {
    file: 'examples/typescript/first-token.ts',
    command: process.execPath,
    args: ['--import', TSX],
    says: /^token [0-9a-f-]{36} over plan [0-9a-f]{64} until \d+\n$/,
  },
  {
    file: 'examples/python/first_token.py',
    command: 'python3',
    args: ['-B'],
    says: /^token [0-9a-f-]{36} over plan [0-9a-f]{64} with root [0-9a-f]{64}\n$/,
  },
];

/** One after the other. */
function inOrder(...parts: readonly RegExp[]): RegExp {
  return new RegExp(parts.map((part) => part.source).join('[\\s\\S]*'));
}

test('every example is run here', () => {
  const files = readdirSync('examples', { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(sh|ts|py|js|mjs)$/.test(entry.name))
    .map((entry) => `${entry.parentPath}/${entry.name}`);
  assert.deepEqual(files.sort(), EXAMPLES.map((example) => example.file).sort());
});

suite('examples', () => {
  const closers: (() => unknown)[] = [];
  let url: string;
  let key: string;
  let issuer: string;

  before(async () => {
    const closing = { after: (close: unknown) => closers.push(close as () => unknown) } as never;
    const server = await startServer(closing, { PORT: '0', ISSUER_URL: 'http://writ.example' });
    url = server.url;
    issuer = 'http://writ.example';
    key = printedKey(server.stdout());
  });
  after(async () => {
    for (const close of closers.reverse()) await close();
  });

  for (const { file, command, args, says } of EXAMPLES) {
    const needed = file.endsWith('.sh') ? 'curl' : command;
    const missing = spawnSync(needed, ['--version']).status !== 0 && `${needed} is not installed`;
    const run = async (apiKey: string) => {
      const child = spawn(command, [...args, file], {
        env: {
          PATH: process.env['PATH'],
          HOME: process.env['HOME'],
          WRIT_URL: url,
          WRIT_KEY: apiKey,
          WRIT_ISSUER: issuer,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let stdout = '';
      let stderr = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        stdout += text;
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        stderr += text;
      });
      const [code] = (await once(child, 'close')) as [number | null];
      return { code, stdout, stderr };
    };

    test(`${file} does what it says`, { skip: missing }, async () => {
      const { code, stdout, stderr } = await run(key);
      assert.equal(code, 0, stderr);
      assert.match(stdout, says);
    });

    test(`${file} fails with a key that is not accepted`, { skip: missing }, async () => {
      const { code, stdout } = await run(generateApiKey().text);
      assert.notEqual(code, 0);
      assert.doesNotMatch(stdout, says);
    });
  }
});
