/**
 * `writ doctor` finds every row that Writ did not write and every use that was set back, and finds nothing where all is
 * as Writ left it. `writ doctor reseal` lets a row grant what was shown of it, and nothing else.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '../../src/platform/ids.ts';
import { SEALED_TABLES, type SealedTable } from '../../src/storage/engine/sealed-rows.ts';
import { resealRow, showRow } from '../../src/storage/reseal-row.ts';
import { primaryKeyList } from '../../src/storage/unfit-rows.ts';
import { auditEvent, NO_REQUEST, SYSTEM } from '../../src/use-cases/audit/build-audit-event.ts';
import { openTestApp, type TestApp } from '../support/app.ts';
import { runHere } from '../support/command-line.ts';
import { createEmptyTestDatabase, createTestDatabase, postgresSkip as skip } from '../support/postgres.ts';
import { TEST_KEK, TEST_SEALS, takeGuardAway } from '../support/test-seals.ts';
import { aFilledApp, PATH } from './filled-app.ts';

const TABLES = Object.keys(SEALED_TABLES) as SealedTable[];

interface Findings {
  readonly rows: readonly { table: string; primary_key: readonly string[]; why: string }[];
  readonly tokens: readonly { token_id: string; uses: number; events: number }[];
}

async function findingsOf(env: Record<string, string>): Promise<Findings & { code: number | null }> {
  const { code, stdout, stderr } = await runHere(['doctor', '--json'], env);
  assert.equal(stderr, '');
  return { code, ...(JSON.parse(stdout) as Findings) };
}

const NOTHING = { code: 0, rows: [], tokens: [] };

/** As a person who keeps all that is in the database would see it. */
async function contentsOf(app: TestApp): Promise<unknown> {
  const tables = [
    ...TABLES.filter((table) => table !== 'api_keys'),
    'master_keys',
    'audit_epochs',
    'schema_migrations',
  ];
  const contents = tables.map((table) =>
    app.sql(`select ctid::text, xmin::text, t.* from ${table} t order by ctid`),
  );
  // A job of the app notes when a key was last used.
  const keys = app.sql(
    `select to_jsonb(key) - array['last_used_at', 'last_used_ip'] as key from api_keys key order by key_id`,
  );
  // Another one reads the signing keys every two seconds, and tells of a row that is none.
  const events = app.sql(
    `select ctid::text, xmin::text, event.* from audit_events event
     where not (event_type = 'integrity.failed' and resource_type = 'signing_keys') order by created_at, id`,
  );
  return JSON.stringify(await Promise.all([keys, events, ...contents]));
}

test('every table is looked through: a row without a seal, one that was changed, and nothing is written', {
  skip,
}, async (t) => {
  const { app, aToken, env } = await aFilledApp(t);
  await aToken();
  await takeGuardAway(app.sql);
  assert.deepEqual(await findingsOf(env), NOTHING);
  const well = await runHere(['doctor'], env);
  assert.deepEqual([well.code, well.stderr], [0, '']);
  for (const table of TABLES) {
    const [row] = await app.sql<{ id: string[]; seal: Uint8Array }>(
      `select ${primaryKeyList(table, 'row')} as id, seal from ${table} row
       where seal is not null limit 1`,
    );
    assert.ok(row !== undefined, `${table} has a row`);
    const whys = [
      ['null', 'it has no seal'],
      [`decode(repeat('ab', 40), 'hex')`, 'its seal is of a master key that is not in use'],
      [`decode('${TEST_KEK.kekId}' || repeat('ab', 32), 'hex')`, 'its seal does not fit'],
    ] as const;
    for (const [seal, why] of whys) {
      const key = primaryKeyList(table, 'row');
      await app.sql(`update ${table} row set seal = ${seal} where ${key} = $1`, [row.id]);
      const before = await contentsOf(app);
      const expected: Findings & { code: number } = {
        code: 1,
        rows: [{ table, primary_key: row.id, why }],
        tokens: [],
      };
      assert.deepEqual(await findingsOf(env), expected);
      const told = await runHere(['doctor'], env);
      assert.equal(told.code, 1);
      assert.match(
        told.stdout,
        new RegExp(`^${table} ${row.id.join(' ')}: ${why}\nWrit uses none.*writ doctor reseal`),
      );
      assert.equal(await contentsOf(app), before, 'nothing was written');
    }
    await app.sql(`update ${table} row set seal = $2 where ${primaryKeyList(table, 'row')} = $1`, [
      row.id,
      row.seal,
    ]);
  }
  assert.deepEqual(await findingsOf(env), NOTHING);
});

test('rows are found beyond one batch, in a table with a key of one column and of two', {
  skip,
}, async (t) => {
  const { app, approval, env } = await aFilledApp(t);
  await app.sql(
    `insert into agents (id, name, role) select gen_random_uuid(), 'filler ' || n, 'agent' from generate_series(1, 1100) n`,
  );
  await app.sql(
    `insert into approval_votes (approval_id, approver_id) select $1, gen_random_uuid() from generate_series(1, 1100) n`,
    [approval],
  );
  const { rows } = await findingsOf(env);
  assert.equal(rows.length, 2200);
  assert.equal(new Set(rows.map((row) => JSON.stringify(row))).size, 2200);
});

test('a row that was closed by SQL is no finding, and one whose end was taken back is', {
  skip,
}, async (t) => {
  const { app, agent, approval, aToken, env } = await aFilledApp(t);
  const { token_id: token } = await aToken();
  await app.sql('update scoped_tokens set expires_at = now() where id = $1', [token]);
  await app.sql('update api_keys set revoked_at = now() where key_id = $1', [agent.keyId]);
  await app.sql('update approvals set effective_at = $2 where id = $1', [approval, '2001-01-01']);
  await app.sql('update webhook_outbox set given_up_at = now(), payload = $1', ['[]']);
  assert.deepEqual(await findingsOf(env), NOTHING);
  await app.sql('update api_keys set revoked_at = null, seal = null where key_id = $1', [agent.keyId]);
  await app.sql(`update approvals set effective_at = 'infinity' where id = $1`, [approval]);
  const { rows } = await findingsOf(env);
  assert.deepEqual(
    rows.map(({ table, primary_key: [id] }) => [table, id]),
    [
      ['api_keys', agent.keyId],
      ['approvals', approval],
    ],
  );
  for (const time of ['294276-12-31', '-infinity']) {
    await app.sql('update approvals set effective_at = $2, window_seconds = 2147483647 where id = $1', [
      approval,
      time,
    ]);
    assert.ok((await findingsOf(env)).rows.length >= 1, time);
  }
});

test('each kind of use of a limited token is counted as its events are', { skip }, async (t) => {
  const { app, ask, aToken, env } = await aFilledApp(t);
  const { token_id: id, token } = await aToken({ max_uses: 100 });
  const by = { headers: { authorization: `Bearer ${token}` } };
  const uses: readonly (readonly [type: string, use: () => Promise<unknown>])[] = [
    ['secret.read', () => ask('GET', `/v1/${PATH}`, by)],
    ['secret.created', () => ask('PUT', '/v1/secrets/team/NEW', by, { value: '1' })],
    ['secret.updated', () => ask('PUT', '/v1/secrets/team/NEW', by, { value: '2' })],
    ['secret.rotated', () => ask('POST', '/v1/secrets/team/NEW/rotate', by, { new_value: '3' })],
    [
      'secret.imported',
      () => ask('POST', '/v1/secrets/import', by, { namespace: 'team', content: 'A=1\nB=2' }),
    ],
    ['secret.deleted', () => ask('DELETE', '/v1/secrets/team/NEW', by)],
    ['secret.listed', () => ask('GET', '/v1/secrets/team', by)],
    ['namespace.listed', () => ask('GET', '/v1/namespaces', by)],
  ];
  for (const [type, use] of uses) {
    await use();
    const [row] = await app.sql<{ uses: number }>('select uses from scoped_tokens where id = $1', [id]);
    const events = await app.sql<{ event_type: string }>(
      `select event_type from audit_events where metadata ->> 'token_id' = $1 order by created_at`,
      [id],
    );
    assert.equal(events.at(-1)?.event_type, type);
    assert.equal(row?.uses, events.length, type);
    assert.deepEqual(await findingsOf(env), NOTHING, type);
    // And that event is one of those that are counted.
    await app.sql('update scoped_tokens set uses = uses - 1 where id = $1', [id]);
    const tokens = [{ token_id: id, uses: events.length - 1, events: events.length }];
    assert.deepEqual(await findingsOf(env), { code: 1, rows: [], tokens }, type);
    await app.sql('update scoped_tokens set uses = uses + 1 where id = $1', [id]);
  }
  await app.call({ method: 'POST', url: '/v1/tokens/introspect', ...by, json: {} });
  await app.call({ method: 'GET', url: '/v1/secrets/elsewhere/K', ...by });
  await app.call({ method: 'GET', url: '/v1/secrets/team/ABSENT', ...by });
  assert.deepEqual(await findingsOf(env), NOTHING, 'what is refused or asked about takes no use');
});

test('a single use that was set back is seen, whatever else was done to the row since', {
  skip,
}, async (t) => {
  const { app, ask, aToken, env } = await aFilledApp(t);
  const { token_id: id, token } = await aToken({ max_uses: 1 });
  const unlimited = await aToken();
  const read = (by: string) => ask('GET', `/v1/${PATH}`, { headers: { authorization: `Bearer ${by}` } });
  await read(unlimited.token);
  await read(token);
  await app.sql('update scoped_tokens set uses = 0 where id = $1', [id]);
  await read(token);
  const tokens = [{ token_id: id, uses: 1, events: 2 }];
  assert.deepEqual(await findingsOf(env), { code: 1, rows: [], tokens });
  const hide = [
    `update scoped_tokens set created_at = now() + interval '1 year'`,
    `update scoped_tokens set revoked_at = now()`,
    `update scoped_tokens set revoked_at = null, expires_at = '2001-01-01'`,
  ];
  for (const statement of hide) {
    await app.sql(`${statement} where id = $1`, [id]);
    assert.deepEqual(await findingsOf(env), { code: 1, rows: [], tokens }, statement);
  }
  const told = await runHere(['doctor'], env);
  assert.equal(told.code, 1);
  assert.match(
    told.stdout,
    new RegExp(`^scoped_tokens ${id}: uses is 1, and the audit trail has 2\n.*DELETE`),
  );
});

test('another master key, and a database that no start has sealed or migrated, exit 2 and stay as they are', {
  skip,
}, async (t) => {
  const { app, env } = await aFilledApp(t);
  const before = await contentsOf(app);
  const other = await runHere(['doctor'], { ...env, MASTER_KEY: 'ab'.repeat(32) });
  assert.deepEqual([other.code, other.stdout], [2, '']);
  assert.match(other.stderr, /master key does not match/);
  assert.equal(await contentsOf(app), before);
  await app.sql('delete from master_keys');
  const unproven = await runHere(['doctor'], env);
  assert.deepEqual([unproven.code, unproven.stdout], [2, '']);
  assert.match(unproven.stderr, /master_keys/);
  assert.deepEqual(await app.sql('select 1 from master_keys'), []);
  for (const [make, says] of [
    [createTestDatabase, /not sealed/],
    [createEmptyTestDatabase, /writ migrate/],
  ] as const) {
    const { url } = await make(t);
    const { code, stdout, stderr } = await runHere(['doctor'], { ...env, DATABASE_URL: url });
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(stderr, says);
  }
});

test('after a look and a yes a row grants what it says, on record; nothing else of it changes', {
  skip,
}, async (t) => {
  const { app, aToken, env } = await aFilledApp(t);
  await aToken();
  await takeGuardAway(app.sql);
  const rowOf = async (table: SealedTable, id: readonly string[]) => {
    const [row] = await app.sql<{ row: Record<string, unknown> }>(
      `select to_jsonb(row) - 'seal' - 'revision' as row from ${table} row where ${primaryKeyList(table, 'row')} = $1`,
      [id],
    );
    return row?.row;
  };
  for (const table of TABLES) {
    const key = primaryKeyList(table, 'row');
    const [made] = await app.sql<{ id: string[] }>(
      `update ${table} row set seal = null where ctid = (select ctid from ${table} where seal is not null limit 1)
       returning ${key} as id`,
    );
    const id = made?.id ?? [];
    const before = await rowOf(table, id);
    // The thumbprint of a key may begin with a hyphen.
    const sealed = await runHere(['doctor', 'reseal', table, '--', ...id], env, 'y\n');
    assert.deepEqual(
      [sealed.code, sealed.stdout],
      [0, `${table} ${id.join(' ')} is sealed as shown.\n`],
      sealed.stderr,
    );
    for (const part of [table, 'it has no seal', ...id]) assert.ok(sealed.stderr.includes(part), part);
    assert.deepEqual(await rowOf(table, id), before);
    const events = await app.sql(
      `select resource_id, actor_type, metadata from audit_events
       where event_type = 'integrity.resealed' and resource_type = $1`,
      [table],
    );
    const metadata = { why: 'it has no seal' };
    assert.deepEqual(events, [{ resource_id: id.join(' '), actor_type: 'system', metadata }]);
  }
  assert.deepEqual(await findingsOf(env), NOTHING);
});

test('what a resealed principal may do is what was shown, on a running server too', { skip }, async (t) => {
  const { app, admin, ask, env } = await aFilledApp(t);
  const agent = await app.createAgent({ allowed_scopes: ['secrets:read:other/*'] });
  const read = () => app.call({ method: 'GET', url: `/v1/${PATH}`, key: agent.key });
  assert.equal((await read()).status, 403);
  await app.sql('update agents set allowed_scopes = $2, policy = $3 where id = $1', [
    agent.id,
    ['secrets:read:team/*'],
    '{"allow":["*"]}',
  ]);
  const refused = await openTestApp(t, app.databaseUrl, {}, {}, app.adminKey);
  assert.equal((await refused.call({ method: 'GET', url: `/v1/${PATH}`, key: agent.key })).status, 500);
  const json = await runHere(['doctor', 'reseal', 'agents', agent.id, '--yes', '--json'], env);
  assert.equal(json.code, 0, json.stderr);
  assert.deepEqual(JSON.parse(json.stdout), { table: 'agents', primary_key: [agent.id], resealed: true });
  assert.match(json.stderr, /allowed_scopes +\{secrets:read:team\/\*\}/);
  assert.match(json.stderr, /policy +\{"allow":\["\*"\]\}/);
  assert.equal((await read()).status, 200);
  await ask('DELETE', `/v1/agents/${agent.id}`, admin);
});

test('nothing is sealed without a yes, nor a row that is whole, has ended, is not there or is none', {
  skip,
}, async (t) => {
  const { app, admin, ask, agent, approval, env } = await aFilledApp(t);
  const ended = await app.createAgent();
  await ask('DELETE', `/v1/agents/${ended.id}`, admin);
  const denied = await ask<{ approval_id: string }>(
    'POST',
    '/v1/tokens',
    { key: agent.key },
    {
      scopes: ['secrets:read:team/*'],
      require_approval: true,
    },
  );
  await ask('POST', `/v1/approvals/${denied.approval_id}/deny`, admin, {});
  await app.sql('update approvals set seal = null where id = $1', [approval]);
  const yes = ['--yes'];
  const refusals: readonly (readonly [args: readonly string[], says: RegExp, typed?: string])[] = [
    [['approvals', approval], /secrets:read:team\/\*[\s\S]*Nothing was done\.\n$/],
    [['approvals', approval, '--json'], /Nothing was done\.\n$/],
    [['approvals', approval], /\[y\/N\] [\s\S]*Nothing was done\.\n$/, 'n\n'],
    [['agents', agent.id, ...yes], /fits/],
    [['agents', ended.id, ...yes], /was revoked, denied or claimed/],
    [['approvals', denied.approval_id, ...yes], /was revoked, denied or claimed/],
    [['agents', agent.id.replace(/^./, '9'), ...yes], /There is no row agents 9/],
    [['agents', 'nobody', ...yes], /There is no row agents nobody\./],
    [[...yes, 'settings', '--', '-a'], /There is no row settings -a/],
    [['settings', 'a\u001b[2J', ...yes], /There is no row settings a\uFFFD\[2J/],
  ];
  const before = await contentsOf(app);
  for (const [args, says, typed] of refusals) {
    const { code, stdout, stderr } = await runHere(['doctor', 'reseal', ...args], env, typed);
    assert.deepEqual([code, stdout], [1, ''], args.join(' '));
    assert.match(stderr, says);
  }
  const usages = [
    [['approval_votes', approval, ...yes], /approval_id and approver_id/],
    [['agents', agent.id, agent.id, ...yes], /named by its id/],
    [['heartbeat', 'x', ...yes], /allowed choices are agents/],
    [['agents'], /missing/],
  ] as const;
  for (const [args, says] of usages) {
    const { code, stdout, stderr } = await runHere(['doctor', 'reseal', ...args], env);
    assert.deepEqual([code, stdout], [2, ''], args.join(' '));
    assert.match(stderr, says);
  }
  assert.equal(await contentsOf(app), before, 'nothing was written');
});

test('a row that is not any more what was shown stays as it is, and leaves no event', { skip }, async (t) => {
  const { app, env } = await aFilledApp(t);
  await takeGuardAway(app.sql);
  const meanwhile: readonly (readonly [what: string, statement: string])[] = [
    ['a column', `update agents set allowed_scopes = '{"secrets:*:*"}' where id = $1`],
    ['a policy', `update agents set policy = '{}' where id = $1`],
    ['its seal', `update agents set seal = decode('00', 'hex') where id = $1`],
    ['it was revoked', 'update agents set revoked_at = now() where id = $1'],
    [
      'it was deleted',
      'with keys as (delete from api_keys where agent_id = $1) delete from agents where id = $1',
    ],
  ];
  for (const [what, statement] of meanwhile) {
    const { id } = await app.createAgent({ allowed_scopes: ['secrets:read:other/*'] });
    await app.sql('update agents set seal = null where id = $1', [id]);
    const shown = await showRow(app.database, { table: 'agents', primaryKey: [id] }, TEST_SEALS);
    assert.ok(shown !== undefined);
    await app.sql(statement, [id]);
    const before = await contentsOf(app);
    const event = auditEvent(SYSTEM, NO_REQUEST, {
      id: newId(),
      type: 'integrity.resealed',
      resource: { type: 'agents', id },
      metadata: {},
    });
    assert.equal(await resealRow(app.database, shown, { seals: TEST_SEALS, event }), false, what);
    assert.equal(await contentsOf(app), before, what);
  }
  assert.equal((await findingsOf(env)).code, 1);
});
