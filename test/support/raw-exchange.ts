/** Bytes over a socket of their own, for what no HTTP client would send. */

import { once } from 'node:events';
import { connect } from 'node:net';

/** All that the server says until it closes; nothing more is sent but `afterAnswer`, once it has said something. */
export async function exchangeBytes(
  port: number,
  bytes: string | Uint8Array,
  afterAnswer?: string,
): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  // A server that closes with bytes unread resets the connection: what it said before counts.
  socket.on('error', () => undefined);
  socket.write(bytes);
  if (afterAnswer !== undefined) socket.once('data', () => socket.write(afterAnswer));
  await once(socket, 'close');
  return Buffer.concat(chunks);
}
