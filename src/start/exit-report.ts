/** What a person reads when a process cannot start or a command fails, and the exit code that goes with it. */

import { WritError } from '../errors.ts';
import { describeError } from '../platform/log.ts';
import { FolderHeldError } from '../storage/engine/directory-lock.ts';
import { StartError } from './start-error.ts';

/** The address of the metrics is that of two settings of its own. */
export class MetricsListenError extends Error {
  constructor(cause: unknown) {
    super('the metrics cannot be served', { cause });
  }
}

/** `settings`: the start of the names of the two that say where. */
function describeListenFault(error: unknown, settings: '' | 'METRICS_'): string | undefined {
  const {
    code = '?',
    syscall,
    port = '?',
    address = '?',
  } = error as NodeJS.ErrnoException & {
    readonly port?: number;
    readonly address?: string;
  };
  if (syscall !== 'listen') return undefined;
  const advice: Readonly<Record<string, string>> = {
    EADDRINUSE: `Another process listens there: end it, or set ${settings}PORT to a free port`,
    EADDRNOTAVAIL: `Set ${settings}HOST to an address of this machine`,
    EACCES: `This user may not listen there: set ${settings}PORT to 1024 or more`,
  };
  const fallback = `Set ${settings}HOST and ${settings}PORT to an address of this machine`;
  return `Writ cannot listen on ${address} port ${port} (${code}). ${advice[code] ?? fallback}.\n`;
}

/** Every fault on a line of its own; never a secret, never a driver's message. */
export function formatStartupError(error: unknown): string {
  if (error instanceof StartError) {
    return `Writ cannot start:\n${error.faults.map((fault) => `  - ${fault}`).join('\n')}\n`;
  }
  if (error instanceof FolderHeldError) return `${error.message}\n`;
  const listenFault =
    error instanceof MetricsListenError
      ? describeListenFault(error.cause, 'METRICS_')
      : describeListenFault(error, '');
  if (listenFault !== undefined) return listenFault;
  if (error instanceof WritError) {
    const { publicMessage, sqlState, detail = sqlState && `SQLSTATE ${sqlState}` } = error;
    return `${publicMessage}${detail === undefined ? '' : ` (${detail})`}\n`;
  }
  return `Writ failed: ${JSON.stringify(describeError(error))}\n`;
}

/** 2: mend something first. 1: everything else. */
export function exitCodeFor(error: unknown): number {
  return error instanceof StartError || error instanceof FolderHeldError ? 2 : 1;
}
