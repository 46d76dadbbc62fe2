/**
 * Answers that nobody reads. What the system does not take at once waits in memory until the client reads, so it is
 * bounded: for each connection by a time, and in sum by a number of bytes, beyond which the worst reader goes first.
 */

import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export interface UnreadLimits {
  /** Of all connections together. */
  readonly maxBytes: number;
  /** A connection that takes nothing for so long is closed. */
  readonly silenceMs: number;
  /** One that takes something has so much longer for what is unread. */
  readonly minBytesPerSecond: number;
}

export const UNREAD_LIMITS: UnreadLimits = {
  maxBytes: 64 * 1024 * 1024,
  silenceMs: 15_000,
  minBytesPerSecond: 4096,
};

/** Of a connection of which something is unread. */
interface Reader {
  /** Bytes that the system has taken of all that was ever written. */
  taken: number;
  /** When it took something last, as far as it tells: of one long text it tells nothing before the end. */
  sinceMs: number;
  unread: number;
}

export interface UnreadAnswers {
  /** Of `http.createServer`: what it writes is watched. */
  readonly Response: typeof ServerResponse;
  /** To be called about once a second. */
  closeSlowReaders(): void;
  /** Unread now, as far as it is known. */
  bytes(): number;
}

export function watchUnreadAnswers(options: {
  readonly limits: UnreadLimits;
  readonly monotonicMs: () => number;
  readonly onCutOff: () => void;
}): UnreadAnswers {
  const { limits, monotonicMs } = options;
  const readers = new Map<Socket, Reader>();
  let bytes = 0;

  const look = (socket: Socket, reader: Reader): void => {
    const unread = socket.destroyed ? 0 : socket.writableLength;
    const taken = socket.bytesWritten - unread;
    if (taken > reader.taken) {
      reader.taken = taken;
      reader.sinceMs = monotonicMs();
    }
    bytes += unread - reader.unread;
    reader.unread = unread;
    if (unread === 0) readers.delete(socket);
  };
  const cutOff = (socket: Socket, reader: Reader): void => {
    options.onCutOff();
    socket.destroy();
    look(socket, reader);
  };
  const makeRoom = (): void => {
    for (const [socket, reader] of readers) look(socket, reader);
    const worstFirst = [...readers].sort(([, one], [, other]) => one.sinceMs - other.sinceMs);
    for (const [socket, reader] of worstFirst) {
      // To the half, or the next byte would have all of them sorted again.
      if (bytes <= limits.maxBytes / 2) return;
      cutOff(socket, reader);
    }
  };
  const wrote = (socket: Socket | null): void => {
    if (socket === null || socket.writableLength === 0) return;
    let reader = readers.get(socket);
    if (reader === undefined) {
      reader = { taken: 0, sinceMs: monotonicMs(), unread: 0 };
      readers.set(socket, reader);
      // Node's own time-out: it begins anew whenever the system takes a byte, and ends with the connection.
      socket.setTimeout(limits.silenceMs);
    }
    look(socket, reader);
    if (bytes > limits.maxBytes) makeRoom();
  };

  class Response extends ServerResponse<IncomingMessage> {
    override write(...args: [never]): boolean {
      const isTaken = super.write(...args);
      wrote(this.socket);
      return isTaken;
    }

    override end(...args: [never]): this {
      const { socket } = this;
      super.end(...args);
      wrote(socket);
      return this;
    }
  }

  return {
    Response: Response as unknown as typeof ServerResponse,
    closeSlowReaders: () => {
      const nowMs = monotonicMs();
      for (const [socket, reader] of readers) {
        look(socket, reader);
        const allowedMs = limits.silenceMs + (reader.unread * 1000) / limits.minBytesPerSecond;
        if (reader.unread > 0 && nowMs - reader.sinceMs > allowedMs) cutOff(socket, reader);
      }
    },
    bytes: () => bytes,
  };
}
