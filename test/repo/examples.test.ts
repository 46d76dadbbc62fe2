/** Every example does what it says against a running server, and fails aloud with a key that is not accepted. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { Webhook } from 'standardwebhooks';
import { generateApiKey } from '../../src/keys/credentials/api-key-hash.ts';
import { available } from '../clients/agentsecretstore-server.ts';
import { printedKey, until } from '../support/issuing.ts';
import { startNode, startServer } from '../support/processes.ts';

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
      /"value":"sk-example"[^\n]*\}\n/,
      /\{"namespace":"examples\/curl","items":\[\{[^\n]*"key":"API_KEY"[^\n]*\}\n/,
      /\{[^\n]*"version":\d+[^\n]*\}\n/,
      /"value":"sk-rotated"[^\n]*\}\n$/,
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

/** It waits for others instead of asking: it has a test of its own below. */
const RECEIVER = 'examples/webhook-receiver/receiver.mjs';

/** Run by `agent-loop.test.ts`. */
const AGENT_LOOP = ['examples/agent-loop/agent.ts', 'examples/agent-loop/tool-server.ts'];

test('every example is run', () => {
  const files = readdirSync('examples', { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(sh|ts|py|js|mjs)$/.test(entry.name))
    .map((entry) => `${entry.parentPath}/${entry.name}`);
  assert.deepEqual(
    files.sort(),
    [...EXAMPLES.map((example) => example.file), ...AGENT_LOOP, RECEIVER].sort(),
  );
});

suite('examples', () => {
  const closers: (() => unknown)[] = [];
  let url: string;
  let key: string;
  let issuer: string;

  before(async () => {
    const closing = { after: (close: unknown) => closers.push(close as () => unknown) } as never;
    const server = await startServer(closing, {
      ...(await available.env(closing)),
      PORT: '0',
      ISSUER_URL: 'http://writ.example',
    });
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

test(`${RECEIVER} prints each notice of a server once, and refuses what is not signed under the secret`, async (t) => {
  const secret = `whsec_${randomBytes(32).toString('base64')}`;
  const receiver = await startNode(t, [resolve(RECEIVER)], { PORT: '0', APPROVAL_WEBHOOK_SECRET: secret });
  const ADDRESS = /^listening on (http:\S+)\n/;
  await until('its address', () => ADDRESS.test(receiver.stdout()));
  const [, at = ''] = ADDRESS.exec(receiver.stdout()) ?? [];
  const server = await startServer(t, {
    ...(await available.env(t)),
    PORT: '0',
    APPROVAL_WEBHOOK_URL: `${at}/`,
    APPROVAL_WEBHOOK_SECRET: secret,
  });
  const ask = async <Body>(path: string, body: object): Promise<Body> => {
    const headers = { 'x-api-key': printedKey(server.stdout()), 'content-type': 'application/json' };
    const answer = await fetch(`${server.url}${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
    });
    assert.ok(answer.ok, `${path}: ${answer.status}`);
    return (await answer.json()) as Body;
  };
  const asked = { scopes: ['secrets:read:prod/*'], require_approval: true };
  const { approval_id: id } = await ask<{ approval_id: string }>('/v1/tokens', asked);
  const line = `approval.requested ${id}: admin asks for secrets:read:prod/* (standard)\n`;
  await until('the notice', () => receiver.stdout().endsWith(line));

  const signer = new Webhook(secret);
  const now = new Date();
  const body = JSON.stringify({
    type: 'approval.granted',
    data: { id: 'apr_forged', agent_name: 'x', scopes: ['y'] },
  });
  const post = async (signature: string, sent = body, timestamp = now, noticeId = 'a-notice') => {
    const headers = {
      'webhook-id': noticeId,
      'webhook-timestamp': String(Math.floor(timestamp.getTime() / 1000)),
      'webhook-signature': signature,
    };
    return (await fetch(at, { method: 'POST', headers, body: sent })).status;
  };
  const hourAgo = new Date(now.getTime() - 3_600_000);
  const other = new Webhook(`whsec_${randomBytes(32).toString('base64')}`);
  const good = signer.sign('a-notice', now, body);
  assert.equal(await post(other.sign('a-notice', now, body)), 401, 'another secret');
  assert.equal(await post(good, body.replace('forged', 'changed')), 401, 'another body');
  assert.equal(await post(good, body, now, 'another'), 401, 'another id');
  assert.equal(await post(signer.sign('a-notice', hourAgo, body), body, hourAgo), 401, 'an old one');
  assert.equal(await post('v1,'), 401, 'no signature');
  assert.equal((await fetch(at)).status, 401, 'no notice');
  await until('what it says of them', () => (receiver.stdout().match(/^refused: /gm) ?? []).length === 6);
  assert.ok(!receiver.stdout().includes('forged'), 'nothing of them is printed');
  assert.deepEqual([await post(good), await post(good)], [204, 204]);
  await until('the good one', () => receiver.stdout().includes('approval.granted apr_forged'));
  assert.equal(receiver.stdout().match(/apr_forged/g)?.length, 1, 'what comes twice is printed once');
});
