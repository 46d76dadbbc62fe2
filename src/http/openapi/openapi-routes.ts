/** `GET /v1/openapi.json` and `GET /docs`: what the server is, for programs and for people, without another host. */

import Type from 'typebox';
import type { Routes } from '../routing/route.ts';
import { openApiDocument } from './openapi-document.ts';
import { referencePage } from './reference-page.ts';

/** Call it after every other route: it describes what was declared. */
export function addDescriptionRoutes(
  routes: Routes,
  deps: { version: string; sha256Base64: (text: string) => string },
): void {
  const described = () => openApiDocument(routes.declared(), deps.version);
  // Made once, as bytes that all answers share: an answer that is not read keeps nothing of its own.
  let document: Buffer | undefined;
  let page: { html: Buffer; policy: string } | undefined;

  routes.public({
    method: 'GET',
    url: '/v1/openapi.json',
    tag: 'description',
    summary: 'This description, OpenAPI 3.1',
    credential: 'none',
    answers: { 200: Type.Unsafe<object>({ type: 'object', additionalProperties: true }) },
    handle: async () => {
      document ??= Buffer.from(JSON.stringify(described()));
      return { status: 200, body: document, headers: { 'content-type': 'application/json; charset=utf-8' } };
    },
  });
  routes.public({
    method: 'GET',
    url: '/docs',
    tag: 'description',
    summary: 'This description as a page',
    credential: 'none',
    mediaTypes: ['text/html'],
    answers: { 200: Type.String() },
    handle: async () => {
      page ??= pageOf(referencePage(described(), deps.sha256Base64));
      const headers = { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': page.policy };
      return { status: 200, body: page.html, headers };
    },
  });
}

const pageOf = ({ html, policy }: { html: string; policy: string }) => ({ html: Buffer.from(html), policy });
