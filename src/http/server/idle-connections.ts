/** The end of a server waits for requests in flight, and for no connection that merely stays open. */

import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';

/**
 * Without it a client that keeps its connection would hold up the end until the keep-alive time-out. One that has
 * never sent a byte (a probe, a connection made ahead) is not idle in Node's eyes, and is closed by hand.
 */
export function closeIdleConnectionsBeforeTheEnd(app: FastifyInstance): void {
  const open = new Set<Socket>();
  app.server.on('connection', (socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  app.addHook('preClose', async () => {
    const timer = setInterval(() => {
      app.server.closeIdleConnections();
      for (const socket of open) if (socket.bytesRead === 0) socket.destroy();
    }, 50);
    app.server.once('close', () => clearInterval(timer));
  });
}
