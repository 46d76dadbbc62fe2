/** Conditional requests (RFC 9110 section 13.1.2). */

import type { FastifyRequest } from 'fastify';

/** Whether `If-None-Match` names this strong tag, compared weakly as that header asks. */
export function matchesEntityTag({ headers }: FastifyRequest, entityTag: string): boolean {
  const named = (headers['if-none-match'] ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  return named.includes(entityTag) || named.includes('*');
}
