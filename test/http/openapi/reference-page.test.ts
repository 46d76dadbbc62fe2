/** `GET /docs`: the description as a page that needs nothing but itself, and that no text in it can break out of. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { referencePage } from '../../../src/http/openapi/reference-page.ts';
import { buildTestApp } from '../../support/app.ts';
import { documentedPath } from '../../support/documented-path.ts';
import { postgresSkip } from '../../support/postgres.ts';

const sha256Base64 = (text: string): string => createHash('sha256').update(text).digest('base64');

/** Tags as a parser sees them: the page escapes `<` everywhere else. */
interface Tag {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
}
function tagsOf(html: string): Tag[] {
  return [...html.matchAll(/<([a-zA-Z!][^\s/>]*)([^>]*)>/g)].map(([, name = '', rest = '']) => ({
    name: name.toLowerCase(),
    attributes: new Map(
      [...rest.matchAll(/([^\s=]+)(?:="([^"]*)")?/g)].map(([, attribute = '', value = '']) => [
        attribute.toLowerCase(),
        value,
      ]),
    ),
  }));
}

const PLAIN_TAGS = [
  ...[
    '!doctype',
    'html',
    'head',
    'meta',
    'title',
    'style',
    'body',
    'h1',
    'h2',
    'h3',
    'small',
    'p',
    'a',
    'code',
  ],
  ...['pre', 'details', 'summary', 'div', 'span', 'table', 'tr', 'td'],
];
const PLAIN_ATTRIBUTES = ['lang', 'charset', 'name', 'content', 'class', 'href', 'html'];

function assertSelfContained(html: string): void {
  const tags = tagsOf(html);
  assert.deepEqual(
    [...new Set(tags.map(({ name }) => name))].filter((name) => !PLAIN_TAGS.includes(name)),
    [],
  );
  const attributes = tags.flatMap(({ attributes: own }) => [...own.keys()]);
  assert.deepEqual(
    [...new Set(attributes)].filter((name) => !PLAIN_ATTRIBUTES.includes(name)),
    [],
  );
  const links = tags.flatMap(({ attributes: own }) => own.get('href') ?? []);
  assert.deepEqual(
    links.filter((link) => !/^\/(?!\/)/.test(link)),
    [],
    'only to this server',
  );
}

function styleOf(html: string): string {
  const styles = [...html.matchAll(/<style>(.*?)<\/style>/gs)].map((match) => match[1] ?? '');
  assert.equal(styles.length, 1);
  return styles[0] ?? '';
}

test('the page', { skip: postgresSkip }, async (t) => {
  const { call, routes } = await buildTestApp(t);
  const answer = await call({ method: 'GET', url: '/docs' });
  const { text: html, headers } = answer;
  const policy = headers['content-security-policy'] ?? '';

  await t.test('is HTML for anyone', () => {
    assert.equal(answer.status, 200);
    assert.equal(headers['content-type'], 'text/html; charset=utf-8');
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.match(html, /^<!doctype html>\n<html lang="en"><head><meta charset="utf-8">/);
  });

  await t.test('needs nothing from another host and runs no script', () => {
    assertSelfContained(html);
    assert.doesNotMatch(html, /https?:\/\//i);
    assert.doesNotMatch(styleOf(html), /@import|url\(|expression|javascript:/i);
  });

  await t.test('may load nothing but its one style sheet, which the policy names by its hash', () => {
    const directives = new Map(
      policy.split(';').map((part) => {
        const [name = '', ...values] = part.trim().split(/\s+/);
        return [name, values.join(' ')];
      }),
    );
    assert.deepEqual(Object.fromEntries(directives), {
      'default-src': "'none'",
      'style-src': `'sha256-${sha256Base64(styleOf(html))}'`,
      'base-uri': "'none'",
      'form-action': "'none'",
      'frame-ancestors': "'none'",
    });
    assert.doesNotMatch(policy, /unsafe|\*|https?:|data:/);
  });

  await t.test('shows every route with its method', () => {
    assert.ok(routes.length > 10);
    for (const route of routes) {
      const { method } = route;
      const path = documentedPath(route);
      assert.ok(
        html.includes(`<span class="method">${method}</span><code>${path}</code>`),
        `${method} ${path}`,
      );
    }
  });

  await t.test('shows the codes that an operation refuses with', () => {
    for (const code of ['IDEMPOTENCY_KEY_REUSED', 'POLICY_DENIED', 'OUTCOME_UNKNOWN', 'RATE_LIMITED'])
      assert.ok(html.includes(code), code);
  });

  await t.test('says of each operation with what it is asked', () => {
    const entryOf = (operation: string): string => {
      const [method, path] = operation.split(' ');
      const begin = html.indexOf(`<span class="method">${method}</span><code>${path}</code>`);
      assert.notEqual(begin, -1, operation);
      return html.slice(begin, html.indexOf('</details>', begin));
    };
    const sentences = [
      'For anyone.',
      'For anyone; an API key that is sent is checked.',
      'Takes a scoped token or an API key.',
      'Takes an API key.',
    ];
    for (const [operation, sentence] of [
      ['GET /.well-known/jwks.json', 'For anyone.'],
      ['GET /health', 'For anyone; an API key that is sent is checked.'],
      ['GET /v1/secrets/{path}', 'Takes a scoped token or an API key.'],
      ['POST /v1/agents', 'Takes an API key.'],
    ] as const) {
      const entry = entryOf(operation);
      const said = sentences.filter((one) => entry.includes(`${one}</p>`));
      assert.deepEqual(said, [sentence], operation);
    }
  });

  await t.test('is the same page each time', async () => {
    assert.equal((await call({ method: 'GET', url: '/docs' })).text, html);
  });
});

const HOSTILE = `</pre></style></title><script>alert(1)</script><img src=x onerror="alert(2)">'"&amp;<!--`;

/** A description in which every text is hostile. */
function hostileDocument(text: string): Record<string, unknown> {
  const schema = { type: 'string', description: text, enum: [text], [text]: text };
  const answer = { description: text, content: { 'application/json': { schema } } };
  return {
    info: { title: text, version: text, description: text },
    paths: {
      [`/${text}`]: {
        get: {
          tags: [text],
          summary: text,
          description: text,
          security: [{ apiKeyHeader: [] }],
          parameters: [{ name: text, in: text, required: false, schema }],
          requestBody: { content: { 'application/json': { schema } } },
          responses: { 200: answer, 400: answer },
        },
      },
    },
  };
}

test('a text of the description cannot break out of the page, wherever it stands', () => {
  const plain = referencePage(hostileDocument('harmless'), sha256Base64);
  const { html, policy } = referencePage(hostileDocument(HOSTILE), sha256Base64);
  assertSelfContained(html);
  assert.deepEqual(
    tagsOf(html).map(({ name, attributes }) => [name, ...attributes.keys()]),
    tagsOf(plain.html).map(({ name, attributes }) => [name, ...attributes.keys()]),
    'the same elements in the same order',
  );
  assert.doesNotMatch(html, /<script|<img|<!--/i);
  assert.equal(policy, plain.policy);
  assert.ok(html.includes('&lt;script&gt;alert(1)&lt;/script&gt;'), 'it is shown as it is');
  assert.ok(html.includes('&amp;amp;'), 'and not read as an entity');
});

test('every character that HTML gives a meaning is escaped, and only those', () => {
  const { html } = referencePage(hostileDocument(`<>&"' ü \u2028 plain`), sha256Base64);
  assert.ok(html.includes(`&lt;&gt;&amp;&quot;&#39; ü \u2028 plain`));
});

test('an operation without a body, parameters or a description is shown without them', () => {
  const document = {
    info: { title: 'T', version: '1', description: 'D' },
    paths: {
      '/x': {
        delete: {
          tags: ['t'],
          summary: 'S',
          security: [],
          parameters: [],
          responses: { 204: { description: 'Done' } },
        },
      },
    },
  };
  const { html } = referencePage(document, sha256Base64);
  assertSelfContained(html);
  assert.ok(html.includes('<span class="method">DELETE</span><code>/x</code> S'));
  assert.doesNotMatch(html, /undefined|null|<h3>Body|<h3>Parameters/);
  assert.ok(html.includes('For anyone.'));
});
