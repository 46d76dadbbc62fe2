/**
 * The answer where no request came about: bytes that Node's parser refuses, and requests that stall. Nobody knows what
 * would have been asked, so it says what any answer must that is not a grant (contract section 3).
 */

import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { WritError } from '../../errors.ts';
import { errorAnswer } from './error-envelopes.ts';

/** Every refusal there carries `allowed: false`. */
const STRICTEST_PATH = '/verify/action';

export function answerParserRefusal(newRequestId: () => string) {
  return (error: Error & { readonly code?: string }, socket: Socket): void => {
    // Whoever has gone hears nothing.
    if (error.code !== 'ECONNRESET' && socket.writable) socket.write(answerTo(error.code, newRequestId()));
    socket.destroy(error);
  };
}

function answerTo(code: string | undefined, requestId: string): string {
  const { status, message } = refusalOf(code);
  const refusal = new WritError('VALIDATION_ERROR', message);
  const body = JSON.stringify(errorAnswer(refusal, { path: STRICTEST_PATH, requestId }).body);
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

function refusalOf(code: string | undefined): { readonly status: number; readonly message: string } {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return { status: 408, message: 'The request did not arrive in time.' };
    case 'HPE_HEADER_OVERFLOW':
      return { status: 431, message: 'The headers of the request are too large.' };
    default:
      return { status: 400, message: 'This is not an HTTP request that can be read.' };
  }
}
