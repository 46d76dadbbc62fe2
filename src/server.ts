/**
 * Process entry: configuration, database, listener; drain on SIGTERM and SIGINT, at once on a second one.
 * Exit codes: 0 after a clean stop, 2 when something has to be mended before it can start, 1 for anything else.
 */

import { existsSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { FastifyInstance } from 'fastify';
import { buildApp } from './app/build-app.ts';
import { buildMetricsListener } from './app/metrics-listener.ts';
import { loadConfig } from './config.ts';
import { formatTimestamp } from './domain/formats/rfc3339.ts';
import { WritError } from './errors.ts';
import { newId } from './platform/ids.ts';
import { createLog, type Log } from './platform/log.ts';
import { createMetrics } from './platform/metrics.ts';
import { exitCodeFor, formatStartupError, MetricsListenError } from './start/exit-report.ts';
import { provision } from './start/provision.ts';
import { StartError } from './start/start-error.ts';
import { awaitStopSignal, type StopSignal } from './start/stop-signal.ts';
import { openDatabase } from './storage/engine/open-database.ts';

/** Runs until a signal, which may come before it listens. Rejects when it cannot start. */
export async function serve(env: NodeJS.ProcessEnv, stdout: NodeJS.WritableStream): Promise<void> {
  const loaded = loadConfig(env);
  if (!loaded.ok) throw new StartError(loaded.faults);
  const { config } = loaded;
  const signal = awaitStopSignal(config.shutdownTimeoutMs);
  const log = createLog({ level: config.logLevel, formatTimestamp });
  const database = await openDatabase({
    databaseUrl: config.databaseUrl,
    dataDir: config.dataDir,
    poolMax: config.databasePoolMax,
    acceptUnsafeDurability: config.acceptUnsafeDurability,
    onIdleError: (err) => log.warn({ err }, 'an idle connection to the database broke'),
    onOtherHistory: () =>
      log.warn('another history of the database: it was restarted, restored, or another server took over'),
  });
  try {
    const provisioned = await retryUntilReady(() => provision({ database, config, newId }), signal, log);
    if (provisioned !== undefined) {
      // Printed at once: the key is stored nowhere else, and the next step may fail.
      if (provisioned.newAdminKey !== undefined) printAdminKey(stdout, provisioned.newAdminKey);
      const { unfitNames } = provisioned;
      if (unfitNames.length > 0) {
        log.warn(
          { principals: unfitNames },
          'names of these principals do not fit, or look alike; they are kept',
        );
      }
      const metrics = createMetrics();
      const app = await buildApp({ config, database, provisioned, log, metrics });
      const scraped = await listenForScrapes({ config, log, metrics }, stdout);
      if (!signal.received()) {
        const address = await app.listen({ host: config.host, port: config.port });
        announceAddress(stdout, address, provisioned.newAdminKey);
        await signal.arrival;
      }
      await app.close();
      await scraped?.close();
    }
    await database.close();
    log.flush();
  } catch (error) {
    await database.close().catch(() => {});
    throw error;
  }
}

/** Undefined where no port is set. */
async function listenForScrapes(
  deps: Parameters<typeof buildMetricsListener>[0],
  stdout: NodeJS.WritableStream,
): Promise<FastifyInstance | undefined> {
  const { metricsHost: host, metricsPort: port } = deps.config;
  if (port === undefined) return undefined;
  const listener = await buildMetricsListener(deps);
  const address = await listener.listen({ host, port }).catch((cause: unknown) => {
    throw new MetricsListenError(cause);
  });
  stdout.write(`Metrics are served on ${address}/metrics\n`);
  return listener;
}

const PATIENCE_MS = 30_000;

/**
 * Waits for a database that starts at the same time or is busy, but not for one that refuses. Undefined if a signal
 * came first.
 */
async function retryUntilReady<T>(
  work: () => Promise<T>,
  signal: StopSignal,
  log: Log,
): Promise<T | undefined> {
  for (const deadline = performance.now() + PATIENCE_MS; ; ) {
    if (signal.received()) return undefined;
    try {
      return await work();
    } catch (err) {
      // Class 28: no such user or a wrong password; 3D: no such database.
      const passing =
        err instanceof WritError && err.code === 'UNAVAILABLE' && !/^(28|3D)/.test(err.sqlState ?? '');
      if (!passing || performance.now() > deadline) throw err;
      log.warn({ err }, 'the database does not answer yet; the start is tried again');
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

/** To standard output only, never through the log. */
function printAdminKey(stdout: NodeJS.WritableStream, newAdminKey: string): void {
  const lines = [
    'This is the first start. The administrator’s API key, shown this once:',
    '',
    `  ${newAdminKey}`,
  ];
  stdout.write(`${lines.join('\n')}\n\n`);
}

function announceAddress(
  stdout: NodeJS.WritableStream,
  address: string,
  newAdminKey: string | undefined,
): void {
  const lines = [`Writ is listening on ${address}`];
  if (newAdminKey !== undefined) {
    lines.push(
      '',
      'A first intent token:',
      '',
      `  curl -s ${address}/token/issue -H 'X-API-Key: ${newAdminKey}' -H 'Content-Type: application/json' \\`,
      `    -d '{"plan":{"goal":"look","steps":[{"action":"get_weather","mcp":"weather-mcp"}]}}'`,
      '',
    );
  }
  stdout.write(`${lines.join('\n')}\n`);
}

/** Also when started through a link: Node.js resolves the link for the module, but not in the arguments. */
function isStartedAsProgram(): boolean {
  const [, program] = process.argv;
  if (program === undefined || !existsSync(program)) return false;
  return realpathSync(program) === fileURLToPath(import.meta.url);
}

if (isStartedAsProgram()) {
  serve(process.env, process.stdout).then(
    () => process.exit(0),
    (error: unknown) => {
      process.stderr.write(formatStartupError(error));
      process.exit(exitCodeFor(error));
    },
  );
}
