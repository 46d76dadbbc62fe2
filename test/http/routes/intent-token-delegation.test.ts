/**
 * `POST /delegation/create` and `POST /iap/trust/delegate` (contract section 4.7): `delegation.accepts`, `.enforces`,
 * `.refuses`. A delegation is a token over the same plan with fewer actions, an earlier end and the key of a delegate.
 */
import assert from 'node:assert/strict';
import { createHash, createPublicKey, verify as verifySignature } from 'node:crypto';
import { test } from 'node:test';
import { calculateJwkThumbprintUri } from 'jose';
import { canonicalText } from '../../../src/domain/json/canonical-json.ts';
import type { JsonValue } from '../../../src/domain/json/strict-json.ts';
import { createVerifier, type JsonWebKeySet, type VerificationError } from '../../../src/verify.ts';
import { assertRefused, buildTestApp, type TestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { claimsIn } from '../../verify/signed-tokens.ts';
import { aDelegateKey, delegationClient, STEPS } from './delegation-calls.ts';

const D = (value: unknown): string =>
  createHash('sha256')
    .update(canonicalText(value as JsonValue))
    .digest('hex');
const jwkOf = (keyHex: string) => ({
  kty: 'OKP',
  crv: 'Ed25519',
  x: Buffer.from(keyHex, 'hex').toString('base64url'),
});

async function opened(t: Parameters<typeof buildTestApp>[0]) {
  const server = await buildTestApp(t);
  const agent = await server.createAgent();
  return { server, agent, client: delegationClient(server) };
}

const eventsOf = ({ sql }: TestApp, jti: string) =>
  sql<{ event_type: string; actor_id: string; metadata: Record<string, unknown> }>(
    `select event_type, actor_id, metadata from audit_events where resource_id = $1 order by created_at`,
    [jti],
  );

test('delegation.accepts', { skip: postgresSkip }, async (t) => {
  const { server, agent, client } = await opened(t);

  await t.test(
    'the answer has what the SDKs read, and the claims are exactly the documented ones',
    async () => {
      for (const url of ['/delegation/create', '/iap/trust/delegate']) {
        const policy = { allow: ['hotels/*', '*'], deny: ['mail/send'], rate_limit: 9 };
        const parent = await client.issue(agent.key, { user_id: 'u', context_id: 'c', policy });
        const keyHex = aDelegateKey();
        const json = {
          token: parent.token,
          delegate_public_key: keyHex,
          validity_seconds: 60.0,
          allowed_actions: ['book', 'search', 'book'],
          target_agent: 'booker',
          subtask: { goal: 'book it' },
        };
        const { status, text, body } = await client.ask(agent.key, json, url);
        assert.equal(status, 200, text);
        const { delegation } = body;
        const claims = claimsIn(delegation.jwt_token);
        const sub = await calculateJwkThumbprintUri(jwkOf(keyHex));
        const { iat } = claims as { iat: number };
        const identity = { user_id: 'u', agent_id: null, context_id: 'c', api_key_id: agent.keyId };
        const details = parent.claims['authorization_details'] as { actions: string[] }[];
        assert.deepEqual(claims, {
          ...parent.claims,
          iat,
          nbf: iat - 5,
          exp: iat + 60,
          jti: body.delegation_id,
          identity,
          authorization_details: details.filter(({ actions: [action] }) => action !== 'note'),
          allowed_actions: ['book', 'search'],
          act: { sub, target_agent: 'booker' },
          cnf: { jwk: jwkOf(keyHex) },
          parent_jti: parent.jti,
          root_jti: parent.jti,
        });
        const signed = {
          plan_hash: parent.claims['plan_hash'],
          issued_at: iat,
          expires_at: iat + 60,
          policy,
          identity: D(identity),
          public_key: parent.token['public_key'],
          version: '1.0',
          allowed_operations: ['book', 'search'],
        };
        const { signature, jwt_token, ...others } = delegation;
        assert.deepEqual(others, {
          ...signed,
          token_id: body.delegation_id,
          merkle_root: parent.claims['merkle_root'],
          plan_id: others['plan_id'],
          composite_identity: D(identity),
          client_info: { clientId: agent.id, clientName: agent.name, orgId: 'self-hosted' },
          policy_validation: {
            allowed_tools: ['search', 'book'],
            denied_tools: [],
            denied_reasons: [],
            default_enforcement_action: 'block',
          },
          step_proofs: [],
          total_steps: 4,
        });
        const publicKey = createPublicKey({ key: jwkOf(String(signed.public_key)), format: 'jwk' });
        const bytes = Buffer.from(canonicalText(signed as JsonValue));
        assert.ok(verifySignature(null, bytes, publicKey, Buffer.from(String(signature), 'hex')));
        const { success, expires_at, status: state, trust_delta } = body;
        assert.deepEqual([success, expires_at, state, trust_delta], [true, iat + 60, 'delegated', {}]);
        const [row] = await server.sql(
          `select child.plan_id = parent.plan_id as plan, child.root_jti, child.ancestors, child.agent_id, child.actions
         from intent_tokens child join intent_tokens parent on parent.jti = $2 where child.jti = $1`,
          [body.delegation_id, parent.jti],
        );
        assert.deepEqual(row, {
          plan: true,
          root_jti: parent.jti,
          ancestors: [parent.jti],
          agent_id: agent.id,
          actions: '[["hotels","search"],["hotels","book"],["trains","search"]]',
        });
      }
    },
  );

  await t.test('its event says who delegated what to whom', async () => {
    const parent = await client.issue(agent.key);
    const keyHex = aDelegateKey();
    const child = await client.delegate(server.adminKey, parent.jwt, {
      delegate_public_key: keyHex,
      allowed_actions: ['note'],
      target_agent: 'writer',
      subtask: { n: 1 },
    });
    const [event, ...others] = await eventsOf(server, child.jti);
    assert.deepEqual(others, []);
    assert.equal(event?.event_type, 'intent.delegated');
    const { key_id: _, ...metadata } = event.metadata;
    assert.deepEqual(metadata, {
      agent_id: agent.id,
      parent_jti: parent.jti,
      root_jti: parent.jti,
      delegate: await calculateJwkThumbprintUri(jwkOf(keyHex)),
      allowed_actions: ['note'],
      allowed_actions_count: 1,
      target_agent: 'writer',
      subtask: { n: 1 },
    });
    // An administrator passes on the authority of the agent, not its own.
    assert.notEqual(event.actor_id, agent.id);
    assert.equal(child.claims['client_id'], agent.id);
    assert.deepEqual(child.delegation['client_info'], {
      clientId: agent.id,
      clientName: agent.name,
      orgId: 'self-hosted',
    });
  });

  await t.test('a delegation of a delegation nests who acts, and keeps the root', async () => {
    const parent = await client.issue(agent.key);
    const keys = [aDelegateKey(), aDelegateKey()];
    const child = await client.delegate(agent.key, parent.token, { delegate_public_key: keys[0] });
    const grandchild = await client.delegate(agent.key, child.delegation, {
      delegate_public_key: `302a300506032b6570032100${keys[1]}`,
      target_agent: 'second',
    });
    const [first = '', second = ''] = await Promise.all(
      keys.map((keyHex) => calculateJwkThumbprintUri(jwkOf(keyHex))),
    );
    assert.deepEqual(grandchild.claims['act'], {
      sub: second,
      target_agent: 'second',
      act: { sub: first },
    });
    assert.deepEqual(grandchild.claims['cnf'], { jwk: jwkOf(keys[1] ?? '') });
    assert.deepEqual(
      [grandchild.claims['parent_jti'], grandchild.claims['root_jti']],
      [child.jti, parent.jti],
    );
    assert.deepEqual(child.claims['allowed_actions'], ['search', 'book', 'note']);
    assert.deepEqual(grandchild.claims['allowed_actions'], ['search', 'book', 'note']);
  });

  await t.test(
    'a child lives an hour unless it is told otherwise, and never longer than its parent',
    async () => {
      const exp = async (parentSeconds: number, json: object): Promise<[left: unknown, of: string]> => {
        const parent = await client.issue(agent.key, { expires_in: parentSeconds });
        const { claims, expires_at } = await client.delegate(agent.key, parent.jwt, json);
        assert.equal(claims['exp'], expires_at);
        return claims['exp'] === parent.claims['exp']
          ? [parentSeconds, 'the parent']
          : [Number(claims['exp']) - Number(claims['iat']), 'its own'];
      };
      assert.deepEqual(await exp(86_400, {}), [3600, 'its own']);
      assert.deepEqual(await exp(86_400, { validity_seconds: 7200 }), [7200, 'its own']);
      assert.deepEqual(await exp(600, {}), [600, 'the parent']);
      assert.deepEqual(await exp(600, { validity_seconds: 86_400 }), [600, 'the parent']);
    },
  );

  await t.test('the claim of steps stays left out, for the reason for which it was', async () => {
    const silent = await client.issue(agent.key, { authorization_details: false });
    const { claims } = await client.delegate(agent.key, silent.jwt);
    assert.ok(!('authorization_details' in claims) && !('authorization_details_omitted' in claims));
    const many = { steps: Array.from({ length: 500 }, (_, n) => ({ action: `a${n}`, mcp: 'files' })) };
    const long = await client.issue(agent.key, { plan: many });
    const narrow = await client.delegate(agent.key, long.jwt, { allowed_actions: ['a7'] });
    assert.ok(!('authorization_details' in narrow.claims));
    assert.equal(narrow.claims['authorization_details_omitted'], true);
  });
});

test('delegation.enforces', { skip: postgresSkip }, async (t) => {
  const { server, agent, client } = await opened(t);
  const jwks = (await server.call<JsonWebKeySet>({ method: 'GET', url: '/.well-known/jwks.json' })).body;
  const codesOffline = async (jwt: string, proofs: readonly { proof: readonly object[] }[]) => {
    const issuer = String(claimsIn(jwt)['iss']);
    const verifier = createVerifier({ jwks, issuer, audience: 'writ' });
    return Promise.all(
      STEPS.map((step, stepIndex) =>
        verifier.verifyStep(jwt, { stepIndex, step, proof: proofs[stepIndex]?.proof ?? [] }).then(
          ({ token }) => (token.cnf === undefined ? 'no cnf' : 'VALID'),
          ({ code }: VerificationError) => code,
        ),
      ),
    );
  };

  await t.test('the proofs of the parent prove its steps, of which only the allowed ones pass', async () => {
    const { jwt, proofs } = await client.issue(agent.key);
    const child = await client.delegate(agent.key, jwt, { allowed_actions: ['search'] });
    const expected = ['VALID', 'POLICY_DENIED', 'VALID', 'POLICY_DENIED'];
    const held = { jwt: child.jwt, proofs };
    const online = await Promise.all(STEPS.map((_, index) => client.verify(agent.key, held, index)));
    assert.deepEqual(online, expected);
    assert.deepEqual(await codesOffline(child.jwt, proofs), expected);
  });

  await t.test('the end of an ancestor, or of its agent, is the end of what was delegated', async () => {
    const parent = await client.issue(agent.key);
    const child = await client.delegate(agent.key, parent.jwt);
    const grandchild = await client.delegate(agent.key, child.jwt);
    const { proofs } = parent;
    const codes = () =>
      Promise.all([parent, child, grandchild].map(({ jwt }) => client.verify(undefined, { jwt, proofs }, 0)));
    assert.deepEqual(await codes(), ['VALID', 'VALID', 'VALID']);
    const json = { token_id: child.jti };
    const ended = await server.call<{ revoked: string[] }>({
      method: 'POST',
      url: '/token/revoke',
      key: agent.key,
      json,
    });
    assert.deepEqual(ended.body.revoked, [child.jti, grandchild.jti]);
    assert.deepEqual(await codes(), ['VALID', 'TOKEN_REVOKED', 'TOKEN_REVOKED']);
    for (const { jwt } of [child, grandchild]) {
      const refused = await client.ask(agent.key, { token: jwt, delegate_public_key: aDelegateKey() });
      assertRefused(refused, { status: 401, code: 'TOKEN_REVOKED' });
    }
    await server.call({ method: 'DELETE', url: `/v1/agents/${agent.id}`, key: server.adminKey });
    assert.deepEqual(await codes(), ['TOKEN_REVOKED', 'TOKEN_REVOKED', 'TOKEN_REVOKED']);
  });

  await t.test('what the operator denies now is not passed on', async () => {
    const narrowed = await server.createAgent();
    const parent = await client.issue(narrowed.key);
    const set = (policy: object) =>
      server.call({
        method: 'PATCH',
        url: `/v1/agents/${narrowed.id}`,
        key: server.adminKey,
        json: { policy },
      });
    await set({ deny: ['trains/search'] });
    const ask = (allowed_actions?: string[]) =>
      client.ask(narrowed.key, {
        token: parent.jwt,
        delegate_public_key: aDelegateKey(),
        ...(allowed_actions === undefined ? {} : { allowed_actions }),
      });
    for (const actions of [undefined, ['search'], ['book', 'search']]) {
      const refused = await ask(actions);
      assertRefused(refused, { status: 403, code: 'POLICY_DENIED' });
      const { policy_validation: said } = refused.body as unknown as {
        policy_validation: { denied_tools: string[] };
      };
      assert.deepEqual(said.denied_tools, ['search']);
    }
    assert.equal((await ask(['book', 'note'])).status, 200);
  });
});

test('delegation.refuses', { skip: postgresSkip }, async (t) => {
  const { server, agent, client } = await opened(t);
  const parent = await client.issue(agent.key);
  const good = { token: parent.jwt, delegate_public_key: aDelegateKey() };
  const rows = async () =>
    (await server.sql<{ n: number }>('select count(*)::int as n from intent_tokens'))[0]?.n;

  await t.test('what is not a delegation, by the member that is wrong', async () => {
    const before = await rows();
    const wrong: readonly (readonly [pointer: string, json: object, code?: string])[] = [
      ['/token', { delegate_public_key: good.delegate_public_key }],
      ['/delegate_public_key', { token: parent.jwt }],
      ['/token', { ...good, token: 5 }],
      ['/token/jwt_token', { ...good, token: {} }],
      ['/delegate_public_key', { ...good, delegate_public_key: `01${'00'.repeat(31)}` }],
      ['/delegate_public_key', { ...good, delegate_public_key: 'ff' }],
      ['/delegate_public_key', { ...good, delegate_public_key: 5 }],
      ['/allowed_actions', { ...good, allowed_actions: [] }],
      ['/allowed_actions', { ...good, allowed_actions: 'search' }],
      ['/allowed_actions/0', { ...good, allowed_actions: [5] }],
      ['/allowed_actions', { ...good, allowed_actions: Array(1001).fill('search') }],
      ['/validity_seconds', { ...good, validity_seconds: '60' }, 'INVALID_TTL'],
      ['/validity_seconds', { ...good, validity_seconds: 0.5 }, 'INVALID_TTL'],
      ['/validity_seconds', { ...good, validity_seconds: -1 }, 'INVALID_TTL'],
      ['/validity_seconds', { ...good, validity_seconds: 86_401 }, 'TTL_OUT_OF_RANGE'],
      ['/target_agent', { ...good, target_agent: 'x'.repeat(257) }],
      ['/subtask', { ...good, subtask: { text: 'x'.repeat(9000) } }],
      ['/subtask', { ...good, subtask: 'book it' }],
      ['/planId', { ...good, planId: 'p' }],
      ['/scopes', { ...good, scopes: [] }],
    ];
    for (const [pointer, json, code = 'VALIDATION_ERROR'] of wrong) {
      const answer = await client.ask(agent.key, json);
      assertRefused(answer, { status: 400, code, details: { pointer } }, JSON.stringify(json).slice(0, 80));
    }
    assert.equal(await rows(), before);
  });

  await t.test('more than the token allows, and names it', async () => {
    const child = await client.delegate(agent.key, parent.jwt, { allowed_actions: ['book'] });
    for (const [token, actions, excess] of [
      [parent.jwt, ['search', 'cancel'], ['cancel']],
      [child.jwt, ['search'], ['search']],
      [child.jwt, ['book', 'note'], ['note']],
      [parent.jwt, ['Search'], ['Search']],
    ] as const) {
      const answer = await client.ask(agent.key, { ...good, token, allowed_actions: actions });
      const details = { pointer: '/allowed_actions', actions: excess };
      assertRefused(answer, { status: 403, code: 'SCOPE_DENIED', details });
    }
    const denied = (await eventsOf(server, child.jti)).filter(
      (event) => event.event_type === 'intent.denied',
    );
    assert.ok(denied.length > 0);
  });

  await t.test('a sixth delegation', async () => {
    let token = parent.jwt;
    for (let depth = 1; depth <= 5; depth += 1) token = (await client.delegate(agent.key, token)).jwt;
    const answer = await client.ask(agent.key, { ...good, token });
    assertRefused(answer, { status: 403, code: 'FORBIDDEN' });
  });

  await t.test('another principal’s token, like one that never was', async () => {
    const other = await server.createAgent();
    const [header = '', , signature = ''] = parent.jwt.split('.');
    const forged = Buffer.from(JSON.stringify({ ...parent.claims, sub: 'x' })).toString('base64url');
    const gone = await client.issue(other.key);
    await server.sql('delete from intent_tokens where jti = $1', [gone.jti]);
    const texts = new Set<string>();
    for (const token of [parent.jwt, parent.token, gone.jwt]) {
      const answer = await client.ask(other.key, { ...good, token });
      assertRefused(answer, { status: 401, code: 'TOKEN_INVALID' });
      texts.add(String((answer.body as unknown as { message: string }).message));
    }
    assert.equal(texts.size, 1);
    for (const token of [`${header}.${forged}.${signature}`, 'x', { ...parent.token, merkle_root: '0a' }]) {
      const answer = await client.ask(agent.key, { ...good, token });
      assertRefused(answer, { status: 401, code: 'TOKEN_INVALID' });
    }
  });

  await t.test('a child that no verifier would read', async () => {
    const actions = Array.from(
      { length: 1000 },
      (_, n) => `a${String(n).padStart(4, '0')}${'x'.repeat(123)}`,
    );
    const steps = actions.map((action) => ({ action }));
    const patterns = Array.from({ length: 249 }, (_, n) => `m${n}/${'y'.repeat(127)}/${'z'.repeat(122)}`);
    const policy = { allow: ['*', ...patterns], deny: patterns, allowed_tools: actions };
    // Six bytes each in JSON.
    const longName = '\u0001'.repeat(256);
    const named = { user_id: longName, agent_id: longName, context_id: longName };
    const long = await client.issue(agent.key, { plan: { steps }, policy, ...named });
    const before = await rows();
    assertRefused(await client.ask(agent.key, { ...good, token: long.jwt }), {
      status: 413,
      code: 'PAYLOAD_TOO_LARGE',
    });
    assert.equal(await rows(), before);
    const fewer = await client.delegate(agent.key, long.jwt, { allowed_actions: actions.slice(0, 10) });
    assert.equal(await client.verify(undefined, { jwt: fewer.jwt, proofs: [] }), 'VALID');
  });

  await t.test('a token that has ended, and a key that has', async () => {
    const dying = await client.issue(agent.key);
    await server.sql(`update intent_tokens set expires_at = clock_timestamp() where jti = $1`, [dying.jti]);
    const expired = await client.ask(agent.key, { ...good, token: dying.jwt });
    assertRefused(expired, { status: 401, code: 'TOKEN_EXPIRED' });
    const leaving = await server.createAgent();
    const left = await client.issue(leaving.key);
    await server.sql('update api_keys set revoked_at = clock_timestamp() where key_id = $1', [leaving.keyId]);
    const refused = await client.ask(leaving.key, { ...good, token: left.jwt });
    assertRefused(refused, { status: 401, code: 'AUTH_INVALID_KEY' });
  });

  await t.test('the call for a part of the tree, which would go on with the parent’s token', async () => {
    const subtree = {
      parentToken: parent.token,
      delegatePublicKey: good.delegate_public_key,
      subtreePath: '/steps/0',
      validitySeconds: 60,
      parentPlan: { steps: STEPS },
      planId: 'p',
      intentReference: null,
    };
    const before = await rows();
    for (const json of [
      subtree,
      { ...good, subtreePath: 5 },
      { parentToken: 'x' },
      { ...subtree, surprise: 1 },
      { ...good, validity_seconds: 'long', parentToken: {} },
      { token: 7, delegate_public_key: [], allowed_actions: [], subtask: 'x', subtreePath: '' },
    ])
      for (const url of ['/delegation/create', '/iap/trust/delegate'])
        assertRefused(await client.ask(agent.key, json, url), { status: 403, code: 'FORBIDDEN' });
    assert.equal(await rows(), before);
  });

  await t.test('whoever has no key that may', async () => {
    const approver = await server.createAgent({ role: 'approver' });
    assertRefused(await client.ask(approver.key, good), { status: 403, code: 'FORBIDDEN' });
    const none = await server.call({ method: 'POST', url: '/delegation/create', json: good });
    assertRefused(none, { status: 401, code: 'AUTH_INVALID_KEY' });
  });
});
