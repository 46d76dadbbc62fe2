/** `POST /token/verify` (contract section 4.6): what is valid, and every way of not being it. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import { assertRefused, buildTestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import {
  asking,
  claimsOf,
  forger,
  type Issued,
  issueWith,
  type Node,
  PLAN,
  rowLike,
  STEPS,
  type StepProof,
  type Verified,
} from './verification-calls.ts';

test('a good token', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { expectCode, ask } = asking(server);
  const agent = await server.createAgent();
  const issued = await issueWith(server, agent.key, { user_id: 'u' });

  await t.test('alone is valid for anyone, and its claims are told as signed', async () => {
    const verified = await expectCode('VALID', { token: issued.token });
    assert.deepEqual(verified, { valid: true, code: 'VALID', claims: claimsOf(issued.token) });
  });

  await t.test(
    'with each step of its plan is valid: whole, by its action, with a list or a whole proof',
    async () => {
      for (const [index, step] of STEPS.entries()) {
        const whole = issued.step_proofs[index];
        assert.ok(whole !== undefined);
        const mcp = 'mcp' in step ? step.mcp : null;
        for (const proof of [whole, whole.proof]) {
          const base = { token: issued.token, step_index: index, proof };
          for (const [question, shownMcp] of [
            [{ action: step.action }, null],
            [{ step }, mcp],
            [{ step, action: step.action }, mcp],
            [{ step, ...(mcp === null ? {} : { mcp }) }, mcp],
            [{ step, action: step.action, ...(mcp === null ? {} : { mcp }) }, mcp],
            [{ step: Object.fromEntries(Object.entries(step).toReversed()) }, mcp],
          ] as const) {
            const { step: proven } = await expectCode('VALID', { ...base, ...question }, `step ${index}`);
            assert.deepEqual(proven, { step_index: index, action: step.action, mcp: shownMcp });
          }
        }
      }
    },
  );

  await t.test('says its size itself: what a proof states beside its siblings changes nothing', async () => {
    const [whole] = issued.step_proofs;
    const stated = { ...whole, tree_size: 2, leaf_index: 8, step_index: 4, path: '/steps/[4]/action' };
    await expectCode('VALID', { token: issued.token, step_index: 0, action: 'read', proof: stated });
  });

  await t.test('as the token object of an SDK is valid, alone and with a step', async () => {
    const json = { plan: PLAN, expires_in: 600 };
    const sdk = await server.call<{ token: Record<string, unknown>; step_proofs: StepProof[] }>({
      method: 'POST',
      url: '/iap/sdk/token',
      key: agent.key,
      json,
    });
    const { token, step_proofs: proofs } = sdk.body;
    await expectCode('VALID', { token });
    await expectCode('VALID', { token, step_index: 1, step: STEPS[1], mcp: 'mail', proof: proofs[1] });
    await expectCode('VALID', { token: { jwt_token: token['jwt_token'] } }, 'the JWT alone in an object');
    await expectCode('VALID', { token: { ...token, signature: '00', more: [1] } }, 'what else stands there');
    for (const [member, value] of [
      ['token_id', issued.token_id],
      ['token_id', ''],
      ['token_id', [token['token_id']]],
      ['plan_hash', '00'.repeat(32)],
      ['plan_hash', String(token['plan_hash']).toUpperCase()],
      ['merkle_root', '00'.repeat(32)],
      ['merkle_root', 0],
      ['expires_at', Number(token['expires_at']) + 1],
      ['expires_at', String(token['expires_at'])],
      ['expires_at', {}],
    ] as const) {
      await expectCode('TOKEN_INVALID', { token: { ...token, [member]: value } }, `${member} ${value}`);
    }
  });

  await t.test('is told by optional members that are null as if they were absent', async () => {
    const nulls = {
      step_index: null,
      step: null,
      action: null,
      mcp: null,
      proof: null,
      consume: null,
      client_ip: null,
    };
    await expectCode('VALID', { token: issued.token, ...nulls });
  });

  await t.test('of an approver’s and an administrator’s question is valid too', async () => {
    const approver = await server.createAgent({ role: 'approver' });
    for (const key of [server.adminKey, approver.key, agent.key]) {
      assert.equal((await ask({ token: issued.token }, { key })).body.code, 'VALID');
    }
  });
});

/** What each class of `verify` rows in the published vectors does to a proof, done to a step's. */
const VECTORS = JSON.parse(readFileSync(new URL('../../vectors/merkle.json', import.meta.url), 'utf8')) as {
  verify: { name: string; valid: boolean }[];
};
const classOf = (name: string): string => name.replace(/ ?\(.*$/, '').replace(/\d+/g, 'N');
const ZERO = '00'.repeat(32);
const flipped = (hex: string): string => (hex.startsWith('0') ? '1' : '0') + hex.slice(1);

type Mutate = (from: { index: number; proof: readonly Node[]; size: number; root: string }) => {
  step_index?: number;
  proof?: readonly Node[];
  action?: string;
};
const sibling = (hash: string, position = 'right'): Node => ({ position, sibling_hash: hash });
const MUTATIONS: Readonly<Record<string, readonly Mutate[]>> = {
  'index=size': [({ size }) => ({ step_index: size / 2 }), ({ size }) => ({ step_index: size })],
  'index+size': [
    ({ index, size }) => ({ step_index: index + size / 2 }),
    ({ index, size }) => ({ step_index: index + size }),
  ],
  'wrong index': [({ index }) => ({ step_index: index + 1 }), ({ index }) => ({ step_index: 2 * index + 1 })],
  'size*N': [({ proof, root }) => ({ proof: [...proof, sibling(root)] })],
  'leaf = root, empty proof': [({ root }) => ({ proof: [], action: root }), () => ({ proof: [] })],
  'first removed': [({ proof }) => ({ proof: proof.slice(1) })],
  truncated: [({ proof }) => ({ proof: proof.slice(0, -1) })],
  'prepend garbage': [({ proof }) => ({ proof: [sibling('ab'.repeat(32)), ...proof] })],
  'extra zero node': [
    ({ proof }) => ({ proof: [...proof, sibling(ZERO)] }),
    ({ proof }) => ({ proof: [...proof, sibling(ZERO, 'left')] }),
  ],
  'root appended': [({ proof, root }) => ({ proof: [...proof, sibling(root, 'left')] })],
  reordered: [({ proof }) => ({ proof: proof.toReversed() })],
  'bit flip': [
    ({ proof }) => ({ proof: proof.map((node) => ({ ...node, sibling_hash: flipped(node.sibling_hash) })) }),
    ({ proof: [first, ...rest] }) => ({
      proof: first === undefined ? [] : [{ ...first, sibling_hash: flipped(first.sibling_hash) }, ...rest],
    }),
  ],
  'inner node presented as a leaf with attacker-chosen size N': [({ proof }) => ({ proof: proof.slice(1) })],
};
/** Those that the form of a sibling refuses already, and those that are right. */
const OTHER_CLASSES = ['ok size N index N', 'short hash N bytes'];

test('every class of published proofs that are not valid is tried on a step', () => {
  const classes = new Set(VECTORS.verify.map(({ name }) => classOf(name)));
  assert.deepEqual([...classes].sort(), [...Object.keys(MUTATIONS), ...OTHER_CLASSES].sort());
});

test('a step that is not proven', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { expectCode, expect400 } = asking(server);
  const issued = await issueWith(server, server.adminKey);
  const { token } = issued;
  const root = String(claimsOf(token)['merkle_root']);

  for (const [what, mutations] of Object.entries(MUTATIONS)) {
    await t.test(`as in the vectors: ${what}`, async () => {
      for (const [index, step] of STEPS.entries()) {
        const proof = issued.step_proofs[index]?.proof ?? [];
        for (const mutate of mutations) {
          const changes = mutate({ index, proof, size: 2 * STEPS.length, root });
          const question = { token, step_index: index, proof, ...changes };
          await expectCode(
            'MERKLE_PROOF_INVALID',
            { action: step.action, ...question },
            `${index} by action`,
          );
          if (changes.action !== undefined) continue;
          await expectCode('MERKLE_PROOF_INVALID', { ...question, step }, `${index} whole`);
        }
      }
    });
  }

  const [first, second] = issued.step_proofs;
  const base = { token, step_index: 1, proof: second.proof };
  await t.test(
    'is one of another plan, another position, another parameter, or of a swapped side',
    async () => {
      const [{ proof }] = (
        await issueWith(server, server.adminKey, { plan: { steps: [{ action: 'x' }, STEPS[1]] } })
      ).step_proofs;
      for (const [what, changes] of Object.entries({
        'a proof of another plan': { step: STEPS[1], proof },
        'the proof of another step': { step: STEPS[1], proof: first.proof },
        'another step of the plan': { step: STEPS[2] },
        'a parameter that differs': { step: { ...STEPS[1], params: { to: ['y'] } } },
        'a parameter more': { step: { ...STEPS[1], more: 1 } },
        'a parameter less': { step: { action: 'send', mcp: 'mail' } },
        'another mcp': { step: { ...STEPS[1], mcp: 'chat' } },
        'the mcp left out': { step: { action: 'send', params: STEPS[1].params } },
        'an action that is not there': { action: 'delete' },
        'an action in another case': { action: 'Send' },
        'an empty action': { action: '' },
        'a step without an action': { step: { mcp: 'mail' } },
        'a step whose action is no text': { step: { action: ['send'], mcp: 'mail' } },
        'an empty step': { step: {} },
        'no sibling': { action: 'send', proof: [] },
        'sides swapped': {
          action: 'send',
          proof: second.proof.map((node) =>
            sibling(node.sibling_hash, node.position === 'left' ? 'right' : 'left'),
          ),
        },
        'far past the end': { action: 'send', step_index: 2 ** 52 },
        'past what a number holds': { action: 'send', step_index: 1e300 },
        'the same in 32 bits': { action: 'send', step_index: 1 + 2 ** 32 },
        'a proof of thousands of siblings': {
          action: 'send',
          proof: Array.from({ length: 5000 }, () => sibling(ZERO)),
        },
      })) {
        await expectCode('MERKLE_PROOF_INVALID', { ...base, ...changes }, what);
      }
    },
  );

  await t.test('a given action or mcp that is not the step’s is a mismatch', async () => {
    const step = STEPS[1];
    for (const changes of [
      { step, action: 'read' },
      { step, action: 'Send' },
      { step, mcp: 'chat' },
      { step, mcp: '' },
      { step, action: 'send', mcp: 'chat' },
      { step, action: 'read', mcp: 'mail' },
      { step: { ...step, mcp: 'chat' }, mcp: 'mail' },
    ]) {
      const verified = await expectCode('STEP_MISMATCH', { ...base, ...changes }, JSON.stringify(changes));
      assert.equal(verified.step, undefined);
    }
    const note = { token, step_index: 3, proof: issued.step_proofs[3], step: STEPS[3] };
    await expectCode('STEP_MISMATCH', { ...note, mcp: 'files' }, 'an mcp for a step without one');
  });

  await t.test('a question that is not well-formed is 400 and says where', async () => {
    const step = STEPS[1];
    const good = { ...base, step };
    for (const [json, pointer] of [
      [{}, '/token'],
      [{ token: null }, '/token'],
      [{ token: 1 }, '/token'],
      [{ token: true }, '/token'],
      [{ token: [token] }, '/token'],
      [{ token: {} }, '/token/jwt_token'],
      [{ token: { jwt_token: 1 } }, '/token/jwt_token'],
      [{ token: { jwt_token: { jwt_token: token } } }, '/token/jwt_token'],
      [{ token, proof: second }, '/step_index'],
      [{ token, step }, '/step_index'],
      [{ token, action: 'send' }, '/step_index'],
      [{ token, mcp: 'mail' }, '/step_index'],
      [{ token, step_index: 1 }, '/proof'],
      [{ token, step_index: 1, action: 'send' }, '/proof'],
      [{ token, step_index: 1, proof: second }, '/step'],
      [{ ...base, action: 'send', mcp: 'mail' }, '/step'],
      [{ ...good, step_index: -1 }, '/step_index'],
      [{ ...good, step_index: 1.5 }, '/step_index'],
      [{ ...good, step_index: '1' }, '/step_index'],
      [{ ...good, step_index: true }, '/step_index'],
      [{ ...good, step_index: [1] }, '/step_index'],
      [{ ...good, step: 'send' }, '/step'],
      [{ ...good, step: [step] }, '/step'],
      [{ ...good, action: 1 }, '/action'],
      [{ ...good, action: 'x'.repeat(129) }, '/action'],
      [{ ...good, mcp: ['mail'] }, '/mcp'],
      [{ ...good, proof: 'none' }, '/proof'],
      [{ ...good, proof: 1 }, '/proof'],
      [{ ...good, proof: {} }, '/proof/proof'],
      [{ ...good, proof: { ...second, root } }, '/proof/root'],
      [{ ...good, proof: { ...second, step_index: -1 } }, '/proof/step_index'],
      [{ ...good, proof: [null] }, '/proof/0'],
      [{ ...good, proof: [root] }, '/proof/0'],
      [{ ...good, proof: [{ sibling_hash: ZERO }] }, '/proof/0/position'],
      [{ ...good, proof: [sibling(ZERO, 'Left')] }, '/proof/0/position'],
      [{ ...good, proof: [sibling('AB'.repeat(32))] }, '/proof/0/sibling_hash'],
      [{ ...good, proof: [sibling('ab'.repeat(31))] }, '/proof/0/sibling_hash'],
      [{ ...good, proof: [sibling(`0x${'ab'.repeat(31)}`)] }, '/proof/0/sibling_hash'],
      [{ ...good, proof: [{ position: 'left' }] }, '/proof/0/sibling_hash'],
      [{ ...good, proof: [{ ...sibling(ZERO), more: 1 }] }, '/proof/0'],
      [{ token, consume: true }, '/step_index'],
      [{ token, client_ip: '192.0.2.1' }, '/step_index'],
      [{ ...good, consume: 'true' }, '/consume'],
      [{ ...good, consume: 1 }, '/consume'],
      [{ ...good, client_ip: '192.0.2.1/32' }, '/client_ip'],
      [{ ...good, client_ip: '192.0.2.1, 192.0.2.2' }, '/client_ip'],
      [{ ...good, client_ip: 'localhost' }, '/client_ip'],
      [{ ...good, client_ip: '' }, '/client_ip'],
      [{ ...good, client_ip: ['192.0.2.1'] }, '/client_ip'],
      [{ ...good, surprise: 1 }, '/surprise'],
      [{ ...good, jwt_token: token }, '/jwt_token'],
    ] as const) {
      // Of whoever has no key, some of them are refused before.
      await expect400(json, pointer, undefined, { key: server.adminKey });
    }
  });

  await t.test('a position that only reads as 0 is no position', async () => {
    const raw = (index: string) =>
      `{"token":"${token}","step_index":${index},"proof":${JSON.stringify(first.proof)},"action":"${STEPS[0].action}"}`;
    const asked = (index: string) =>
      server.call<Verified>({ method: 'POST', url: '/token/verify', raw: raw(index) });
    for (const index of ['0', '0.0', '0e5']) assert.equal((await asked(index)).body.code, 'VALID', index);
    const pointer = '/step_index';
    for (const index of ['1e-400', '-1e-400', '0.1e-999', '5E-325']) {
      const refused = await asked(index);
      assertRefused(refused, { status: 400, code: 'VALIDATION_ERROR', details: { pointer } }, index);
    }
  });

  await t.test('a token that is any other text is an answer and not an error', async () => {
    for (const text of [
      '',
      'x',
      'a.b.c',
      `${token} `,
      `${token}\n`,
      `Bearer ${token}`,
      '\u{1f600}',
      'x'.repeat(600_000),
    ])
      await expectCode('TOKEN_INVALID', { token: text });
  });

  await t.test('a step without a canonical form is 400 and says why', async () => {
    for (const [member, reason] of [
      ['"n":9007199254740993', 'number_out_of_range'],
      ['"n":1e400', 'number_out_of_range'],
      ['"n":1e-400', 'number_out_of_range'],
      ['"s":"\\u0000"', 'nul_character'],
      ['"\\ud83d\\ude00":1', 'astral_key'],
    ] as const) {
      const raw = `{"token":"${token}","step_index":1,"proof":${JSON.stringify(second.proof)},"step":{"action":"send",${member}}}`;
      const answer = await server.call({ method: 'POST', url: '/token/verify', raw });
      assertRefused(answer, { status: 400, code: 'PLAN_NOT_CANONICALIZABLE', details: { reason } }, member);
    }
  });
});

test('a token that is not good here', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { sql } = server;
  const { expectCode } = asking(server);
  const forge = await forger(server);
  const agent = await server.createAgent();

  await t.test('is one of another server', async (t) => {
    const other = await buildTestApp(t);
    const foreign = await issueWith(other, other.adminKey);
    await asking(other).expectCode('VALID', { token: foreign.token });
    const refused = await expectCode('TOKEN_INVALID', { token: foreign.token });
    assert.equal(refused.claims, undefined);
  });

  await t.test('is one whose row is gone', async () => {
    const issued = await issueWith(server, agent.key);
    await expectCode('VALID', { token: issued.token });
    await sql('delete from intent_tokens where jti = $1', [issued.token_id]);
    await expectCode('TOKEN_INVALID', { token: issued.token });
  });

  await t.test('is one that was signed here but never issued, or for another principal', async () => {
    const issued = await issueWith(server, agent.key);
    await expectCode('TOKEN_INVALID', { token: await forge(issued, { jti: uuidv7() }) });
    await expectCode('TOKEN_INVALID', { token: await forge(issued, { client_id: uuidv7() }) });
    await expectCode('VALID', { token: await forge(issued, {}) }, 'the forger signs as the server does');
  });

  for (const [what, changes] of Object.entries({
    'another issuer': { iss: 'https://evil.example' },
    'another audience': { aud: 'other' },
    'two audiences': { aud: ['writ', 'other'] },
    'another use': { token_use: 'access' },
    'a time to come': { iat: 4_000_000_000 },
    'a start to come': { nbf: 4_000_000_000 },
    'an odd size': { tree_size: 9 },
    'no policy': { policy: null },
  })) {
    await t.test(`is one with ${what}`, async () => {
      await expectCode('TOKEN_INVALID', { token: await forge(await issueWith(server, agent.key), changes) });
    });
  }

  await t.test('is one that has expired, by what it says or by the database’s clock', async () => {
    const issued = await issueWith(server, agent.key);
    const past = Math.floor(Date.now() / 1000) - 60;
    await expectCode('TOKEN_EXPIRED', { token: await forge(issued, { exp: past }) });
    await sql("update intent_tokens set expires_at = clock_timestamp() - interval '1 ms' where jti = $1", [
      issued.token_id,
    ]);
    const refused = await expectCode('TOKEN_EXPIRED', { token: issued.token });
    assert.equal(refused.claims, undefined);
  });

  await t.test('is one that was revoked, whatever step is asked about', async () => {
    const issued = await issueWith(server, agent.key);
    await sql('update intent_tokens set revoked_at = now() where jti = $1', [issued.token_id]);
    const step = { step_index: 0, step: STEPS[0], proof: issued.step_proofs[0] };
    await expectCode('TOKEN_REVOKED', { token: issued.token });
    await expectCode('TOKEN_REVOKED', { token: issued.token, ...step });
    await expectCode('TOKEN_REVOKED', { token: issued.token, ...step, action: 'other' }, 'before the step');
  });

  await t.test('is one whose agent was revoked a moment ago', async () => {
    const one = await server.createAgent();
    const issued = await issueWith(server, one.key);
    await expectCode('VALID', { token: issued.token });
    const gone = await server.call({ method: 'DELETE', url: `/v1/agents/${one.id}`, key: server.adminKey });
    assert.equal(gone.status, 204);
    await expectCode('TOKEN_REVOKED', { token: issued.token });
  });

  await t.test('is not one whose API key was revoked: that ends the key only', async () => {
    const one = await server.createAgent();
    const issued = await issueWith(server, one.key);
    await sql('update api_keys set revoked_at = now() where key_id = $1', [one.keyId]);
    await expectCode('VALID', { token: issued.token });
  });

  await t.test('is one of which any ancestor, or an ancestor’s agent, was revoked', async () => {
    for (const revoke of ['root', 'parent', 'agent of the root'] as const) {
      const owner = await server.createAgent();
      const root = await issueWith(server, owner.key);
      const [parent, child, bystander] = [uuidv7(), uuidv7(), uuidv7()];
      await rowLike(server, root, { jti: parent, ancestors: [root.token_id], agentId: agent.id });
      await rowLike(server, root, { jti: child, ancestors: [root.token_id, parent], agentId: agent.id });
      await rowLike(server, root, { jti: bystander, agentId: agent.id });
      const delegated = async (jti: string) => ({ token: await forge(root, { jti, client_id: agent.id }) });
      for (const jti of [parent, child, bystander]) await expectCode('VALID', await delegated(jti), revoke);
      if (revoke === 'agent of the root')
        await sql('update agents set revoked_at = now() where id = $1', [owner.id]);
      else
        await sql('update intent_tokens set revoked_at = now() where jti = $1', [
          revoke === 'root' ? root.token_id : parent,
        ]);
      await expectCode('TOKEN_REVOKED', await delegated(child), revoke);
      await expectCode('TOKEN_REVOKED', await delegated(parent), revoke);
      await expectCode('VALID', await delegated(bystander), revoke);
    }
  });
});

test('policies', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { expectCode } = asking(server);
  const narrow = async (id: string, policy: unknown) => {
    const { status, text } = await server.call({
      method: 'PATCH',
      url: `/v1/agents/${id}`,
      key: server.adminKey,
      json: { policy },
    });
    assert.equal(status, 200, text);
  };
  const question = (issued: Issued, index: number, more: object) => ({
    token: issued.token,
    step_index: index,
    proof: issued.step_proofs[index],
    ...more,
  });

  await t.test(
    'an operator who narrows an agent narrows what it holds already, and widens it again',
    async () => {
      const agent = await server.createAgent();
      const issued = await issueWith(server, agent.key);
      await narrow(agent.id, { deny: ['mail/send'] });
      await expectCode('POLICY_DENIED', question(issued, 1, { step: STEPS[1] }));
      await expectCode(
        'VALID',
        question(issued, 2, { step: STEPS[2] }),
        'the same action elsewhere, proven whole',
      );
      await expectCode('POLICY_DENIED', question(issued, 2, { action: 'send' }), 'it could be the other one');
      await expectCode('VALID', question(issued, 0, { action: 'read' }));
      await expectCode('VALID', { token: issued.token }, 'the token itself');
      await narrow(agent.id, { allow: ['files/*'] });
      await expectCode(
        'POLICY_DENIED',
        question(issued, 3, { step: STEPS[3] }),
        'no mcp is only allowed by *',
      );
      await expectCode('VALID', question(issued, 4, { step: STEPS[4] }));
      await narrow(agent.id, { allowed_tools: ['note'] });
      await expectCode('VALID', question(issued, 3, { action: 'note' }));
      await expectCode('POLICY_DENIED', question(issued, 0, { action: 'read' }));
      await narrow(agent.id, { allow: [] });
      await expectCode('POLICY_DENIED', question(issued, 3, { action: 'note' }));
      await narrow(agent.id, null);
      await expectCode('VALID', question(issued, 1, { step: STEPS[1] }));
    },
  );

  await t.test('a step that is denied is still first proven', async () => {
    const agent = await server.createAgent();
    const issued = await issueWith(server, agent.key);
    await narrow(agent.id, { allow: [] });
    await expectCode('MERKLE_PROOF_INVALID', question(issued, 1, { step: STEPS[2] }));
    await expectCode('STEP_MISMATCH', question(issued, 1, { step: STEPS[1], mcp: 'chat' }));
  });

  await t.test('a delegation’s actions are its only ones', async () => {
    const issued = await issueWith(server, server.adminKey);
    const forge = await forger(server);
    const token = await forge(issued, { allowed_actions: ['read'] });
    await expectCode('VALID', { ...question(issued, 0, { action: 'read' }), token });
    await expectCode('POLICY_DENIED', { ...question(issued, 1, { step: STEPS[1] }), token });
    const none = await forge(issued, { allowed_actions: [] });
    await expectCode('POLICY_DENIED', { ...question(issued, 0, { action: 'read' }), token: none });
  });
});

test('the record of verifications', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { ask } = asking(server);
  const agent = await server.createAgent();
  const issued = await issueWith(server, agent.key);
  const events = () =>
    server.sql<{
      actor_id: string;
      resource_id: string;
      metadata: Record<string, unknown>;
      request_id: string;
    }>(
      "select actor_id, actor_type, resource_type, resource_id, metadata, request_id from audit_events where event_type = 'intent.verified' order by created_at",
    );

  await t.test('nobody’s question leaves a trace', async () => {
    await ask({ token: issued.token });
    await ask({ token: 'nonsense' });
    assert.deepEqual(await events(), []);
  });

  await t.test('a keyed one leaves exactly one event, with its outcome and step', async () => {
    const answer = await ask(
      { token: issued.token, step_index: 1, step: STEPS[1], proof: issued.step_proofs[1] },
      { key: agent.key },
    );
    assert.equal(answer.body.code, 'VALID');
    assert.deepEqual(await events(), [
      {
        actor_id: agent.id,
        actor_type: 'agent',
        resource_type: 'intent_token',
        resource_id: issued.token_id,
        metadata: { key_id: agent.keyId, code: 'VALID', step_index: 1 },
        request_id: answer.headers['x-request-id'],
      },
    ]);
  });

  await t.test('one that is not valid leaves one too, and of a token that is not ours no name', async () => {
    const before = (await events()).length;
    await ask({ token: 'nonsense' }, { key: agent.key });
    await ask({ token: issued.token, step_index: 0, action: 'x', proof: [] }, { key: agent.key });
    const added = (await events()).slice(before);
    assert.deepEqual(
      added.map((event) => [event.resource_id, event.metadata['code']]),
      [
        ['unknown', 'TOKEN_INVALID'],
        [issued.token_id, 'MERKLE_PROOF_INVALID'],
      ],
    );
    const rows = await server.sql("select 1 from audit_events where metadata::text like '%nonsense%'");
    assert.deepEqual(rows, []);
  });

  await t.test('a question that is not well-formed leaves none', async () => {
    const before = await events();
    await ask({ token: issued.token, step_index: -1 }, { key: agent.key });
    await ask({ token: 1 }, { key: agent.key });
    assert.deepEqual(await events(), before);
  });

  await t.test('a wrong key is 401 although none is needed, and nothing is verified', async () => {
    const before = await events();
    for (const headers of [{ 'x-api-key': 'nonsense' }, { authorization: `Bearer ${issued.token}` }]) {
      assertRefused(await ask({ token: issued.token }, { headers }), {
        status: 401,
        code: 'AUTH_INVALID_KEY',
      });
    }
    assert.deepEqual(await events(), before);
  });

  await t.test('a revoked key is 401 at once', async () => {
    const other = await server.createAgent();
    assert.equal((await ask({ token: issued.token }, { key: other.key })).status, 200);
    await server.sql('update api_keys set revoked_at = now() where key_id = $1', [other.keyId]);
    assertRefused(await ask({ token: issued.token }, { key: other.key }), {
      status: 401,
      code: 'AUTH_INVALID_KEY',
    });
  });

  await t.test(
    'where the event cannot be written, a keyed question is not answered; nobody’s is',
    async () => {
      await server.sql(
        "create function refuse_event() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$",
      );
      await server.sql(
        'create trigger refuse_events before insert on audit_events for each row execute function refuse_event()',
      );
      const answer = await ask({ token: issued.token }, { key: agent.key });
      assertRefused(answer, { status: 503, code: 'AUDIT_UNAVAILABLE' });
      assert.equal((await ask({ token: issued.token })).body.code, 'VALID');
    },
  );
});
