/** `writ key`: keys that work at once, on a running server too, and leave an event behind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import { onPostgres, runHere } from '../support/command-line.ts';
import { createClient } from '../support/issuing.ts';
import { postgresSkip as skip } from '../support/postgres.ts';
import { startServer } from '../support/processes.ts';

test('a created key works at once on a running server, and no longer once it is revoked', {
  skip,
}, async (t) => {
  const env = await onPostgres(t);
  const server = await startServer(t, { ...env, PORT: '0' });
  for (const role of ['admin', 'agent', 'approver']) {
    const made = await runHere(['key', 'create', '--role', role, '--name', `${role} one`, '--json'], env);
    assert.equal(made.code, 0, made.stderr);
    const { api_key: key, key_id: keyId, ...facts } = JSON.parse(made.stdout) as Record<string, string>;
    assert.match(String(key), new RegExp(`^ak_live_${keyId}[0-9a-f]{48}$`));
    assert.equal(facts['role'], role);
    assert.equal(facts['name'], `${role} one`);
    const client = createClient(server.url, key);
    t.after(() => client.close());
    assert.equal((await client.send('GET', '/v1/me'))?.status, 200);
    assert.equal((await client.issue())?.status, role === 'approver' ? 403 : 200);
    const revoked = await runHere(['key', 'revoke', String(keyId), '--json'], env);
    assert.deepEqual(JSON.parse(revoked.stdout), { key_id: keyId, revoked: true });
    assert.equal((await client.send('GET', '/v1/me'))?.status, 401);
    if (role !== 'approver') assert.equal((await client.issue())?.status, 401);
    assert.equal((await runHere(['key', 'revoke', String(keyId)], env)).code, 0, 'again is fine');
  }
});

test('key create prints the key once for people, and takes scopes for agents only', { skip }, async (t) => {
  const env = await onPostgres(t);
  const scopes = ['--scope', 'secrets:read:prod/*', '--scope', 'secrets:write:prod/*'];
  const made = await runHere(['key', 'create', '--role', 'agent', '--name', 'scoped', ...scopes], env);
  assert.equal(made.code, 0, made.stderr);
  assert.equal(made.stdout.match(/ak_live_[0-9a-f]{64}/g)?.length, 1);
  assert.equal(made.stderr, '');
  const failures = [
    [['--role', 'admin', '--name', 'x', ...scopes], /allowed_scopes/],
    [['--role', 'agent', '--name', 'x', '--scope', 'everything'], /scope/],
    [['--role', 'agent', '--name', 'scoped'], /name/],
    [['--role', 'agent', '--name', 'x'.repeat(65)], /name/],
  ] as const;
  for (const [args, what] of failures) {
    const failed = await runHere(['key', 'create', ...args], env);
    assert.deepEqual([failed.code, failed.stdout], [1, ''], failed.stderr);
    assert.match(failed.stderr, what);
  }
});

test('revoking a key that does not exist exits 1 and says so', { skip }, async (t) => {
  const { code, stdout, stderr } = await runHere(['key', 'revoke', '0'.repeat(16)], await onPostgres(t));
  assert.deepEqual([code, stdout], [1, '']);
  assert.match(stderr, /no key/);
});

test('what the command line does is in the audit trail, as the system’s', { skip }, async (t) => {
  const env = await onPostgres(t);
  const made = await runHere(['key', 'create', '--role', 'agent', '--name', 'x', '--json'], env);
  await runHere(['key', 'revoke', (JSON.parse(made.stdout) as { key_id: string }).key_id], env);
  const client = new pg.Client({ connectionString: env['DATABASE_URL'] });
  await client.connect();
  const { rows } = await client.query(
    'select event_type, actor_id, actor_type from audit_events order by xact',
  );
  await client.end();
  assert.deepEqual(rows, [
    { event_type: 'agent.created', actor_id: 'system', actor_type: 'system' },
    { event_type: 'key.revoked', actor_id: 'system', actor_type: 'system' },
  ]);
});
