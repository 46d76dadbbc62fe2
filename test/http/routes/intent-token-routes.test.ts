/**
 * `POST /token/issue` and `/iap/sdk/token` (contract sections 4.1 to 4.5): `issue.accepts`, `.refuses`, `.decides`, `.records`,
 * `.authenticates`. Answers are checked by `jose`, by the step-proof verifier and by recomputing every hash.
 */

import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from 'jose';
import { portableSha256 } from '../../../src/domain/crypto/hashing.ts';
import { parseStepProof, verifyStep } from '../../../src/domain/intent-tokens/step-proof.ts';
import { canonicalText } from '../../../src/domain/json/canonical-json.ts';
import type { JsonObject, JsonValue } from '../../../src/domain/json/strict-json.ts';
import {
  assertRefused,
  buildTestApp,
  errorOf,
  openTestApp,
  type TestAnswer,
  type TestApp,
} from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';

interface Issued {
  readonly success: boolean;
  readonly token: string;
  readonly token_id: string;
  readonly plan_id: string;
  readonly plan_hash: string;
  readonly merkle_root: string;
  readonly tree_size: number;
  readonly issued_at: number;
  readonly expires_at: number;
  readonly policy: JsonObject;
  readonly policy_hash: string;
  readonly composite_identity: string;
  readonly step_proofs: readonly { readonly step_index: number; readonly proof: JsonValue[] }[];
  readonly total_steps: number;
  readonly policy_validation: Readonly<Record<string, unknown>>;
  readonly signature: string;
}

interface SdkIssued extends Omit<Issued, 'token' | 'signature'> {
  readonly token: Readonly<Record<string, JsonValue>> & { readonly jwt_token: string };
  readonly jwt_token: string;
  readonly intent_reference: string;
  readonly client_info: Readonly<Record<string, string>>;
}

interface PlanVector {
  readonly plan: JsonObject;
  readonly plan_hash: string;
  readonly merkle_root: string;
  readonly tree_size: number;
  readonly step_proofs: JsonValue;
}

const vectors: { plans: PlanVector[] } = JSON.parse(
  readFileSync(new URL('../../vectors/merkle.json', import.meta.url), 'utf8'),
);

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const PLAN = {
  goal: 'send the weather',
  steps: [
    { action: 'get_weather', mcp: 'weather', params: { city: 'Zürich' } },
    { action: 'send', mcp: 'mail' },
    { action: 'note' },
  ],
};
const D = (value: JsonValue): string => portableSha256.hex(canonicalText(value));

const issue = ({ call, adminKey }: TestApp, json: unknown, key = adminKey): Promise<TestAnswer<Issued>> =>
  call<Issued>({ method: 'POST', url: '/token/issue', key, json });
const issueRaw = ({ call, adminKey }: TestApp, raw: string): Promise<TestAnswer<Issued>> =>
  call<Issued>({ method: 'POST', url: '/token/issue', key: adminKey, raw });

async function jwksOf({ call }: TestApp): Promise<JSONWebKeySet> {
  return (await call<JSONWebKeySet>({ method: 'GET', url: '/.well-known/jwks.json' })).body;
}

async function verified(server: TestApp, jwt: string): Promise<Record<string, unknown>> {
  const { payload } = await jwtVerify(jwt, createLocalJWKSet(await jwksOf(server)), {
    issuer: 'http://127.0.0.1:3000',
    audience: 'writ',
    algorithms: ['EdDSA'],
    typ: 'JWT',
    requiredClaims: ['iss', 'aud', 'exp', 'iat', 'nbf', 'jti', 'sub'],
  });
  return payload;
}

const tokens = ({ sql }: TestApp) => sql<{ jti: string }>('select * from intent_tokens order by jti');
const events = ({ sql }: TestApp, type: string) =>
  sql<{
    id: string;
    actor_id: string;
    actor_type: string;
    resource_type: string;
    resource_id: string;
    metadata: Record<string, unknown>;
    ip_address: string;
    request_id: string;
  }>('select * from audit_events where event_type = $1 order by created_at, id', [type]);

test('issue.accepts', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { id: agentId, key, keyId } = await server.createAgent();

  await t.test('the answer has every documented member, consistent with each other', async () => {
    const policy = { name: 'mine', allow: ['weather/*', '*'], deny: ['bank/transfer'], priority: 7 };
    const before = Date.now() / 1000;
    const { status, body } = await issue(
      server,
      { plan: PLAN, policy, expires_in: 120, user_id: 'u-1' },
      key,
    );
    assert.equal(status, 200);
    assert.deepEqual(
      Object.keys(body).sort(),
      [
        ...['success', 'token', 'token_id', 'plan_id', 'plan_hash', 'merkle_root', 'tree_size', 'issued_at'],
        ...['expires_at', 'policy', 'policy_hash', 'composite_identity', 'step_proofs', 'total_steps'],
        ...['policy_validation', 'signature'],
      ].sort(),
    );
    assert.equal(body.success, true);
    assert.match(body.token_id, UUID);
    assert.match(body.plan_id, UUID);
    assert.notEqual(body.plan_id, body.token_id);
    assert.equal(body.plan_hash, D(PLAN));
    assert.equal(body.total_steps, 3);
    assert.equal(body.tree_size, 6);
    assert.equal(body.expires_at - body.issued_at, 120);
    assert.ok(body.issued_at > before - 30 && body.issued_at < Date.now() / 1000 + 30);
    assert.deepEqual(body.policy, policy);
    assert.equal(body.policy_hash, D(policy));
    const identity = { user_id: 'u-1', agent_id: null, context_id: null, api_key_id: keyId };
    assert.equal(body.composite_identity, D(identity));
    assert.deepEqual(body.policy_validation, {
      allowed_tools: ['get_weather', 'send', 'note'],
      denied_tools: [],
      denied_reasons: [],
      default_enforcement_action: 'block',
    });
    const signature = body.token.split('.')[2] ?? '';
    assert.equal(body.signature, Buffer.from(signature, 'base64url').toString('hex'));
  });

  await t.test(
    'the JWT verifies from the published keys and its claims are exactly the documented ones',
    async () => {
      const policy = { allow: ['*'], rate_limit: 5, allowed_tools: ['get_weather', 'send', 'note'] };
      const named = { user_id: 'u', agent_id: 'a', context_id: 'c', user_email: 'e@example.org' };
      const { body } = await issue(server, { plan: PLAN, policy, ...named }, key);
      assert.deepEqual(await verified(server, body.token), {
        iss: 'http://127.0.0.1:3000',
        sub: 'u',
        client_id: agentId,
        aud: 'writ',
        iat: body.issued_at,
        nbf: body.issued_at - 5,
        exp: body.issued_at + 60,
        jti: body.token_id,
        token_use: 'intent',
        plan_hash: body.plan_hash,
        merkle_root: body.merkle_root,
        tree_size: 6,
        policy,
        policy_hash: D(policy),
        identity: { user_id: 'u', agent_id: 'a', context_id: 'c', api_key_id: keyId },
        authorization_details: [
          { type: 'writ_step', step_index: 0, locations: ['weather'], actions: ['get_weather'] },
          { type: 'writ_step', step_index: 1, locations: ['mail'], actions: ['send'] },
          { type: 'writ_step', step_index: 2, actions: ['note'] },
        ],
      });
      const header = decodeProtectedHeader(body.token);
      const [published] = (await jwksOf(server)).keys;
      assert.deepEqual(header, { alg: 'EdDSA', typ: 'JWT', kid: published?.kid });
    },
  );

  await t.test(
    'without a policy the default one is signed; without a user the principal is the subject',
    async () => {
      const { body } = await issue(server, { plan: PLAN }, key);
      const claims = await verified(server, body.token);
      assert.deepEqual(claims['policy'], { allow: ['*'], deny: [] });
      assert.deepEqual(body.policy, { allow: ['*'], deny: [] });
      assert.equal(body.policy_hash, D({ allow: ['*'], deny: [] }));
      assert.equal(claims['sub'], agentId);
      assert.deepEqual(claims['identity'], {
        user_id: null,
        agent_id: null,
        context_id: null,
        api_key_id: keyId,
      });
    },
  );

  await t.test('every step is proven by its proof, with its parameters, and no other step is', async () => {
    const { body } = await issue(server, { plan: PLAN }, key);
    for (const [stepIndex, step] of PLAN.steps.entries()) {
      const parsed = parseStepProof((body.step_proofs[stepIndex] ?? null) as JsonValue);
      assert.ok(parsed.ok);
      const ask = (subject: Parameters<typeof verifyStep>[0]['subject']) =>
        verifyStep(
          {
            treeSize: body.tree_size,
            merkleRootHex: body.merkle_root,
            stepIndex,
            subject,
            proof: parsed.proof,
          },
          portableSha256,
        ).ok;
      assert.ok(ask({ kind: 'step', step }));
      assert.ok(ask({ kind: 'action', action: step.action }));
      assert.ok(!ask({ kind: 'step', step: { ...step, mcp: 'other' } }));
      assert.ok(!ask({ kind: 'step', step: { ...step, extra: 1 } }));
      assert.ok(!ask({ kind: 'action', action: 'other' }));
    }
  });

  await t.test('the plans of the vectors give their hash, root, size and proofs', async () => {
    assert.ok(vectors.plans.length >= 3);
    for (const vector of vectors.plans) {
      const { body } = await issue(server, { plan: vector.plan, dry_run: true }, key);
      const { plan_hash, merkle_root, tree_size, step_proofs } = body;
      assert.deepEqual(
        { plan_hash, merkle_root, tree_size, step_proofs },
        {
          plan_hash: vector.plan_hash,
          merkle_root: vector.merkle_root,
          tree_size: vector.tree_size,
          step_proofs: vector.step_proofs,
        },
      );
    }
  });

  await t.test('/iap/sdk/token gives the same facts, and an object that its SDKs verify', async () => {
    const { body, status } = await server.call<SdkIssued>({
      method: 'POST',
      url: '/iap/sdk/token',
      key,
      json: { plan: PLAN, policy: { allow: ['*'] }, expires_in: 60.0 },
    });
    assert.equal(status, 200);
    assert.deepEqual(
      Object.keys(body).sort(),
      [
        ...['success', 'token', 'token_id', 'plan_id', 'plan_hash', 'merkle_root', 'tree_size', 'issued_at'],
        ...['expires_at', 'policy', 'policy_hash', 'composite_identity', 'step_proofs', 'total_steps'],
        ...['policy_validation', 'jwt_token', 'intent_reference', 'client_info'],
      ].sort(),
    );
    assert.equal(body.intent_reference, body.token_id);
    assert.equal(body.client_info['clientId'], agentId);
    assert.deepEqual(Object.keys(body.client_info), ['clientId', 'clientName', 'orgId']);
    const { signature, token_id, merkle_root, jwt_token, ...signed } = body.token;
    assert.deepEqual([token_id, merkle_root, jwt_token], [body.token_id, body.merkle_root, body.jwt_token]);
    assert.deepEqual(signed, {
      plan_hash: body.plan_hash,
      issued_at: body.issued_at,
      expires_at: body.expires_at,
      policy: { allow: ['*'] },
      identity: body.composite_identity,
      public_key: signed['public_key'],
      version: '1.0',
    });
    const x = Buffer.from(String(signed['public_key']), 'hex').toString('base64url');
    assert.equal((await jwksOf(server)).keys[0]?.x, x);
    const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    const bytes = Buffer.from(canonicalText(signed));
    assert.ok(verify(null, bytes, publicKey, Buffer.from(String(signature), 'hex')));
    assert.equal((await verified(server, body.jwt_token))['jti'], body.token_id);
  });

  await t.test(
    'a validity is a number with a positive whole value, in either spelling or both alike',
    async () => {
      for (const [members, seconds] of [
        ['', 60],
        ['"expires_in":60.0,', 60],
        ['"expires_in":6e1,', 60],
        ['"expires_in":1,', 1],
        ['"validity_seconds":86400,', 86_400],
        ['"expires_in":90,"validity_seconds":90.0,', 90],
        ['"expires_in":null,"validity_seconds":30,', 30],
      ] as const) {
        const { status, body, text } = await issueRaw(
          server,
          `{${members}"plan":{"steps":[{"action":"a"}]}}`,
        );
        assert.equal(status, 200, `${members} ${text}`);
        assert.equal(body.expires_at - body.issued_at, seconds, members);
      }
    },
  );

  await t.test('an optional member that is null counts as absent', async () => {
    const nothing = Object.fromEntries(
      [
        ...['policy', 'expires_in', 'validity_seconds', 'user_id', 'agent_id', 'context_id', 'user_email'],
        ...['dry_run', 'metadata', 'llm', 'prompt'],
      ].map((name) => [name, null]),
    );
    const { status, body } = await issue(server, { plan: PLAN, ...nothing }, key);
    assert.equal(status, 200);
    const claims = await verified(server, body.token);
    assert.equal(claims['sub'], agentId);
    assert.deepEqual(claims['policy'], { allow: ['*'], deny: [] });
  });

  await t.test('the SDK’s word for "not given" counts as absent', async () => {
    const not = '__sdk_multiuser__';
    const { body } = await issue(server, { plan: PLAN, user_id: not, agent_id: not, context_id: not }, key);
    const claims = await verified(server, body.token);
    assert.equal(claims['sub'], agentId);
    assert.doesNotMatch(JSON.stringify(claims), /__sdk_multiuser__/);
  });

  await t.test('whose behalf a caller names never changes whose token it is', async () => {
    const admin = await server.call<{ id: string }>({ method: 'GET', url: '/v1/me', key: server.adminKey });
    const named = { user_id: admin.body.id, agent_id: admin.body.id };
    const { body } = await issue(server, { plan: PLAN, ...named }, key);
    const claims = await verified(server, body.token);
    assert.equal(claims['client_id'], agentId);
    const [row] = await server.sql('select agent_id, key_id from intent_tokens where jti = $1', [
      body.token_id,
    ]);
    assert.deepEqual(row, { agent_id: agentId, key_id: keyId });
  });

  await t.test('a step is signed as sent: null, order and unknown members included', async () => {
    const raw =
      '{"plan":{"steps":[{"z":null,"action":"a","b":[1.0,-0.0,"\\u00e9\\ud83d\\ude00"],"a":{}}],"k":null}}';
    const { body } = await issueRaw(server, raw);
    const text = '{"k":null,"steps":[{"a":{},"action":"a","b":[1,0,"\\u00e9\\ud83d\\ude00"],"z":null}]}';
    assert.equal(body.plan_hash, portableSha256.hex(text));
  });

  await t.test('1000 steps are a plan', async () => {
    const steps = Array.from({ length: 1000 }, (_, index) => ({ action: `a${index}` }));
    const { status, body } = await issue(server, { plan: { steps }, dry_run: true });
    assert.deepEqual([status, body.tree_size, body.step_proofs.length], [200, 2000, 1000]);
  });

  await t.test('a canonical plan of exactly 256 KiB is one', async () => {
    const around = '{"steps":[{"action":"a","x":""}]}'.length;
    const plan = (bytes: number) => ({ steps: [{ action: 'a', x: 'x'.repeat(bytes - around) }] });
    assert.equal((await issue(server, { plan: plan(256 * 1024), dry_run: true })).status, 200);
    const refused = await issue(server, { plan: plan(256 * 1024 + 1), dry_run: true });
    assertRefused(refused, { status: 413, code: 'PAYLOAD_TOO_LARGE' });
    // What counts is the canonical text: one such character is six bytes of it.
    const escaped = { steps: [{ action: 'a', x: 'é'.repeat(50_000) }] };
    assertRefused(await issue(server, { plan: escaped }), { status: 413, code: 'PAYLOAD_TOO_LARGE' });
  });

  await t.test('a canonical policy of exactly 256 KiB is one, and its token can be verified', async () => {
    const plan = { steps: [{ action: 'a' }] };
    const tools = ['a', ...Array.from({ length: 2010 }, () => 'x'.repeat(127))];
    const around = canonicalText({ allow: ['*'], allowed_tools: tools, name: '' }).length;
    const policy = (bytes: number) => ({
      allow: ['*'],
      allowed_tools: tools,
      name: 'n'.repeat(bytes - around),
    });
    assert.equal(canonicalText(policy(256 * 1024)).length, 262_144);
    const issued = await issue(server, { plan, policy: policy(256 * 1024) });
    assert.equal(issued.status, 200, issued.text.slice(0, 200));
    const json = { token: issued.body.token };
    const { body } = await server.call<{ code: string }>({ method: 'POST', url: '/token/verify', json });
    assert.equal(body.code, 'VALID');
    const kept = (await tokens(server)).length;
    for (const dry_run of [true, false]) {
      const refused = await issue(server, { plan, policy: policy(256 * 1024 + 1), dry_run });
      assertRefused(refused, { status: 413, code: 'PAYLOAD_TOO_LARGE' });
    }
    assert.equal((await tokens(server)).length, kept);
  });
});

test('issue.refuses', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const steps = (count: number) => Array.from({ length: count }, () => ({ action: 'a' }));
  const step = (members: Record<string, unknown>) => ({ plan: { steps: [{ action: 'a', ...members }] } });
  const good = { steps: [{ action: 'a', mcp: 'm' }] };

  const refusesAll = async (
    status: number,
    code: string,
    rows: readonly (readonly [json: unknown, details?: Record<string, unknown>])[],
  ): Promise<void> => {
    for (const url of ['/token/issue', '/iap/sdk/token']) {
      for (const [json, details] of rows) {
        const body = typeof json === 'string' ? { raw: json } : { json };
        const answer = await server.call({ method: 'POST', url, key: server.adminKey, ...body });
        const about = typeof json === 'string' ? json : JSON.stringify(json).slice(0, 200);
        assertRefused(answer, { status, code, ...(details === undefined ? {} : { details }) }, about);
        assert.notEqual(errorOf(answer).message, '');
      }
    }
    assert.deepEqual(await tokens(server), []);
    assert.deepEqual(await events(server, 'intent.issued'), []);
  };

  await t.test('what is no plan: INVALID_PLAN with the place of the fault', () =>
    refusesAll(400, 'INVALID_PLAN', [
      [{}, { pointer: '/plan' }],
      [{ plan: null }, { pointer: '/plan' }],
      [{ plan: 'x' }, { pointer: '/plan' }],
      [{ plan: [] }, { pointer: '/plan' }],
      [{ plan: {} }, { pointer: '/plan/steps' }],
      [{ plan: { steps: null } }, { pointer: '/plan/steps' }],
      [{ plan: { steps: {} } }, { pointer: '/plan/steps' }],
      [{ plan: { steps: [] } }, { pointer: '/plan/steps' }],
      [{ plan: { steps: steps(1001) } }, { pointer: '/plan/steps' }],
      [{ plan: { steps: ['a'] } }, { pointer: '/plan/steps/0' }],
      [{ plan: { steps: [null] } }, { pointer: '/plan/steps/0' }],
      [{ plan: { steps: [{ action: 'a' }, []] } }, { pointer: '/plan/steps/1' }],
      [{ plan: { steps: [{}] } }, { pointer: '/plan/steps/0/action' }],
      [step({ action: null }), { pointer: '/plan/steps/0/action' }],
      [step({ action: '' }), { pointer: '/plan/steps/0/action' }],
      [step({ action: 7 }), { pointer: '/plan/steps/0/action' }],
      [step({ action: 'a b' }), { pointer: '/plan/steps/0/action' }],
      [step({ action: 'é' }), { pointer: '/plan/steps/0/action' }],
      [step({ action: 'a\n' }), { pointer: '/plan/steps/0/action' }],
      [step({ action: 'a'.repeat(129) }), { pointer: '/plan/steps/0/action' }],
      [step({ mcp: null }), { pointer: '/plan/steps/0/mcp' }],
      [step({ mcp: '' }), { pointer: '/plan/steps/0/mcp' }],
      [step({ mcp: 'a/b' }), { pointer: '/plan/steps/0/mcp' }],
      [step({ mcp: ['m'] }), { pointer: '/plan/steps/0/mcp' }],
    ]),
  );

  await t.test('what has no canonical form: PLAN_NOT_CANONICALIZABLE with the reason', () =>
    refusesAll(400, 'PLAN_NOT_CANONICALIZABLE', [
      ['{"plan":{"steps":[{"action":"a","x":1e400}]}}', { reason: 'number_out_of_range' }],
      ['{"plan":{"steps":[{"action":"a","x":-1e400}]}}', { reason: 'number_out_of_range' }],
      ['{"plan":{"steps":[{"action":"a","x":1e-400}]}}', { reason: 'number_out_of_range' }],
      ['{"plan":{"steps":[{"action":"a","x":[-1e-400]}]}}', { reason: 'number_out_of_range' }],
      ['{"plan":{"steps":[{"action":"a"}],"x":{"y":0.0e0,"z":1e-999}}}', { reason: 'number_out_of_range' }],
      ['{"plan":{"steps":[{"action":"a","x":9007199254740992}]}}', { reason: 'number_out_of_range' }],
      ['{"plan":{"steps":[{"action":"a","x":"\\u0000"}]}}', { reason: 'nul_character' }],
      ['{"plan":{"steps":[{"action":"a"}],"\\u0000":1}}', { reason: 'nul_character' }],
      ['{"plan":{"steps":[{"action":"a"}],"\\ud83d\\ude00":1}}', { reason: 'astral_key' }],
      ['{"plan":{"steps":[{"action":"a"}]},"policy":{"name":"\\u0000"}}', { reason: 'nul_character' }],
      ['{"plan":{"steps":[{"action":"a"}]},"policy":{"priority":1e-400}}', { reason: 'number_out_of_range' }],
    ]),
  );

  await t.test('what is no policy: INVALID_POLICY with the place of the fault', () =>
    refusesAll(
      400,
      'INVALID_POLICY',
      (
        [
          ['x', ''],
          [[], ''],
          [7, ''],
          [{ allow: '*' }, '/allow'],
          [{ allow: null }, '/allow'],
          [{ allow: ['*', 7] }, '/allow/1'],
          [{ deny: ['**'] }, '/deny/0'],
          [{ deny: ['a'] }, '/deny/0'],
          [{ allow: ['a/../b'] }, '/allow/0'],
          [{ allow: Array.from({ length: 257 }, () => '*') }, '/allow'],
          [{ allowed_tools: ['a b'] }, '/allowed_tools/0'],
          [{ rate_limit: 0 }, '/rate_limit'],
          [{ rate_limit: 1.5 }, '/rate_limit'],
          [{ rate_limit: '5' }, '/rate_limit'],
          [{ ip_whitelist: ['300.1.1.1'] }, '/ip_whitelist/0'],
          [{ ip_whitelist: ['10.0.0.1/8'] }, '/ip_whitelist/0'],
          [{ time_restrictions: { allowed_hours: [24] } }, '/time_restrictions/allowed_hours/0'],
          [{ time_restrictions: { allowed_days: ['monday'] } }, '/time_restrictions/allowed_days/0'],
          [{ time_restrictions: { zone: 'CET' } }, '/time_restrictions/zone'],
          [{ priority: 101 }, '/priority'],
          [{ max_amount: 5 }, '/max_amount'],
          [{ 'a/b': 5 }, '/a~1b'],
        ] as const
      ).map(([policy, pointer]) => [{ plan: good, policy }, { pointer: `/policy${pointer}` }] as const),
    ),
  );

  await t.test('what is no number of seconds: INVALID_TTL', () =>
    refusesAll(
      400,
      'INVALID_TTL',
      ['expires_in', 'validity_seconds'].flatMap((name) => [
        ...['60', 0, -1, 1.5, true, [60], '1m', {}].map(
          (value) => [{ plan: good, [name]: value }, { pointer: `/${name}` }] as const,
        ),
        [`{"plan":{"steps":[{"action":"a"}]},"${name}":1e400}`] as const,
        [`{"plan":{"steps":[{"action":"a"}]},"${name}":1e-400}`] as const,
      ]),
    ),
  );

  await t.test('more seconds than a day: TTL_OUT_OF_RANGE', () =>
    refusesAll(400, 'TTL_OUT_OF_RANGE', [
      [{ plan: good, expires_in: 86_401 }, { pointer: '/expires_in' }],
      [{ plan: good, validity_seconds: 86_401 }, { pointer: '/validity_seconds' }],
      [{ plan: good, expires_in: 1e300 }, { pointer: '/expires_in' }],
    ]),
  );

  await t.test('what is asked twice and differently, or is no text: VALIDATION_ERROR', () =>
    refusesAll(400, 'VALIDATION_ERROR', [
      [{ plan: good, expires_in: 60, validity_seconds: 61 }],
      [{ plan: good, user_id: 'a\u0000b' }, { pointer: '/user_id' }],
      [{ plan: good, agent_id: '\u0000' }, { pointer: '/agent_id' }],
      [{ plan: good, context_id: '\u0000' }, { pointer: '/context_id' }],
      [{ plan: good, user_email: '\u0000' }, { pointer: '/user_email' }],
      [{ plan: good, user_id: 'u'.repeat(257) }, { pointer: '/user_id' }],
      [{ plan: good, user_id: 7 }, { pointer: '/user_id' }],
      [{ plan: good, dry_run: 'true' }, { pointer: '/dry_run' }],
      [{ plan: good, dry_run: 1 }, { pointer: '/dry_run' }],
      [{ plan: good, Policy: {} }, { pointer: '/Policy' }],
      [{ plan: good, ttl: 60 }, { pointer: '/ttl' }],
    ]),
  );

  await t.test('metadata that cannot be kept: VALIDATION_ERROR', () =>
    refusesAll(400, 'VALIDATION_ERROR', [
      [{ plan: good, metadata: [] }, { pointer: '/metadata' }],
      [{ plan: good, metadata: { x: 'x'.repeat(8 * 1024) } }, { pointer: '/metadata' }],
      [{ plan: good, metadata: { x: '\u0000' } }, { pointer: '/metadata' }],
      [{ plan: good, metadata: { 'a\u0000': 1 } }, { pointer: '/metadata' }],
      [{ plan: good, metadata: { a: { b: [['\u0000']] } } }, { pointer: '/metadata' }],
      ['{"plan":{"steps":[{"action":"a"}]},"metadata":{"x":1e400}}', { pointer: '/metadata' }],
      ['{"plan":{"steps":[{"action":"a"}]},"metadata":{"x":[-1e400]}}', { pointer: '/metadata' }],
    ]),
  );
});

test('issue.decides', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const plan = {
    steps: [
      { action: 'send', mcp: 'mail' },
      { action: 'look', mcp: 'files' },
    ],
  };

  await t.test('one denied step refuses the whole plan and says which, beside the envelope', async () => {
    const { id, key, keyId } = await server.createAgent();
    const policy = { allow: ['*'], deny: ['mail/*'] };
    for (const url of ['/token/issue', '/iap/sdk/token']) {
      const answer = await server.call<Record<string, unknown>>({
        method: 'POST',
        url,
        key,
        json: { plan, policy },
      });
      assertRefused(answer, { status: 403, code: 'POLICY_DENIED' });
      assert.deepEqual(Object.keys(answer.body).sort(), [
        ...[
          'allowed',
          'error',
          'error_code',
          'message',
          'policy_validation',
          'reason',
          'request_id',
          'success',
        ],
      ]);
      const validation = answer.body['policy_validation'] as Record<string, unknown>;
      assert.deepEqual(validation['allowed_tools'], ['look']);
      assert.deepEqual(validation['denied_tools'], ['send']);
      assert.equal((validation['denied_reasons'] as string[]).length, 1);
      assert.equal(validation['default_enforcement_action'], 'block');
    }
    assert.deepEqual(await tokens(server), []);
    // The second was equal, so it is counted and not written again.
    const denied = await events(server, 'intent.denied');
    assert.equal(denied.length, 1);
    assert.deepEqual([denied[0]?.actor_id, denied[0]?.actor_type], [id, 'agent']);
    assert.equal(denied[0]?.metadata['code'], 'POLICY_DENIED');
    assert.equal(denied[0]?.metadata['credential'], keyId);
    await issue(server, { plan: { ...plan, goal: 'another' }, policy }, key);
    assert.equal((await events(server, 'intent.denied')).length, 2, 'another plan is another refusal');
  });

  await t.test('an agent’s own policy is decided beside the request’s and is not signed', async () => {
    const own = { deny: ['mail/*'] };
    const { key } = await server.createAgent({ policy: own });
    const refused = await issue(server, { plan, policy: { allow: ['*'] } }, key);
    assertRefused(refused, { status: 403, code: 'POLICY_DENIED' });
    const allowed = { steps: [{ action: 'look', mcp: 'files' }] };
    const { body } = await issue(server, { plan: allowed }, key);
    assert.deepEqual((await verified(server, body.token))['policy'], { allow: ['*'], deny: [] });
    const both = await issue(server, { plan: allowed, policy: { deny: ['files/*'] } }, key);
    assertRefused(both, { status: 403, code: 'POLICY_DENIED' });
  });

  await t.test('a policy that was changed on another replica holds as well', async (t) => {
    const agent = await server.createAgent({ policy: { deny: ['mail/*'] } });
    const other = await openTestApp(t, server.databaseUrl);
    assert.equal((await issue(other, { plan }, agent.key)).status, 403);
    const url = `/v1/agents/${agent.id}`;
    await server.call({ method: 'PATCH', url, key: server.adminKey, json: { policy: null } });
    assert.equal((await issue(other, { plan }, agent.key)).status, 200);
    await server.call({ method: 'PATCH', url, key: server.adminKey, json: { policy: { allow: [] } } });
    assert.equal((await issue(other, { plan }, agent.key)).status, 403);
  });
});

test('issue.records', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { id: agentId, key, keyId } = await server.createAgent();

  await t.test('a token is one row and exactly one event, with what is documented', async () => {
    const metadata = { ticket: 'T-1', deep: { list: [1, null, 'é'] } };
    const named = { user_id: 'u', agent_id: 'a', context_id: 'c', user_email: 'e@example.org' };
    const policy = { deny: ['x/y'] };
    const answer = await issue(
      server,
      { plan: PLAN, policy, metadata, ...named, prompt: 'p', llm: 'l' },
      key,
    );
    const { body } = answer;
    const rows = await server.sql(
      `select plan_id, agent_id, key_id, kid, plan_hash, merkle_root, tree_size, policy, actions, revoked_at, root_jti,
        ancestors, extract(epoch from issued_at)::int as iat, extract(epoch from expires_at)::int as exp
       from intent_tokens where jti = $1`,
      [body.token_id],
    );
    assert.deepEqual(rows, [
      {
        plan_id: body.plan_id,
        agent_id: agentId,
        key_id: keyId,
        kid: decodeProtectedHeader(body.token).kid,
        plan_hash: body.plan_hash,
        merkle_root: body.merkle_root,
        tree_size: 6,
        policy: canonicalText(policy),
        actions: canonicalText([
          ['weather', 'get_weather'],
          ['mail', 'send'],
          [null, 'note'],
        ]),
        revoked_at: null,
        root_jti: body.token_id,
        ancestors: [],
        iat: body.issued_at,
        exp: body.expires_at,
      },
    ]);
    const [event, ...more] = await events(server, 'intent.issued');
    assert.deepEqual(more, []);
    assert.deepEqual(
      [event?.actor_id, event?.actor_type, event?.resource_type, event?.resource_id],
      [agentId, 'agent', 'intent_token', body.token_id],
    );
    assert.equal(event?.ip_address, '127.0.0.1');
    assert.equal(event?.request_id, answer.headers['x-request-id']);
    assert.deepEqual(event?.metadata, {
      key_id: keyId,
      plan_id: body.plan_id,
      plan_hash: body.plan_hash,
      ...named,
      metadata,
    });
  });

  await t.test('neither a token nor the plan nor prompt and llm is kept', async () => {
    const canary = 'canary-7f3a';
    const secret = { plan: { steps: [{ action: 'a', x: canary }] }, prompt: canary, llm: { m: canary } };
    const { body } = await issue(server, secret, key);
    const rows = await server.sql<{ row: string }>(
      'select intent_tokens::text as row from intent_tokens union all select audit_events::text from audit_events',
    );
    const kept = rows.map(({ row }) => row).join('\n');
    assert.ok(kept.includes(body.token_id));
    assert.ok(!kept.includes(canary));
    assert.ok(!kept.includes(body.token.split('.')[2] ?? ''));
  });

  await t.test('tokens of requests at once each have their row and their event', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => issue(server, { plan: PLAN }, key)));
    const ids = answers.map(({ body }) => body.token_id);
    assert.equal(new Set(ids).size, 20);
    const known = new Set((await tokens(server)).map(({ jti }) => jti));
    const told = (await events(server, 'intent.issued')).map(({ resource_id }) => resource_id);
    for (const id of ids) {
      assert.ok(known.has(id));
      assert.equal(told.filter((told) => told === id).length, 1);
    }
    assert.equal(known.size, told.length);
  });

  await t.test('a dry run answers hashes and validation, signs nothing and records nothing', async () => {
    const counts = async () => [
      (await tokens(server)).length,
      (await events(server, 'intent.issued')).length,
    ];
    const before = await counts();
    for (const url of ['/token/issue', '/iap/sdk/token']) {
      const answer = await server.call<Issued>({
        method: 'POST',
        url,
        key,
        json: { plan: PLAN, dry_run: true, user_id: 'u' },
      });
      assert.equal(answer.status, 200);
      assert.equal(answer.body.plan_hash, D(PLAN));
      assert.equal(answer.body.step_proofs.length, 3);
      assert.equal(typeof answer.body.policy_validation, 'object');
      for (const member of ['token', 'jwt_token', 'token_id', 'signature', 'plan_id', 'expires_at']) {
        assert.ok(!(member in answer.body), member);
      }
      assert.doesNotMatch(answer.text, /eyJ/);
    }
    assert.deepEqual(await counts(), before);
  });

  await t.test('a dry run of a denied plan is refused like the plan itself', async () => {
    const answer = await issue(server, { plan: PLAN, dry_run: true, policy: { allow: [] } }, key);
    assertRefused(answer, { status: 403, code: 'POLICY_DENIED' });
  });

  await t.test('without the audit trail there is no token', async (t) => {
    const other = await buildTestApp(t);
    await other.sql("alter table audit_events add constraint closed check (event_type <> 'intent.issued')");
    const answer = await issue(other, { plan: PLAN });
    assert.ok(answer.status >= 500, answer.text);
    assert.doesNotMatch(answer.text, /eyJ|closed|constraint|audit_events/);
    assert.deepEqual(await tokens(other), []);
  });
});

test('issue.authenticates', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const denied = { plan: { steps: [{ action: 'a', mcp: 'm' }] }, policy: { allow: [] } };

  await t.test('admins and agents may, an approver may not, and that is on record once', async () => {
    const approver = await server.createAgent({ role: 'approver' });
    assert.equal((await issue(server, { plan: PLAN })).status, 200);
    for (const url of ['/token/issue', '/token/issue']) {
      const answer = await server.call({ method: 'POST', url, key: approver.key, json: { plan: PLAN } });
      assertRefused(answer, { status: 403, code: 'FORBIDDEN' });
    }
    const [event, ...more] = await events(server, 'auth.denied');
    assert.deepEqual(more, []);
    assert.deepEqual(
      [event?.actor_id, event?.actor_type, event?.resource_id, event?.metadata['code']],
      [approver.id, 'approver', 'POST /token/issue', 'FORBIDDEN'],
    );
  });

  for (const [what, statement] of [
    ['a revoked key', 'update api_keys set revoked_at = now() where key_id = $2 and $1::uuid is not null'],
    [
      'a key of a revoked agent',
      'update agents set revoked_at = now() where id = $1 and $2::text is not null',
    ],
    [
      'an expired key',
      "update api_keys set expires_at = now() - interval '1 second' where key_id = $2 and $1::uuid is not null",
    ],
  ] as const) {
    await t.test(`${what} is refused at once, although it is remembered, whatever it asks`, async () => {
      const agent = await server.createAgent();
      assert.equal((await issue(server, { plan: PLAN }, agent.key)).status, 200);
      const before = (await tokens(server)).length;
      await server.sql(statement, [agent.id, agent.keyId]);
      const code = what === 'an expired key' ? 'AUTH_EXPIRED_KEY' : 'AUTH_INVALID_KEY';
      for (const [asked, json] of [
        ['a token', { plan: PLAN }],
        ['a dry run', { plan: PLAN, dry_run: true }],
        ['a plan that its policy denies', denied],
      ] as const) {
        assertRefused(await issue(server, json, agent.key), { status: 401, code }, asked);
      }
      assert.equal((await tokens(server)).length, before);
      assert.deepEqual(
        (await events(server, 'intent.denied')).filter(({ actor_id }) => actor_id === agent.id),
        [],
      );
    });
  }

  await t.test('the refusal of a remembered key that was revoked is on record', async () => {
    for (const [url, method] of [
      ['/token/issue', 'POST'],
      ['/v1/me', 'GET'],
    ] as const) {
      const agent = await server.createAgent();
      assert.equal((await server.call({ method: 'GET', url: '/v1/me', key: agent.key })).status, 200);
      await server.sql('update api_keys set revoked_at = now() where key_id = $1', [agent.keyId]);
      const body = method === 'POST' ? { json: { plan: PLAN } } : {};
      assert.equal((await server.call({ method, url, key: agent.key, ...body })).status, 401);
      const recorded = (await events(server, 'auth.denied')).filter(
        ({ metadata }) => metadata['credential'] === agent.keyId,
      );
      assert.equal(recorded.length, 1, url);
      assert.equal(recorded[0]?.metadata['code'], 'AUTH_INVALID_KEY');
    }
  });
});

test('the published keys', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const get = (headers: Record<string, string> = {}) =>
    server.call<JSONWebKeySet>({ method: 'GET', url: '/.well-known/jwks.json', headers });

  await t.test('are public halves only, to be kept for five minutes', async () => {
    const answer = await get();
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['cache-control'], 'public, max-age=300');
    assert.match(answer.headers['etag'] ?? '', /^"[^"]+"$/);
    assert.equal(answer.body.keys.length, 1);
    for (const jwk of answer.body.keys) {
      assert.deepEqual(Object.keys(jwk).sort(), ['alg', 'crv', 'kid', 'kty', 'use', 'x']);
      const { kty, crv, x } = jwk;
      const digest = portableSha256.bytes(new TextEncoder().encode(JSON.stringify({ crv, kty, x })));
      assert.equal(jwk.kid, Buffer.from(digest).toString('base64url'), 'RFC 7638');
    }
  });

  await t.test('are not sent again to who has them', async () => {
    const etag = (await get()).headers['etag'] ?? '';
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const answer = await get({ 'if-none-match': known });
      assert.deepEqual([answer.status, answer.text], [304, ''], known);
      assert.equal(answer.headers['etag'], etag);
      assert.equal(answer.headers['cache-control'], 'public, max-age=300');
    }
    assert.equal((await get({ 'if-none-match': '"other"' })).status, 200);
    assert.equal((await get({ 'if-none-match': etag.slice(1, -1) })).status, 200);
  });
});
