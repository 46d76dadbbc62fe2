/**
 * `writ/verify`, bundled from the packed package, in a page of another origin, in a web worker, in a page without
 * WebCrypto and in a thread of Node, against keys that a running server publishes.
 */
import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { build } from 'esbuild';
import { printedKey } from '../support/issuing.ts';
import { startServer } from '../support/processes.ts';
import { chromiumSkip, dumpDocument } from './chromium.ts';
import { installPacked } from './installed-package.ts';
import type { PortableInput, PortableReport } from './portable-checks.ts';
import { STEPS } from './signed-tokens.ts';

const ISSUER = 'https://writ.example';
/** Resolved to this machine by the browser alone; no secure context, so its pages have no WebCrypto. */
const INSECURE_HOST = 'tools.test';

const CHECKS = `import { checkLibrary } from ${JSON.stringify(resolve('test/verify/portable-checks.ts'))};
import * as library from 'writ/verify';`;

/** The worker is asked for by the page; the load event waits for /held, and so does the dump. */
const PROGRAMS = {
  'page.js': `${CHECKS}
const show = (name, report) => {
  document.getElementById(name).textContent = JSON.stringify(report);
};
const failed = (error) => ({ failed: String(error) });
const inWorker = (input) =>
  new Promise((resolve) => {
    const worker = new Worker('/worker.js');
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => resolve(failed(event.message));
    worker.postMessage(input);
  });
const input = await (await fetch('/input')).json();
show('page', await checkLibrary(library, input).catch(failed));
show('worker', await inWorker(input));
await fetch('/release');`,
  'worker.js': `${CHECKS}
onmessage = async ({ data }) => {
  postMessage(await checkLibrary(library, data).catch((error) => ({ failed: String(error) })));
};`,
  'thread.mjs': `${CHECKS}
import { parentPort, workerData } from 'node:worker_threads';
parentPort.postMessage(await checkLibrary(library, workerData));`,
};
const PAGE = `<!doctype html><meta charset="utf-8"><title>writ/verify</title>
<p id="page"></p><p id="worker"></p><img src="/held" alt=""><script type="module" src="/page.js"></script>`;

async function bundle(folder: string, name: keyof typeof PROGRAMS): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: PROGRAMS[name], resolveDir: folder },
    bundle: true,
    format: name === 'worker.js' ? 'iife' : 'esm',
    platform: name === 'thread.mjs' ? 'node' : 'browser',
    write: false,
    logLevel: 'silent',
  });
  return outputFiles[0]?.text ?? '';
}

function reportIn(html: string, id: string): unknown {
  const [, text = ''] = new RegExp(`<p id="${id}">([^<]*)</p>`).exec(html) ?? [];
  return JSON.parse(
    text.replaceAll('&quot;', '"').replaceAll('&gt;', '>').replaceAll('&lt;', '<').replaceAll('&amp;', '&'),
  );
}

suite('writ/verify where it runs', () => {
  const closers: (() => unknown)[] = [];
  const closing = { after: (close: unknown) => closers.push(close as () => unknown) } as never;
  let folder: string;
  let input: PortableInput;
  let jti: string;

  before(async () => {
    folder = await installPacked(closing);
    const server = await startServer(closing, { PORT: '0', ISSUER_URL: ISSUER });
    const issued = await fetch(`${server.url}/token/issue`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-api-key': printedKey(server.stdout()) },
      body: JSON.stringify({ plan: { goal: 'verify', steps: STEPS }, expires_in: 3600 }),
    });
    assert.equal(issued.status, 200);
    const { token, token_id, step_proofs } = (await issued.json()) as {
      token: string;
      token_id: string;
      step_proofs: unknown[];
    };
    jti = token_id;
    input = {
      url: server.url,
      issuer: ISSUER,
      audience: 'writ',
      jwt: token,
      steps: STEPS,
      proofs: step_proofs,
    };
  });
  after(async () => {
    for (const close of closers.reverse()) await close();
  });

  const expected = (webCrypto: boolean, otherRoute: PortableReport['otherRoute']): PortableReport => ({
    webCrypto,
    jti,
    step: { stepIndex: 1, action: 'send', mcp: 'mail' },
    attacks: {
      'signature changed': 'TOKEN_INVALID',
      'another parameter': 'MERKLE_PROOF_INVALID',
      'another step': 'MERKLE_PROOF_INVALID',
      'a day later': 'TOKEN_EXPIRED',
    },
    otherRoute,
  });

  /** A server of tools on another port: another origin. */
  async function servePage(): Promise<number> {
    const files = new Map<string | undefined, readonly [type: string, text: string]>([
      ['/', ['text/html', PAGE]],
      ['/page.js', ['text/javascript', await bundle(folder, 'page.js')]],
      ['/worker.js', ['text/javascript', await bundle(folder, 'worker.js')]],
      ['/input', ['application/json', JSON.stringify(input)]],
      ['/release', ['text/plain', '']],
    ]);
    const held: ServerResponse[] = [];
    const server = createServer((request, response) => {
      if (request.url === '/held') {
        held.push(response);
        return;
      }
      const [type, text] = files.get(request.url) ?? ['text/plain', ''];
      response
        .writeHead(files.has(request.url) ? 200 : 404, { 'content-type': `${type}; charset=utf-8` })
        .end(text);
      if (request.url === '/release') for (const waiting of held) waiting.writeHead(404).end();
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    closers.push(() => {
      server.closeAllConnections();
      server.close();
    });
    return (server.address() as AddressInfo).port;
  }

  test('in a page of another origin and in its worker, by WebCrypto', { skip: chromiumSkip }, async () => {
    const html = await dumpDocument(`http://127.0.0.1:${await servePage()}/`);
    for (const id of ['page', 'worker']) assert.deepEqual(reportIn(html, id), expected(true, 'refused'), id);
  });

  test('in a page without WebCrypto and in its worker, by JavaScript', { skip: chromiumSkip }, async () => {
    const html = await dumpDocument(`http://${INSECURE_HOST}:${await servePage()}/`, [INSECURE_HOST]);
    for (const id of ['page', 'worker']) assert.deepEqual(reportIn(html, id), expected(false, 'refused'), id);
  });

  test('in a thread of Node', async () => {
    const text = await bundle(folder, 'thread.mjs');
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(text)}`), {
      workerData: input,
      env: {},
    });
    const report = await new Promise((resolved, rejected) => {
      worker.once('message', resolved);
      worker.once('error', rejected);
    });
    await worker.terminate();
    assert.deepEqual(report, expected(true, 'read'));
  });
});
