/** Guarantees a headless Chromium that loads one page, prints its document when all of it has loaded, and is gone. */
import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** For what never comes: a busy machine may take minutes over a start. */
const TIMEOUT_MS = 300_000;
const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

const found = NAMES.find((name) => spawnSync(name, ['--version']).status === 0);
if (found === undefined && process.env['REQUIRE_CHROMIUM'] === '1') {
  throw new Error('REQUIRE_CHROMIUM=1, but there is no chromium');
}

/** As the `skip` of a test. */
export const chromiumSkip: string | false = found === undefined ? 'there is no chromium' : false;

/** The document as HTML. `hosts` are names that mean this machine. */
export async function dumpDocument(url: string, hosts: readonly string[] = []): Promise<string> {
  const profile = await mkdtemp(join(tmpdir(), 'writ-chromium-'));
  const flags = [
    '--headless',
    // Root, as in a container, has no sandbox; the page is this test's own.
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    `--user-data-dir=${profile}`,
    `--host-resolver-rules=${[...hosts.map((host) => `MAP ${host} 127.0.0.1`), 'MAP *:80 ~NOTFOUND', 'MAP *:443 ~NOTFOUND'].join(',')}`,
    '--dump-dom',
    url,
  ];
  try {
    return await new Promise<string>((resolve, reject) => {
      const options = { timeout: TIMEOUT_MS, killSignal: 'SIGKILL', maxBuffer: 1 << 24 } as const;
      execFile(found ?? 'chromium', flags, options, (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`chromium failed: ${error.message}\n${stderr}`));
      });
    });
  } finally {
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
