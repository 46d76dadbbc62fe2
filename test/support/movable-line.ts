/** Guarantees an address that leads to one server, and from a moment on to another or to none, as a name, a proxy or a network does. */
import { connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

export interface MovableLine {
  readonly port: number;
  /** Ends every connection; new ones lead to `port`. */
  lead(port: number): void;
  /** Passes no byte on while every connection stays open, until it leads somewhere again. */
  silence(): void;
}

export async function movableLine(t: Pick<TestContext, 'after'>, to: number): Promise<MovableLine> {
  const sockets = new Set<Socket>();
  let target = to;
  let isSilent = false;
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1');
    for (const [from, into] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('data', (bytes) => {
        if (!isSilent) into.write(bytes);
      });
      from.on('error', () => into.destroy());
      from.on('close', () => {
        sockets.delete(from);
        into.destroy();
      });
    }
  });
  const drop = () => {
    for (const socket of sockets) socket.destroy();
  };
  t.after(() => {
    drop();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the line has no TCP address');
  return {
    port: address.port,
    lead: (port) => {
      target = port;
      isSilent = false;
      drop();
    },
    silence: () => {
      isSilent = true;
    },
  };
}
