/**
 * A database that falls silent: it was stopped, or a network drops what is sent, and nothing says so. No connection breaks,
 * no time-out of the server ends, and every request would wait for as long as a query may. So where something is asked
 * and nothing is heard for a second, a new connection is tried; where that hears nothing either, whatever waits is given
 * up at once, and nothing is asked before the database is heard again. It looks from beside: a query does nothing for it.
 */

import { Socket } from 'node:net';
import pg from 'pg';

/** Nothing is heard for so long: a statement may take longer, but rarely while all others do as well. */
const SUSPECTED_AFTER_MS = 1000;
/** For a new connection, and again for its first answer. */
const PROBE_MS = 500;
const LOOK_EVERY_MS = 250;

export interface Silence {
  readonly isSilent: boolean;
  close(): void;
}

export function watchSilence(options: {
  /** Whether something is asked now. */
  readonly isAsked: () => boolean;
  /** Grows whenever something is heard. */
  readonly heardBytes: () => number;
  /** Resolves when the database says something to who is new, whatever it is. */
  readonly probe: () => Promise<void>;
  /** Ends whatever waits. */
  readonly giveUp: () => void;
}): Silence {
  // A member and no function: every query reads it.
  const silence = { isSilent: false, close: () => clearInterval(timer) };
  let isProbing = false;
  let bytes = 0;
  let heardMs = performance.now();
  let lookedMs = heardMs;

  const hear = (): void => {
    heardMs = performance.now();
    silence.isSilent = false;
  };
  /** Whether nothing was heard since the last look by whoever asks. */
  const isStill = (): boolean => {
    const before = bytes;
    bytes = options.heardBytes();
    // Connections that ended take their bytes with them.
    if (bytes !== before || (!silence.isSilent && !options.isAsked())) hear();
    return silence.isSilent || performance.now() - heardMs > SUSPECTED_AFTER_MS;
  };
  const look = async (): Promise<void> => {
    const nowMs = performance.now();
    // Behind time by itself, so that what was said may still wait to be read.
    const isLate = nowMs - lookedMs > 2 * LOOK_EVERY_MS;
    lookedMs = nowMs;
    if (isProbing || !isStill() || isLate) return;
    isProbing = true;
    try {
      await options.probe();
      hear();
    } catch {
      if (isStill()) {
        silence.isSilent = true;
        options.giveUp();
      }
    } finally {
      isProbing = false;
    }
  };
  const timer = setInterval(() => void look(), LOOK_EVERY_MS);
  timer.unref();
  return silence;
}

/** The sockets of a pool, which `pg` has made by `open`. */
export function createSockets() {
  const sockets = new Set<Socket>();
  return {
    open: (): Socket => {
      const socket = new Socket();
      sockets.add(socket);
      return socket.once('close', () => sockets.delete(socket));
    },
    bytesRead: (): number => {
      let sum = 0;
      for (const { bytesRead } of sockets) sum += bytesRead;
      return sum;
    },
    destroyAll: (): void => {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Resolves when a new connection says something, be it that the server refuses it. */
export async function probePostgres(databaseUrl: string): Promise<void> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: PROBE_MS,
    query_timeout: PROBE_MS,
    application_name: 'writ probe',
  });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('select 1');
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) throw error;
  } finally {
    void client.end().catch(() => {});
  }
}
