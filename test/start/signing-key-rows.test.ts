/** A row of `signing_keys` that does not open stops no start: it is complained of, and the good ones serve. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createKeyEncryption } from '../../src/keys/encryption/key-encryption.ts';
import { generateSigningKey } from '../../src/keys/signing/signing-key.ts';
import { assertRefused, buildTestApp, openTestApp } from '../support/app.ts';
import { A_PLAN, until } from '../support/issuing.ts';
import { postgresSkip as skip } from '../support/postgres.ts';
import { TEST_MASTER_KEY } from '../support/test-master-key.ts';
import { resealRows, takeGuardAway } from '../support/test-seals.ts';

/** What the owner of the database may do to the row of a key. */
const BAD = {
  'a wrap that does not open': `wrapped_private_key = '\\x0011'`,
  'another public half': `public_key = '\\x${'00'.repeat(32)}'`,
  'another thumbprint': `kid = 'other'`,
  'an unknown key-encryption key': `kek_id = '0000000000000000'`,
} as const;

const KEK = createKeyEncryption(Buffer.from(TEST_MASTER_KEY, 'hex'));

test('a bad row beside a good one: the process starts, signs and publishes, and says so', {
  skip,
}, async (t) => {
  const { call, sql, databaseUrl, adminKey } = await buildTestApp(t);
  await takeGuardAway(sql);
  const { kid, publicKey, wrappedPrivateKey, kekId } = generateSigningKey(KEK);
  for (const [what, change] of Object.entries(BAD)) {
    await sql('delete from signing_keys where state <> $1', ['active']);
    await sql(
      `insert into signing_keys (kid, public_key, wrapped_private_key, kek_id, state, created_at)
       values ($1, $2, $3, $4, 'retiring', now() - interval '1 day')`,
      [kid, publicKey, wrappedPrivateKey, kekId],
    );
    const [row] = await sql<{ kid: string }>(
      `update signing_keys set ${change} where state = 'retiring' returning kid`,
    );
    // So that what the key itself proves is judged.
    await resealRows(sql, 'signing_keys');
    const restarted = await openTestApp(t, databaseUrl, {}, {}, adminKey);
    const issued = await restarted.call({
      method: 'POST',
      url: '/token/issue',
      key: (await restarted.createAgent()).key,
      json: { plan: A_PLAN },
    });
    assert.equal(issued.status, 200, `${what} ${issued.text}`);
    const published = await restarted.call<{ keys: unknown[] }>({
      method: 'GET',
      url: '/.well-known/jwks.json',
    });
    assert.equal(published.body.keys.length, 1, what);
    const ready = await restarted.call<{ integrity_errors: number }>({ method: 'GET', url: '/ready' });
    assert.ok(ready.body.integrity_errors >= 1, what);
    await restarted.app.close();
    const events = await sql<{ resource_id: string }>(
      `select resource_id from audit_events
       where event_type = 'integrity.failed' and resource_type = 'signing_keys' order by created_at desc`,
    );
    assert.equal(events[0]?.resource_id, row?.kid, what);
  }
  assert.equal((await call({ method: 'GET', url: '/ready' })).status, 200);
});

test('without an active row that opens, secrets are served, nothing is signed, and a row put back is enough', {
  skip,
}, async (t) => {
  const { sql, databaseUrl, adminKey } = await buildTestApp(t);
  await takeGuardAway(sql);
  const [good] = await sql<Record<string, unknown>>('select * from signing_keys');
  const put = { method: 'PUT', url: '/v1/secrets/prod/K', key: adminKey, json: { value: 'v' } } as const;
  for (const [what, change] of Object.entries({ ...BAD, 'no seal': 'seal = null' })) {
    await sql(`update signing_keys set ${change}`);
    const { app, call, createAgent } = await openTestApp(t, databaseUrl, {}, {}, adminKey);
    const { key } = await createAgent();
    const issue = { method: 'POST', url: '/token/issue', key, json: { plan: A_PLAN } } as const;
    assert.ok((await call(put)).status < 300, what);
    assert.equal((await call({ ...put, method: 'GET', json: undefined })).status, 200, what);
    assertRefused(await call(issue), { status: 503, code: 'UNAVAILABLE' }, what);
    for (const url of ['/.well-known/jwks.json', '/ready']) {
      assert.equal((await call({ method: 'GET', url })).status, 503, `${what} ${url}`);
    }
    await sql('delete from signing_keys');
    await sql(
      `insert into signing_keys (${Object.keys(good ?? {}).join()})
      values (${Object.keys(good ?? {}).map((_, at) => `$${at + 1}`)})`,
      Object.values(good ?? {}),
    );
    await until('it issues again', async () => (await call(issue)).status === 200);
    await app.close();
  }
});
