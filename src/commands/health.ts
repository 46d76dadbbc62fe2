/** `writ health`: asks the server that the same environment configures whether it is ready; the image's health check. */

import { get } from 'node:http';
import { loadConfig } from '../config.ts';
import { StartError } from '../start/start-error.ts';
import { type DeclareCommand, JSON_FLAG, print } from './command.ts';

const TIMEOUT_MS = 3000;

export const declareHealth: DeclareCommand = (program, context) => {
  program
    .command('health')
    .description('ask the running server at HOST and PORT whether it is ready')
    .option(...JSON_FLAG)
    .action(async ({ json }: { json?: true }) => {
      const loaded = loadConfig(context.env, ['HOST', 'PORT']);
      if (!loaded.ok) throw new StartError(loaded.faults);
      const url = `http://${reachable(loaded.config.host)}:${loaded.config.port}/ready`;
      const status = await statusOf(url);
      const ready = status === 200;
      const people = ready ? `${url} is ready` : `${url} is not ready (${status ?? 'no answer'})`;
      print(context, { json, value: { ready, url }, people });
      if (!ready) context.exitWith(1);
    });
};

/** Undefined when there is no answer in time: also from a peer that accepts and says nothing. */
function statusOf(url: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: TIMEOUT_MS }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(undefined));
    request.on('close', () => resolve(undefined));
  });
}

/** A listener on every address is asked on the loopback one. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}
