/** How a registered route stands in the description: a parameter in braces, and a wildcard as the path that it is for. */

import type { RegisteredRoute } from './app.ts';

const WILDCARDS: Readonly<Record<string, string>> = {
  'GET /v1/secrets/*': '/v1/secrets/{path}',
  'PUT /v1/secrets/*': '/v1/secrets/{path}',
  'DELETE /v1/secrets/*': '/v1/secrets/{path}',
  'POST /v1/secrets/*': '/v1/secrets/{path}/rotate',
};

export function documentedPath({ method, url }: RegisteredRoute): string {
  return WILDCARDS[`${method} ${url}`] ?? url.replace(/:(\w+)/g, '{$1}');
}
