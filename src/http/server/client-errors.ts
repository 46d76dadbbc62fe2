/**
 * The answer where Node's parser gives up: bytes that are no request, and requests that are malformed after their head,
 * or late. What is known to have been asked is answered as its endpoint answers; of the rest nobody knows what would have
 * been asked, so it says what any refusal says outside `/v1` (contract section 3). No answer stands for another's.
 */

import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyReply } from 'fastify';
import { WritError } from '../../errors.ts';
import { errorAnswer, noSuchEndpoint } from './error-envelopes.ts';

export interface ParserRefusals {
  /** For `clientError`, whose connection is of no use afterwards. */
  answer(error: Error & { readonly code?: string }, socket: Socket): void;
  /** For `connect`: there is nothing here to be connected with. */
  answerConnect(socket: Socket): void;
}

/** The last request that began on a connection, known before anything else happens to it. */
export type LatestRequests = WeakMap<Socket, FastifyReply>;

export function createParserRefusals(
  newRequestId: () => string,
  latest: Pick<LatestRequests, 'get'>,
): ParserRefusals {
  const ending = new WeakSet<Socket>();
  const answer: ParserRefusals['answer'] = (error, socket) => {
    // Whoever has gone hears nothing.
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy(error);
    const refusal = refusalOf(error.code);
    const reply = latest.get(socket);
    const state = reply === undefined ? 'none' : stateOf(reply);
    if (reply !== undefined && state === 'being-answered') {
      // Its answer is not kept from it by what came after it, and nothing else is answered before it.
      if (!ending.has(socket)) reply.raw.once('close', () => socket.destroy(error));
      ending.add(socket);
      return;
    }
    if (state === 'none') {
      const { body } = errorAnswer(refusal, unknownRequest(newRequestId()));
      socket.write(refusedBytes(refusal.status, body));
    } else if (reply !== undefined && state === 'unanswered') socket.write(refusalTo(reply, refusal));
    socket.destroy(error);
  };
  return {
    answer,
    answerConnect: (socket) => {
      const refusal = errorAnswer(noSuchEndpoint(), unknownRequest(newRequestId()));
      if (socket.writable) socket.write(refusedBytes(refusal.status, refusal.body));
      socket.destroy();
    },
  };
}

/**
 * Of the last request of a connection. `none`: it is over, and what the parser gave up on is no part of it. `cut-off`: it
 * was answered before its body had come, or waits for its turn and will never be whole.
 */
function stateOf({ request, raw }: FastifyReply): 'none' | 'being-answered' | 'unanswered' | 'cut-off' {
  // The body of a GET is not read, so nothing that is wrong with it is a fault of the request.
  const isWhole = request.raw.complete || request.method === 'GET';
  if (raw.writableFinished) return request.raw.complete ? 'none' : 'cut-off';
  if (isWhole || raw.headersSent) return 'being-answered';
  return raw.socket === null ? 'cut-off' : 'unanswered';
}

function refusalTo({ request }: FastifyReply, error: WritError): string {
  const refused = errorAnswer(error, { path: request.state.path, requestId: request.id });
  return refusedBytes(refused.status, refused.body, request.id);
}

const unknownRequest = (requestId: string) => ({ path: '', requestId });

function refusedBytes(
  status: number,
  members: Readonly<Record<string, unknown>>,
  requestId = members['request_id'],
): string {
  const body = JSON.stringify(members);
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    `X-Request-Id: ${requestId}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n');
}

function refusalOf(code: string | undefined): WritError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new WritError('VALIDATION_ERROR', 'The request did not arrive in time.', { status: 408 });
    case 'HPE_HEADER_OVERFLOW':
      return new WritError('VALIDATION_ERROR', 'The headers of the request are too large.', { status: 431 });
    default:
      return new WritError('VALIDATION_ERROR', 'This is not an HTTP request that can be read.');
  }
}
