/** Guarantees the serving role as the image has it: docker/grants.sql itself. */
import { readFileSync } from 'node:fs';
import pg from 'pg';

/** What psql makes of the file, as far as the file asks for it: one variable, and `\gexec`. No password is asked for. */
export async function applyServingGrants(ownerUrl: string): Promise<void> {
  const text = readFileSync('docker/grants.sql', 'utf8')
    .replace(/^--.*$/gm, '')
    .replace(/^\\set .*$/gm, '')
    .replaceAll(":'app_password'", "'only the tests know'");
  const client = new pg.Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    for (const [, statement = '', end] of text.matchAll(/\s*([^;\\]+?)\s*(;|\\gexec)/g)) {
      const { rows } = await client.query<string[]>({ text: statement, rowMode: 'array' });
      if (end === '\\gexec') for (const made of rows.flat()) await client.query(made);
    }
  } finally {
    await client.end();
  }
}

/** `ownerUrl` with the serving role in it. */
export function servingUrl(ownerUrl: string): string {
  const url = new URL(ownerUrl);
  url.username = 'writ_app';
  url.password = 'only the tests know';
  return url.href;
}
