/**
 * Ed25519 signatures on a thread of their own. A signature is the longest step of issuing (61 of some 260 µs), and
 * nothing but the answer needs it, so the thread that serves requests goes on and the database writes meanwhile.
 * What arrives while the thread is at work forms the next task: a message costs what several signatures do.
 */

import type { KeyObject } from 'node:crypto';
import { Worker } from 'node:worker_threads';

export interface SigningThread {
  /** The signature (RFC 8032) over an ASCII message, in base64url. Rejects when the thread has died; the next one starts anew. */
  sign(key: KeyObject, message: string): Promise<string>;
  close(): Promise<void>;
}

interface Waiting {
  readonly key: KeyObject;
  readonly message: string;
  readonly resolve: (signature: string) => void;
  readonly reject: (error: unknown) => void;
}

/** All that the thread does; it keeps nothing. A text, so that it runs from the sources and from the build alike. */
const WORK = `
  const { sign } = require('node:crypto');
  const { parentPort } = require('node:worker_threads');
  parentPort.on('message', ({ key, messages }) => {
    parentPort.postMessage(
      messages.map((message) => sign(null, Buffer.from(message, 'latin1'), key).toString('base64url')),
    );
  });
`;

/** The thread starts with the first signature and holds no process open. */
export function createSigningThread(): SigningThread {
  let worker: Worker | undefined;
  let waiting: Waiting[] = [];
  let inFlight: readonly Waiting[] = [];

  const fail = (error: unknown): void => {
    worker = undefined;
    const lost = [...inFlight, ...waiting];
    inFlight = [];
    waiting = [];
    for (const { reject } of lost) reject(error);
  };

  const start = (): Worker => {
    // It needs nothing of what the process was started with, the master key in the environment least of all.
    const started = new Worker(WORK, { eval: true, env: {}, execArgv: [] });
    started.unref();
    started.on('message', (signatures: readonly string[]) => {
      // Of a thread that was given up: what is under way now is another's.
      if (worker !== started) return;
      const done = inFlight;
      inFlight = [];
      pump();
      for (const [index, { resolve, reject }] of done.entries()) {
        const signature = signatures[index];
        if (signature === undefined) reject(new Error('the signing thread gave too few signatures'));
        else resolve(signature);
      }
    });
    started.on('error', (error) => {
      if (worker === started) fail(error);
    });
    started.on('exit', () => {
      if (worker === started) fail(new Error('the signing thread has ended'));
    });
    return started;
  };

  const pump = (): void => {
    const [first] = waiting;
    if (first === undefined || inFlight.length > 0) return;
    // Two keys in one process are a rotation: the few of the other one are the next task.
    inFlight = waiting.filter(({ key }) => key === first.key);
    waiting = waiting.filter(({ key }) => key !== first.key);
    worker ??= start();
    worker.postMessage({ key: first.key, messages: inFlight.map(({ message }) => message) });
  };

  return {
    sign: (key, message) =>
      new Promise((resolve, reject) => {
        waiting.push({ key, message, resolve, reject });
        pump();
      }),
    close: async () => {
      const ending = worker;
      fail(new Error('the signing thread is closed'));
      await ending?.terminate();
    },
  };
}
