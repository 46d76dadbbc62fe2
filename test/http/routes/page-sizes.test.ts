/** A page of any list ends at about 1 MiB, whatever `limit` says, and the pages after it hold the rest (contract section 1). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildTestApp, type TestAnswer } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { issueWith } from './verification-calls.ts';

const MIB = 1024 * 1024;
/** Beside the items: the frame of the list, and what one item may add. */
const ABOUT = 1.05 * MIB;

test('a page ends at about 1 MiB', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t, { RATE_LIMIT_MAX: '0' });
  const { call, adminKey, createAgent, sql } = server;

  /** Every page of a list, each within its bounds. */
  const pagesOf = async (url: string, idOf: (item: Record<string, unknown>) => unknown) => {
    const ids: unknown[] = [];
    let pages = 0;
    for (let cursor: string | null = ''; cursor !== null; pages += 1) {
      const from: string = cursor === '' ? '' : `${url.includes('?') ? '&' : '?'}cursor=${cursor}`;
      const answer: TestAnswer<{
        items: Record<string, unknown>[];
        next_cursor: string | null;
      }> = await call({
        method: 'GET',
        url: `${url}${from}`,
        key: adminKey,
      });
      const { status, text, body } = answer;
      assert.equal(status, 200, text.slice(0, 300));
      assert.ok(text.length <= ABOUT, `${url} ${text.length}`);
      // As full as the next item lets it be, where `limit` does not end it.
      if (body.next_cursor !== null && !url.includes('limit'))
        assert.ok(text.length > 0.7 * MIB, `${url} ${text.length}`);
      ids.push(...body.items.map(idOf));
      cursor = body.next_cursor;
    }
    assert.equal(new Set(ids).size, ids.length, 'nothing twice');
    return { pages, count: ids.length };
  };

  await t.test('of secrets', async () => {
    const content = Array.from({ length: 160 }, (_, index) => `K${index}=v`).join('\n');
    const metadata = { note: 'x'.repeat(8000) };
    const json = { namespace: 'pages/heavy', content, metadata };
    const imported = await call({ method: 'POST', url: '/v1/secrets/import', key: adminKey, json });
    assert.equal(imported.status, 200, imported.text.slice(0, 300));
    for (const url of [
      '/v1/secrets?namespace=pages%2Fheavy',
      '/v1/secrets?namespace=pages%2Fheavy&limit=1000',
      '/v1/secrets/pages/heavy?limit=160',
    ])
      assert.deepEqual(await pagesOf(url, ({ key }) => key), { pages: 2, count: 160 }, url);
  });

  await t.test('of intent tokens', async () => {
    const issued = await issueWith(server, adminKey);
    await sql(
      `insert into intent_tokens (jti, plan_id, agent_id, key_id, kid, plan_hash, merkle_root, tree_size, policy, actions,
         issued_at, expires_at, root_jti, ancestors)
       select made.jti, plan_id, agent_id, key_id, kid, plan_hash, merkle_root, tree_size, policy, actions,
         issued_at, expires_at, made.jti, '{}'
       from intent_tokens, lateral (
         select ('0198c5f0-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid as jti from generate_series(1, 2500) as n
       ) as made
       where intent_tokens.jti = $1`,
      [issued.token_id],
    );
    for (const url of [
      '/v1/intent-tokens',
      '/v1/intent-tokens?status=expired&limit=1000',
      '/v1/intent-tokens?limit=1000',
    ]) {
      const { count } = await pagesOf(url, ({ token_id: id }) => id);
      assert.equal(count, url.includes('expired') ? 0 : 2501, url);
    }
  });

  await t.test('of principals and of scoped tokens', async () => {
    const segment = 'x'.repeat(120);
    const long = (index: number) => `secrets:read:${index}/${segment}/${segment}/${segment}/*`;
    const scopes = Array.from({ length: 256 }, (_, index) => long(index));
    for (let made = 0; made < 7; made += 1) await createAgent({ allowed_scopes: scopes });
    const agents = await pagesOf('/v1/agents', ({ id }) => id);
    assert.deepEqual(agents, { pages: 2, count: 8 });
    const json = { scopes: scopes.slice(0, 64) };
    for (let made = 0; made < 30; made += 1) {
      const answer = await call({ method: 'POST', url: '/v1/tokens', key: adminKey, json });
      assert.equal(answer.status, 201, answer.text.slice(0, 300));
    }
    const tokens = await pagesOf('/v1/tokens', ({ token_id: id }) => id);
    assert.deepEqual(tokens, { pages: 2, count: 30 });
  });
});
