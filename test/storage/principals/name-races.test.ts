/** Names that look alike, raced: two server processes on one database, and two administrators. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import { generateApiKey } from '../../../src/keys/credentials/api-key-hash.ts';
import { RACE_ROUNDS } from '../../support/effort.ts';
import { type Client, createClient, errorCodeOf, insist } from '../../support/issuing.ts';
import { createTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { startServer } from '../../support/processes.ts';

/** Each looks like each. */
const ALIKE = [
  'Corin 1',
  'corin l',
  'CORIN I',
  'c0rin 1',
  'Corin 1 ',
  '\uff43orin 1',
  'c0Rin\u00a0L',
  'corin i',
];

test('of names that look alike, asked for at once in two processes, one is given', {
  skip: postgresSkip,
}, async (t) => {
  const { url: databaseUrl } = await createTestDatabase(t);
  const adminKey = generateApiKey().text;
  const env = {
    DATABASE_URL: databaseUrl,
    MASTER_KEY: '5a'.repeat(32),
    BOOTSTRAP_ADMIN_KEY: adminKey,
    ISSUER_URL: 'https://writ.example',
    PORT: '0',
    RATE_LIMIT_MAX: '0',
    LOG_LEVEL: 'warn',
    ACCEPT_UNSAFE_DURABILITY: '1',
  };
  const servers = [await startServer(t, env), await startServer(t, env)];
  const database = new pg.Client({ connectionString: databaseUrl });
  database.on('error', () => undefined);
  await database.connect();
  const clients: Client[] = [];
  t.after(async () => {
    for (const client of clients) client.close();
    await database.end();
  });
  const speaker = (server: { url: string }, key: string) => {
    const client = createClient(server.url, key);
    clients.push(client);
    return (method: string, path: string, body?: unknown) => insist(() => client.send(method, path, body));
  };
  const [first, second] = servers as [(typeof servers)[0], (typeof servers)[0]];
  const one = speaker(first, adminKey);
  // Another administrator, so that nobody waits for the row of who acts.
  const made = await one('POST', '/v1/agents', { name: 'second', role: 'admin' });
  const other = speaker(second, (JSON.parse(made.text) as { api_key: string }).api_key);
  assert.equal((await other('GET', '/v1/me')).status, 200);

  for (let round = 1; round <= RACE_ROUNDS; round += 1) {
    const answers = await Promise.all(
      ALIKE.map((name, index) =>
        ((index + round) % 2 === 0 ? one : other)('POST', '/v1/agents', { name, role: 'approver' }),
      ),
    );
    const codes = answers.map((answer) => (answer.status === 201 ? 'made' : errorCodeOf(answer)));
    assert.deepEqual(codes.sort(), [...Array<string>(ALIKE.length - 1).fill('ALREADY_EXISTS'), 'made']);
    const { rows } = await database.query<{ id: string }>(
      `select id from agents where name ilike 'c_rin%' and revoked_at is null`,
    );
    assert.equal(rows.length, 1);
    assert.equal((await one('DELETE', `/v1/agents/${rows[0]?.id}`)).status, 204, 'free for the next round');
  }
});
