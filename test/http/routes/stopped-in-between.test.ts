/**
 * A stop that commits between what a request has read and its guarded write: the write itself refuses, and the request
 * is told so. One case for each statement that grants.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Session, Statement } from '../../../src/storage/engine/database.ts';
import type { TestRequest } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { buildStoppedKit, type StoppedCall } from './stopped-calls.ts';

const EVERYBODY = '00000000-0000-0000-0000-000000000000';
/** Of a claim only the agent: with everybody the votes would not count. */
const PLANT = `
  insert into emergency_stops (id, agent_id, reason, actor_id, resume_hash, wrapped_proof, kek_id)
  select gen_random_uuid(), $1, 'r', 'x', sha256('\\x00'), '\\x00', kek_id
  from master_keys where state = 'active'`;

test('a stop in between', { skip: postgresSkip }, async (t) => {
  const kit = await buildStoppedKit(t);
  const { app, calls, agent, approver } = kit;
  const { call, database, sql, adminKey } = app;
  let before: string | undefined;
  let planted = 0;
  const plantBefore = async ({ name }: Statement): Promise<void> => {
    if (name !== before) return;
    before = undefined;
    planted += 1;
    await sql(PLANT, [name === 'claim_approval' ? agent.id : EVERYBODY]);
  };
  const hooked = <Of extends Session>(session: Of): Of =>
    new Proxy(session, {
      get: (target, member) => {
        const found: unknown = Reflect.get(target, member);
        if (member !== 'query') return typeof found === 'function' ? found.bind(target) : found;
        return async (statement: Statement, values: readonly unknown[]) => {
          await plantBefore(statement);
          return target.query(statement, values);
        };
      },
    });
  const { query, transaction } = database;
  t.mock.method(database, 'query', async (statement: Statement, values: readonly unknown[]) => {
    await plantBefore(statement);
    return query.call(database, statement, values);
  });
  t.mock.method(database, 'transaction', (work: (session: Session) => Promise<unknown>) =>
    transaction.call(database, (session: Session) => work(hooked(session))),
  );

  const by = (
    holder: StoppedCall['by'],
    route: string,
    fits: (request: TestRequest) => boolean = () => true,
  ) => {
    const found = calls.find((one) => one.by === holder && one.route === route && fits(one.request));
    return found?.request ?? assert.fail(`${holder} ${route}`);
  };
  const has = (text: string) => (request: TestRequest) => JSON.stringify(request).includes(text);
  const isByKey = ({ key }: TestRequest) => key !== undefined;
  const tokens = calls.filter(
    ({ request }) => request.method === 'GET' && request.url === '/v1/secrets/team/k' && !isByKey(request),
  );
  const [unlimited, limited] = tokens.map(({ request }) => request);
  assert.ok(unlimited !== undefined && limited !== undefined);
  const put = { method: 'PUT', json: { value: 'x' } };
  const verify = by('admin', 'POST /token/verify', has('"step_index"'));
  const opened = await call<{ approval_id: string }>({
    method: 'POST',
    url: '/v1/tokens',
    key: agent.key,
    json: { scopes: ['secrets:read:team/k'], require_approval: true },
  });
  const vote = {
    method: 'POST',
    url: `/v1/approvals/${opened.body.approval_id}/approve`,
    key: approver.key,
    json: {},
  };
  const poll = { method: 'GET', url: `/v1/approvals/agent/${opened.body.approval_id}`, key: agent.key };

  const cases: readonly (readonly [statement: string, request: TestRequest])[] = [
    ['issue_intent_tokens', by('agent', 'POST /token/issue')],
    ['repeat_intent_token', by('agent', 'POST /token/issue', has('a-repeat'))],
    ['delegate_intent_token', by('agent', 'POST /delegation/create')],
    ['delegate_intent_token', by('admin', 'POST /delegation/create')],
    ['use_intent_tokens', { ...verify, json: { ...(verify.json as object), consume: true } }],
    ['append_verifications', verify],
    ['append_verifications', by('agent', 'POST /iap/sdk/enforce')],
    ['append_caller_events', by('agent', 'POST /iap/enforce')],
    ['issue_scoped_tokens', by('agent', 'POST /v1/tokens')],
    ['lock_requesting_agent', by('agent', 'POST /v1/tokens', has('require_approval'))],
    ['use_unlimited_tokens', unlimited],
    ['use_tokens', limited],
    ['use_api_keys', by('agent', '/v1/secrets/*', (request) => request.method === 'GET' && isByKey(request))],
    ['check_scoped_token', { ...unlimited, ...put }],
    ['take_token_use', { ...limited, ...put }],
    [
      'check_api_key',
      by('agent', '/v1/secrets/*', (request) => request.method === 'PUT' && isByKey(request)),
    ],
    ['actor_decides_approvals', vote],
    ['claim_approval', poll],
  ];
  for (const [statement, request] of cases) {
    if (statement === 'claim_approval') assert.equal((await call(vote)).status, 200);
    // What is remembered is what most requests start from.
    if (request.method === 'GET' && statement !== 'claim_approval')
      assert.equal((await call(request)).status, 200);
    const count = planted;
    before = statement;
    const answer = await call(request);
    assert.equal(planted, count + 1, `${statement} was run`);
    assert.match(answer.text, /"EMERGENCY_STOP"/, `${statement}: ${answer.status} ${answer.text}`);
    assert.ok(answer.status === 403 || answer.status === 200, `${statement}: ${answer.status}`);
    await sql('set session_replication_role = replica');
    await sql('delete from emergency_stops');
    await sql('reset session_replication_role');
  }

  await t.test(
    'a vote of an approver who is stopped does not count meanwhile, and counts again',
    async () => {
      const say = (what: string, id: string) =>
        call({
          method: 'POST',
          url: `/v1/emergency/${what}`,
          key: adminKey,
          json: { agent: id, reason: 'r' },
        });
      const status = async () => (await call<{ status: string; token?: string }>(poll)).body;
      assert.equal((await say('stop', approver.id)).status, 200);
      assert.equal((await status()).status, 'pending');
      assert.equal((await say('resume', approver.id)).status, 200);
      const claimed = await status();
      assert.equal(claimed.status, 'approved');
      assert.match(claimed.token ?? '', /^ast_tok_/);
    },
  );
});
