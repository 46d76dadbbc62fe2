/** What Fastify refuses by itself, in the words and codes of Writ. */

import type { FastifyError } from 'fastify';
import { WritError } from '../../errors.ts';
import { noSuchEndpoint } from './error-envelopes.ts';
import { MAX_BODY_BYTES } from './json-body.ts';

/** Fastify's own refusals, put into our codes; anything else stays what it is. */
export function fromFramework(error: unknown): unknown {
  if (error instanceof WritError) return error;
  switch ((error as Partial<FastifyError> | undefined)?.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new WritError('PAYLOAD_TOO_LARGE', `A body may have at most ${MAX_BODY_BYTES} bytes.`);
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new WritError('VALIDATION_ERROR', 'The body is not as long as Content-Length says.');
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new WritError('UNSUPPORTED_MEDIA_TYPE', 'Send the body as application/json in UTF-8.');
    case 'FST_ERR_BAD_URL':
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return noSuchEndpoint();
    default:
      return error;
  }
}
