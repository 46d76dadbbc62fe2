/**
 * What RFC 9112 asks of the head of a request and Node's parser leaves to us, so that it is refused in the form of every
 * other refusal, and not by Node with an empty 400.
 */

import type { IncomingMessage } from 'node:http';
import { WritError } from '../../errors.ts';

/** RFC 9110 section 7.2 and RFC 3986 section 3.2.2: a name, an address or nothing; then a port, or none. */
const HOST = /^(?:\[[\w.~!$&'()*+,;=:-]+\]|(?:[\w.~!$&'()*+,;=-]|%[\dA-Fa-f]{2})*)(?::\d*)?$/;

/** Undefined for a head that may be read on. */
export function refuseHead(request: IncomingMessage): WritError | undefined {
  const { host, 'transfer-encoding': coding } = request.headers;
  const isLegacy = request.httpVersionMajor === 1 && request.httpVersionMinor === 0;
  // RFC 9112 section 6.1: chunks are not of HTTP/1.0, and who forwards it may not have read them.
  if (isLegacy && coding !== undefined) return fault('Transfer-Encoding', 'is not of HTTP/1.0');
  // RFC 9112 section 3.2.
  if (host === undefined) return isLegacy ? undefined : fault('Host', 'is required');
  if (!HOST.test(host)) return fault('Host', 'must be a name or an address, with or without a port');
  return isRepeated('host', request.rawHeaders) ? fault('Host', 'must be sent once') : undefined;
}

/** Of a header of which Node keeps the first. */
function isRepeated(name: string, rawHeaders: readonly string[]): boolean {
  let seen = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const sent = rawHeaders[index] ?? '';
    if (sent.length === name.length && sent.toLowerCase() === name) seen += 1;
  }
  return seen > 1;
}

function fault(header: string, what: string): WritError {
  return new WritError('VALIDATION_ERROR', `The ${header} header ${what}.`, { details: { header } });
}
