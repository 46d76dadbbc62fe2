/**
 * The description as one HTML page: no script, nothing from another host, one style sheet that the
 * Content-Security-Policy admits by its hash.
 */

type Json = Record<string, unknown>;

const STYLE = `
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 small { font-weight: normal; opacity: .7; font-size: 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid; }
details { margin: .5rem 0; border: 1px solid #8886; border-radius: .4rem; }
summary { padding: .5rem .75rem; cursor: pointer; }
details > div { padding: 0 .75rem .75rem; }
code, pre { font: 14px/1.4 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .75rem; background: #8882; border-radius: .3rem; }
.method { display: inline-block; min-width: 4.5rem; font-weight: bold; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .25rem .5rem; border-bottom: 1px solid #8884; }
`;

export function referencePage(
  document: Json,
  sha256Base64: (text: string) => string,
): { html: string; policy: string } {
  const info = document['info'] as { title: string; version: string; description: string };
  const operations = operationsOf(document);
  const tags = [...new Set(operations.map((operation) => operation.tag))];
  const html = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(info.title)}: reference</title><style>${STYLE}</style></head><body>
<h1>${escapeHtml(info.title)} <small>${escapeHtml(info.version)}</small></h1>
<p>${escapeHtml(info.description)} The same for programs: <a href="/v1/openapi.json">/v1/openapi.json</a>.</p>
<p>Send an API key as <code>X-API-Key: &lt;key&gt;</code> or <code>Authorization: Bearer &lt;key&gt;</code>, and a scoped token as <code>Authorization: Bearer &lt;token&gt;</code>.</p>
${tags.map((tag) => section(tag, operations)).join('\n')}
</body></html>
`;
  const style = `'sha256-${sha256Base64(STYLE)}'`;
  return {
    html,
    policy: `default-src 'none'; style-src ${style}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  };
}

interface Operation {
  readonly tag: string;
  readonly method: string;
  readonly path: string;
  readonly definition: Json;
}

function operationsOf(document: Json): Operation[] {
  return Object.entries(document['paths'] as Record<string, Record<string, Json>>).flatMap(
    ([path, methods]) =>
      Object.entries(methods).map(([method, definition]) => ({
        tag: (definition['tags'] as string[])[0] ?? '',
        method: method.toUpperCase(),
        path,
        definition,
      })),
  );
}

function section(tag: string, operations: readonly Operation[]): string {
  const own = operations.filter((operation) => operation.tag === tag);
  return `<h2>${escapeHtml(tag)}</h2>\n${own.map(entry).join('\n')}`;
}

function entry({ method, path, definition }: Operation): string {
  const body = definition['requestBody'] as { content: Record<string, { schema: unknown }> } | undefined;
  const schema = body?.content['application/json']?.schema;
  return `<details><summary><span class="method">${method}</span><code>${escapeHtml(path)}</code> ${escapeHtml(String(definition['summary']))}</summary><div>
<p>${escapeHtml(String(definition['description'] ?? ''))} ${credentialIn(definition['security'] as readonly Json[])}</p>
${parameters(definition['parameters'] as Json[])}
${schema === undefined ? '' : `<h3>Body</h3>${code(schema)}`}
<h3>Answers</h3>${answers(definition['responses'] as Record<string, Json>)}
</div></details>`;
}

function credentialIn(security: readonly Json[]): string {
  const takes = (scheme: string): boolean => security.some((one) => scheme in one);
  if (takes('scopedToken')) return 'Takes a scoped token or an API key.';
  if (!takes('apiKeyHeader')) return 'For anyone.';
  return security.some((one) => Object.keys(one).length === 0)
    ? 'For anyone; an API key that is sent is checked.'
    : 'Takes an API key.';
}

function parameters(list: readonly Json[]): string {
  if (list.length === 0) return '';
  const rows = list.map(({ name, in: place, schema }) => {
    const description = (schema as Json)['description'] ?? '';
    return `<tr><td><code>${escapeHtml(String(name))}</code></td><td>${escapeHtml(String(place))}</td><td>${escapeHtml(String(description))}</td></tr>`;
  });
  return `<h3>Parameters</h3><table>${rows.join('')}</table>`;
}

function answers(responses: Record<string, Json>): string {
  const rows = Object.entries(responses).map(([status, response]) => {
    const content = Object.values((response['content'] ?? {}) as Record<string, { schema: unknown }>)[0];
    const shape = Number(status) < 300 && content !== undefined ? code(content.schema) : '';
    return `<tr><td><code>${status}</code></td><td>${escapeHtml(String(response['description']))}${shape}</td></tr>`;
  });
  return `<table>${rows.join('')}</table>`;
}

const code = (value: unknown): string => `<pre>${escapeHtml(JSON.stringify(value, null, 2))}</pre>`;

function escapeHtml(text: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? '');
}
