/** Names from before their grammar: they are kept and work, a start tells of them, and no new one looks like them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import { provision } from '../../src/start/provision.ts';
import { assertRefused, buildTestApp } from '../support/app.ts';
import { postgresSkip as skip } from '../support/postgres.ts';
import { configOf } from '../support/test-config.ts';
import { resealRows } from '../support/test-seals.ts';

test('principals whose names do not fit, or look alike, are told of and work as ever', {
  skip,
}, async (t) => {
  const { call, sql, adminKey, databaseUrl, database, createAgent } = await buildTestApp(t);
  const start = () => provision({ database, config: configOf({ DATABASE_URL: databaseUrl }), newId: uuidv7 });
  assert.deepEqual((await start()).unfitNames, []);
  const renamed = async (name: string) => {
    const agent = await createAgent();
    await sql('update agents set name = $1 where id = $2', [name, agent.id]);
    await resealRows(sql, 'agents', 'id = $1', [agent.id]);
    return agent;
  };
  const unfit = [
    await renamed('\u0430dmin'),
    await renamed('ops '),
    await renamed('two  blanks'),
    await renamed('José'),
    await renamed('Twins'),
    await renamed('twlns'),
  ];
  await renamed('fits as it is');
  const gone = await renamed('g\u043ene');
  assert.equal((await call({ method: 'DELETE', url: `/v1/agents/${gone.id}`, key: adminKey })).status, 204);

  assert.deepEqual([...(await start()).unfitNames].sort(), unfit.map(({ id }) => id).sort());
  for (const { id, key } of unfit) {
    assert.equal((await call({ method: 'GET', url: '/v1/me', key })).status, 200);
    assert.equal((await call({ method: 'GET', url: `/v1/agents/${id}`, key: adminKey })).status, 200);
  }
  const byName = await call<{ id: string }>({ method: 'GET', url: '/v1/agents/Jos%C3%A9', key: adminKey });
  assert.equal(byName.body.id, unfit[3]?.id);
  for (const name of ['TWINS', 'twins', 'tw1ns']) {
    const answer = await call({ method: 'POST', url: '/v1/agents', key: adminKey, json: { name } });
    assertRefused(answer, { status: 409, code: 'ALREADY_EXISTS' }, name);
  }
});
