/**
 * One request of a connection at a time. Node hands on whatever a client pipelines (RFC 9112 section 9.3.2) as it comes,
 * so that one connection could have a thousand requests worked on, and a thousand answers kept for it.
 */

import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** What waits behind the one that is worked on. Who sends more is cut off: nothing else stops Node from reading on. */
export const MAX_WAITING_REQUESTS = 64;

type Exchange = readonly [request: IncomingMessage, response: ServerResponse];

interface Turn {
  response: ServerResponse;
  readonly waiting: Exchange[];
}

const TURN = Symbol('turn');
type InTurn = Socket & { [TURN]?: Turn };

/** Puts itself before those who listen to the server's requests by now. */
export function takeRequestsInTurn(server: Server, onCutOff: (socket: Socket) => void): void {
  const handlers = server.listeners('request') as ((...exchange: Exchange) => void)[];
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    for (const handler of handlers) handler.call(server, request, response);
  };
  const next = (turn: Turn): void => {
    const exchange = turn.waiting.shift();
    if (exchange === undefined || exchange[0].socket.destroyed) return;
    turn.response = exchange[1];
    if (turn.waiting.length > 0) turn.response.once('close', () => next(turn));
    handle(exchange[0], exchange[1]);
  };
  server.removeAllListeners('request');
  server.on('request', (request, response) => {
    const socket = request.socket as InTurn;
    const turn = socket[TURN];
    if (turn === undefined) socket[TURN] = { response, waiting: [] };
    else if (turn.response.closed) turn.response = response;
    else {
      if (turn.waiting.length >= MAX_WAITING_REQUESTS) {
        onCutOff(socket);
        socket.destroy();
        return;
      }
      if (turn.waiting.push([request, response]) === 1) turn.response.once('close', () => next(turn));
      return;
    }
    handle(request, response);
  });
}
