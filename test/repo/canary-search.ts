/** Guarantees that a secret is found in a text in whatever form texts are commonly carried, and in every row of a database. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import pg from 'pg';

/** Characters that every encoding changes, so that no form can stand in for another. */
export const canary = (label: string): string => `${label}-${randomBytes(9).toString('hex')} "é/+%ü\\`;

/** Every form in which `secret` may travel. Base64 has three, by where in the carried text it begins. */
function formsOf(secret: string, bytes: Buffer = Buffer.from(secret)): Map<string, string> {
  const forms = new Map<string, string>();
  forms.set('raw', secret);
  forms.set('hex', bytes.toString('hex'));
  forms.set('HEX', bytes.toString('hex').toUpperCase());
  forms.set('URL', encodeURIComponent(secret));
  forms.set('form', encodeURIComponent(secret).replaceAll('%20', '+'));
  const json = JSON.stringify(secret).slice(1, -1);
  forms.set('JSON', json);
  forms.set('JSON in JSON', JSON.stringify(json).slice(1, -1));
  const ascii = json.replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  forms.set('ASCII JSON', ascii);
  forms.set('ASCII JSON in JSON', JSON.stringify(ascii).slice(1, -1));
  for (let before = 0; before < 3; before += 1) {
    const padded = Buffer.concat([Buffer.alloc(before), bytes]);
    // Only the characters that are made of the secret's bits alone.
    const whole = padded.length - (padded.length % 3);
    const start = Math.ceil((before * 8) / 6);
    forms.set(`base64, ${before}`, padded.subarray(0, whole).toString('base64').slice(start));
    forms.set(`base64url, ${before}`, padded.subarray(0, whole).toString('base64url').slice(start));
  }
  return forms;
}

/** Names of the forms in which `text` holds `secret`. */
export function findIn(text: string, secret: string): string[] {
  const forms = allForms.get(secret) ?? allFormsOf(secret);
  allForms.set(secret, forms);
  return forms.filter(([, form]) => text.includes(form)).map(([name]) => name);
}

/** They are asked for once for each text that is searched. */
const allForms = new Map<string, [name: string, form: string][]>();

function allFormsOf(secret: string): [name: string, form: string][] {
  const forms = [...formsOf(secret)];
  // The random part of a canary alone: what is left when it was cut, or escaped in a way not thought of here.
  const [, core] = /-([0-9a-f]{18}) /.exec(secret) ?? [];
  if (core !== undefined) forms.push(...formsOf(core));
  const bytes = bytesBehind(secret);
  if (bytes !== undefined) forms.push(...formsOf(secret, bytes));
  return forms;
}

/** What a secret that is itself an encoding stands for: a master key, a scoped token, a generated value. */
function bytesBehind(secret: string): Buffer | undefined {
  if (/^[0-9a-f]{64}$/.test(secret)) return Buffer.from(secret, 'hex');
  const [, encoded] = /^(?:ast_tok_)?([\w-]{43})$/.exec(secret) ?? [];
  return encoded === undefined ? undefined : Buffer.from(encoded, 'base64url');
}

/** Every row of every table, as text. */
export async function dump(url: string): Promise<Map<string, string>> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>(
      `select table_name as name from information_schema.tables
       where table_schema not in ('pg_catalog', 'information_schema') order by 1`,
    );
    assert.ok(rows.length >= 8);
    const tables = new Map<string, string>();
    for (const { name } of rows.filter((table) => !table.name.startsWith('audit_events_'))) {
      const found = await client.query<{ text: string }>(`select row::text as text from "${name}" as row`);
      tables.set(
        name,
        found.rows.map((row) => row.text.replaceAll('""', '"').replaceAll('\\\\', '\\')).join('\n'),
      );
    }
    return tables;
  } finally {
    await client.end();
  }
}
