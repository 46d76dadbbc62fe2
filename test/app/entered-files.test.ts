/** How much of the source one warm request passes through: a file more is a file more to read, and to pay for. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildTestApp } from '../support/app.ts';
import { countingEntered } from '../support/entered-functions.ts';
import { A_PLAN } from '../support/issuing.ts';
import { postgresSkip } from '../support/postgres.ts';

const MAX_FILES = 36;
/** So that what is already known is known: the key, the statements, the schemas. */
const WARMING_REQUESTS = 3;

test('one warm request enters few files', { skip: postgresSkip }, async (t) => {
  const { call, createAgent } = await buildTestApp(t);
  const { key } = await createAgent({ allowed_scopes: ['secrets:read:team/*'] });
  const countEntered = await countingEntered(t);
  for (const [what, url, json, status] of [
    ['an intent token', '/token/issue', { plan: A_PLAN }, 200],
    ['a scoped token', '/v1/tokens', { scopes: ['secrets:read:team/*'], max_uses: 5 }, 201],
  ] as const) {
    await t.test(what, async () => {
      const issue = async (): Promise<void> =>
        assert.equal((await call({ method: 'POST', url, key, json })).status, status);
      for (let time = 0; time < WARMING_REQUESTS; time += 1) await issue();
      const enteredOnce = async () => new Set((await countEntered(issue)).map(({ file }) => file));
      // A job that happens to run meanwhile is none of the request's.
      const [files = new Set<string>()] = [
        await enteredOnce(),
        await enteredOnce(),
        await enteredOnce(),
      ].sort((one, other) => one.size - other.size);
      for (const known of ['http/admission/route-admission.ts', 'use-cases/retry-guarded-write.ts'])
        assert.ok(files.has(known), `${known} is among them`);
      assert.ok(files.size <= MAX_FILES, `${files.size} files:\n${[...files].sort().join('\n')}`);
    });
  }
});
