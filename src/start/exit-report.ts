/** What a person reads when a process cannot start or a command fails, and the exit code that goes with it. */

import { WritError } from '../errors.ts';
import { describeError } from '../platform/log.ts';
import { FolderHeldError } from '../storage/engine/directory-lock.ts';
import { StartError } from './start-error.ts';

const LISTEN_ADVICE: Readonly<Record<string, string>> = {
  EADDRINUSE: 'Another process listens there: end it, or set PORT to a free port',
  EADDRNOTAVAIL: 'Set HOST to an address of this machine',
  EACCES: 'This user may not listen there: set PORT to 1024 or more',
};

/** Every fault on a line of its own; never a secret, never a driver's message. */
export function formatStartupError(error: unknown): string {
  if (error instanceof StartError) {
    return `Writ cannot start:\n${error.faults.map((fault) => `  - ${fault}`).join('\n')}\n`;
  }
  if (error instanceof FolderHeldError) return `${error.message}\n`;
  const { code, syscall, port, address } = error as {
    code?: string;
    syscall?: string;
    port?: number;
    address?: string;
  };
  if (syscall === 'listen') {
    const advice = LISTEN_ADVICE[code ?? ''] ?? 'Set HOST and PORT to an address of this machine';
    return `Writ cannot listen on ${address ?? '?'} port ${port ?? '?'} (${code ?? '?'}). ${advice}.\n`;
  }
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
