/**
 * Which plan gets a token (contract sections 4.1 and 4.4): decided by the request's policy and the operator's as it is
 * now, by a key that lives, and under an idempotency key once.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { JsonValue } from '../../../src/domain/json/strict-json.ts';
import { createKeyEncryption } from '../../../src/keys/encryption/key-encryption.ts';
import { createMasterKeys } from '../../../src/keys/encryption/master-keys.ts';
import { nodeSha256 } from '../../../src/keys/signing/node-sha256.ts';
import { generateSigningKey, openSigningKey } from '../../../src/keys/signing/signing-key.ts';
import { createSigningThread } from '../../../src/keys/signing/signing-thread.ts';
import type { Caller } from '../../../src/use-cases/authentication/ports.ts';
import {
  createIssueIntentToken,
  type IssueIntentTokenCommand,
} from '../../../src/use-cases/intent-tokens/issue-intent-token.ts';
import { aKey, aWrite } from '../../storage/builders.ts';
import { keyIsDead } from '../../storage/five-stores.ts';
import { assertDenied, CONTEXT, useCasesInMemory } from '../../support/use-cases-in-memory.ts';

const kek = createKeyEncryption(new Uint8Array(32).fill(1));
const thread = createSigningThread();
after(() => thread.close());
const aSigner = () => openSigningKey(generateSigningKey(kek), createMasterKeys([kek]), thread);
const signer = aSigner();
const later = aSigner();

const step = (mcp: string | undefined, action: string): JsonValue =>
  mcp === undefined ? { action } : { action, mcp };
const MAIL_AND_FILES: JsonValue = { steps: [step('mail', 'send'), step('files', 'look')] };

function aBench() {
  /** With which this process signs, and which one it finds when it reads the keys. */
  let [active, known] = [signer, signer];
  const { stores, shared, join } = useCasesInMemory();
  const issue = createIssueIntentToken({
    ...shared,
    store: stores.intents,
    signer: () => active,
    findSigner: (kid) => [signer, later].find((key) => key.kid === kid),
    readKeysAgain: async () => {
      active = known;
    },
    sha256: nodeSha256,
    issuer: 'https://writ.example',
    audience: 'writ',
  });
  const ask = (caller: Caller, changes: Partial<IssueIntentTokenCommand> = {}) =>
    issue(
      {
        plan: MAIL_AND_FILES,
        policy: undefined,
        underflowed: new Set(),
        validity: { expires_in: undefined, validity_seconds: undefined },
        metadata: undefined,
        authorizationDetails: true,
        onBehalfOf: { userId: null, agentId: null, contextId: null, userEmail: null },
        dryRun: false,
        idempotency: undefined,
        ...changes,
      },
      caller,
      CONTEXT,
    );
  /** A second key of the caller's principal. */
  const add = async ({ principal }: Caller): Promise<Caller> => {
    const key = aKey();
    await stores.agents.addKey(principal.id, key, aWrite());
    return { principal, keyId: key.keyId, keyPrefix: key.prefix, keyExpiresAt: null, fingerprint: key.keyId };
  };
  const issued = () => stores.events.filter(({ eventType }) => eventType === 'intent.issued').length;
  /** The key that signs changes; this process does not know yet. */
  const change = async (): Promise<void> => {
    await stores.compromise(signer.kid);
    known = later;
  };
  return { stores, join, ask, issued, add, change };
}

const POLICIES: readonly (readonly [own: JsonValue, requested: JsonValue | undefined, denied: string[]])[] = [
  [null, undefined, []],
  [null, { allow: ['*'], deny: [] }, []],
  [null, { deny: ['mail/*'] }, ['send']],
  [null, { deny: ['*/send'] }, ['send']],
  [null, { deny: ['*'] }, ['send', 'look']],
  [null, { allow: ['files/*'] }, ['send']],
  [null, { allow: [] }, ['send', 'look']],
  [null, { allow: ['*'], deny: ['bank/*'] }, []],
  [{ deny: ['mail/*'] }, undefined, ['send']],
  [{ deny: ['mail/*'] }, { allow: ['*'] }, ['send']],
  [{ deny: ['mail/*'] }, { deny: ['files/*'] }, ['send', 'look']],
  [{ allowed_tools: ['look'] }, undefined, ['send']],
  [{ allowed_tools: ['look'] }, { allow: ['mail/*'] }, ['send', 'look']],
  [{ deny: ['bank/*'] }, { deny: ['shop/*'] }, []],
  [{ allow: ['mail/*', 'files/*'] }, undefined, []],
];

test('a plan is issued when no policy denies a step, and refused as a whole when one does, at a dry run too', async () => {
  const { join, ask, issued } = aBench();
  for (const [own, policy, denied] of POLICIES) {
    const { caller } = await join({ policyText: own === null ? null : JSON.stringify(own) });
    for (const dryRun of [false, true]) {
      const what = JSON.stringify([own, policy, dryRun]);
      const before = issued();
      const asked = ask(caller, { policy, dryRun });
      if (denied.length === 0) {
        assert.deepEqual((await asked).validation.denied_tools, [], what);
        assert.equal(issued(), before + (dryRun ? 0 : 1), what);
      } else {
        const { members } = await assertDenied(asked, 'POLICY_DENIED', what);
        const validation = members?.['policy_validation'] as { denied_tools: string[] };
        assert.deepEqual(validation.denied_tools, denied, what);
        assert.equal(issued(), before, what);
      }
    }
  }
});

test('a step without mcp evades no deny pattern', async () => {
  const { join, ask } = aBench();
  const { caller } = await join({ policyText: '{"deny":["mail/send"]}' });
  await assertDenied(ask(caller, { plan: { steps: [step(undefined, 'send')] } }), 'POLICY_DENIED');
});

for (const dryRun of [false, true]) {
  test(`the policy that an agent has now is decided, whatever is cached of it (dry run: ${dryRun})`, async () => {
    const { join, ask, stores } = aBench();
    const { agent, caller } = await join();
    const outcomes: [JsonValue, boolean][] = [
      [{ deny: ['mail/*'] }, false],
      [{ deny: ['bank/*'] }, true],
      [{ allowed_tools: ['look'] }, false],
      [null, true],
    ];
    for (const [policy, isAllowed] of outcomes) {
      const policyText = policy === null ? null : JSON.stringify(policy);
      await stores.agents.update(agent.id, { policyText }, aWrite());
      if (isAllowed) await ask(caller, { dryRun });
      else await assertDenied(ask(caller, { dryRun }), 'POLICY_DENIED', policyText ?? 'none');
    }
  });
}

test('a refusal is on record, once for a plan, with who asked and what was denied', async () => {
  const { join, ask, stores } = aBench();
  const { agent, caller } = await join();
  const policy = { deny: ['mail/*'] };
  await assertDenied(ask(caller, { policy }), 'POLICY_DENIED');
  await assertDenied(ask(caller, { policy }), 'POLICY_DENIED');
  await assertDenied(ask(caller, { policy, plan: { steps: [step('mail', 'send')] } }), 'POLICY_DENIED');
  const denied = stores.events.filter(({ eventType }) => eventType === 'intent.denied');
  assert.deepEqual(
    denied.map(({ actorId, metadata }) => [actorId, metadata]),
    Array(2).fill([agent.id, { code: 'POLICY_DENIED', denied_tools: ['send'], credential: agent.key.keyId }]),
  );
});

for (const what of ['its agent is revoked', 'the key is revoked', 'the key has expired']) {
  test(`nothing is signed, decided or repeated when ${what}`, async () => {
    const { join, ask, stores, issued } = aBench();
    const { agent, caller } = await join();
    const idempotency = { key: 'k', path: '/token/issue', bodySha256Hex: '00'.repeat(32) };
    await ask(caller, { idempotency });
    await keyIsDead(stores)[what]?.(agent);
    const code = what === 'the key has expired' ? 'AUTH_EXPIRED_KEY' : 'AUTH_INVALID_KEY';
    await assertDenied(ask(caller), code);
    await assertDenied(ask(caller, { dryRun: true }), code);
    await assertDenied(ask(caller, { policy: { deny: ['*'] } }), code, 'before the policy is decided');
    await assertDenied(ask(caller, { idempotency }), code, 'before it is repeated');
    assert.equal(issued(), 1);
  });
}

test('under one idempotency key the same request gets the same token, another is refused, and a key is its caller’s', async () => {
  const { join, ask, issued } = aBench();
  const [{ caller }, other] = [await join(), await join()];
  const under = (body: string, key = 'k', path = '/token/issue') => ({
    idempotency: { key, path, bodySha256Hex: body.repeat(32) },
  });
  const jwtOf = async (asked: ReturnType<typeof ask>) => {
    const token = await asked;
    assert.ok('jwt' in token);
    return token.jwt;
  };
  const first = await jwtOf(ask(caller, under('00')));
  const many = await Promise.all(Array.from({ length: 8 }, () => jwtOf(ask(caller, under('00')))));
  assert.deepEqual(new Set(many), new Set([first]));
  assert.equal(issued(), 1);
  await assertDenied(ask(caller, under('01')), 'IDEMPOTENCY_KEY_REUSED');
  await assertDenied(ask(caller, { ...under('01'), dryRun: true }), 'IDEMPOTENCY_KEY_REUSED');
  assert.equal(issued(), 1);
  const others = [
    await jwtOf(ask(caller, under('00', 'another'))),
    await jwtOf(ask(caller, under('00', 'k', '/iap/sdk/token'))),
    await jwtOf(ask(other.caller, under('00'))),
    await jwtOf(ask(caller)),
  ];
  assert.equal(new Set([first, ...others]).size, 5);
});

for (const [what, reason] of [
  ['the token was revoked', 'revoked'],
  ['the token has expired', 'expired'],
  ['the key it was issued to was revoked', 'key_ended'],
  ['the key it was issued to has expired', 'key_ended'],
] as const) {
  test(`a token is not handed out again when ${what}: 409 that says so, on record`, async () => {
    const { join, ask, stores, issued, add } = aBench();
    const { agent, caller } = await join();
    const second = await add(caller);
    const idempotency = { key: 'k', path: '/token/issue', bodySha256Hex: '00'.repeat(32) };
    const token = await ask(caller, { idempotency });
    assert.ok('jwt' in token);
    if (what === 'the token was revoked' || what === 'the token has expired') {
      await stores.endIntent(token.jti, what === 'the token was revoked' ? 'revoked' : 'expired');
    } else {
      await keyIsDead(stores)[what.endsWith('revoked') ? 'the key is revoked' : 'the key has expired']?.(
        agent,
      );
    }
    const refusal = await assertDenied(ask(second, { idempotency }), 'IDEMPOTENCY_KEY_SPENT');
    assert.deepEqual(refusal.details, { reason });
    const [written, ...others] = stores.events.filter(({ eventType }) => eventType === 'intent.denied');
    assert.deepEqual(others, []);
    assert.deepEqual(
      [written?.resourceId, written?.metadata],
      [token.jti, { code: 'IDEMPOTENCY_KEY_SPENT', reason, credential: second.keyId }],
    );
    assert.equal(issued(), 1);
    await ask(second, { idempotency: { ...idempotency, key: 'another' } });
  });
}

test('a token is handed out again by the policy as it is now, and each time is on record', async () => {
  const { join, ask, stores, add } = aBench();
  const { agent, caller } = await join();
  const second = await add(caller);
  const idempotency = { key: 'k', path: '/token/issue', bodySha256Hex: '00'.repeat(32) };
  const token = await ask(caller, { idempotency });
  assert.ok('jwt' in token);
  const repeats = () =>
    stores.events.filter(({ eventType }) => eventType === 'intent.repeated').map(({ metadata }) => metadata);
  await stores.agents.update(agent.id, { policyText: '{"deny":["*"]}' }, aWrite());
  for (const each of [caller, second]) await assertDenied(ask(each, { idempotency }), 'POLICY_DENIED');
  assert.deepEqual(repeats(), []);
  await stores.agents.update(agent.id, { policyText: null }, aWrite());
  for (const each of [caller, second]) {
    const again = await ask(each, { idempotency });
    assert.ok('jwt' in again && again.jwt === token.jwt);
  }
  assert.deepEqual(
    repeats(),
    [caller, second].map(({ keyId }) => ({ key_id: keyId, issued_to: agent.key.keyId })),
  );
});

test('a plan that a policy denied leaves its idempotency key free', async () => {
  const { join, ask, issued } = aBench();
  const { caller } = await join();
  const idempotency = { key: 'k', path: '/token/issue', bodySha256Hex: '00'.repeat(32) };
  await assertDenied(ask(caller, { policy: { deny: ['*'] }, idempotency }), 'POLICY_DENIED');
  await ask(caller, { idempotency: { ...idempotency, bodySha256Hex: '01'.repeat(32) } });
  assert.equal(issued(), 1);
});

test('a request whose signature comes too late for its key is signed again with the key that signs now', async () => {
  const { join, ask, issued, change } = aBench();
  const { caller } = await join();
  const idempotency = { key: 'k', path: '/token/issue', bodySha256Hex: '00'.repeat(32) };
  const before = await ask(caller);
  await change();
  for (const asked of [{}, { idempotency }, { idempotency }]) {
    const token = await ask(caller, asked);
    assert.ok('signer' in token && token.signer.kid === later.kid);
  }
  assert.ok('signer' in before && before.signer.kid === signer.kid);
  assert.equal(issued(), 3);
});
