/** `verifyToken` takes what Writ signs and nothing that the attack table makes of it, by WebCrypto and by JavaScript. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createVerifier, VerificationError, type Verifier } from '../../src/verify.ts';
import { EVERY_TYPE } from '../domain/every-type.ts';
import { ENGINES, useEngine } from './engines.ts';
import { AUDIENCE, aSigner, aToken, claimsIn, ISSUER, NOW_SECONDS, signClaims } from './signed-tokens.ts';
import { TOKEN_ATTACKS } from './token-attacks.ts';

const signer = aSigner();
const { jwt: GOOD, digest } = aToken(signer);

const aVerifier = (nowSeconds = NOW_SECONDS): Verifier =>
  createVerifier({
    jwks: { keys: [signer.jwk, aSigner().jwk] },
    issuer: ISSUER,
    audience: AUDIENCE,
    clock: () => new Date(nowSeconds * 1000),
  });

const refusedWith = (code: string) => (error: unknown) => {
  assert.ok(error instanceof VerificationError, String(error));
  assert.equal(error.name, 'VerificationError');
  assert.equal(error.code, code, error.message);
  return true;
};

for (const engine of ENGINES) {
  test(`by ${engine}, the token that the table spoils is taken, and says what was signed`, async (t) => {
    useEngine(t, engine);
    const claims = claimsIn(GOOD);
    assert.deepEqual(await aVerifier().verifyToken(GOOD), {
      jti: claims['jti'],
      rootJti: claims['jti'],
      clientId: claims['client_id'],
      expiresAt: new Date((NOW_SECONDS + 50) * 1000),
      planHash: digest.planHashHex,
      merkleRoot: digest.merkleRootHex,
      treeSize: digest.treeSize,
      policy: { allow: ['*'], deny: [] },
      allowedActions: undefined,
      cnf: undefined,
      claims,
    });
  });

  test(`by ${engine}, the name that RFC 9864 gives the algorithm is taken as well`, async (t) => {
    useEngine(t, engine);
    await aVerifier().verifyToken(signClaims(signer, claimsIn(GOOD), { alg: 'Ed25519' }));
  });

  test(`by ${engine}, a delegation tells its actions, the key of its holder and its first token`, async (t) => {
    useEngine(t, engine);
    const root = '019a0000-0000-7000-8000-00000000000a';
    const cnf = { jwk: aSigner().jwk };
    const { jwt } = aToken(signer, { allowed_actions: ['read'], cnf, root_jti: root, parent_jti: root });
    const token = await aVerifier().verifyToken(jwt);
    assert.deepEqual(token.allowedActions, ['read']);
    assert.deepEqual(token.cnf, cnf);
    assert.equal(token.rootJti, root);
    assert.notEqual(token.jti, root);
  });

  test(`by ${engine}, refuses`, async (t) => {
    useEngine(t, engine);
    const verifier = aVerifier();
    for (const { name, code, forge } of TOKEN_ATTACKS) {
      await t.test(name, async () => {
        const forged = forge({ good: GOOD, signer, nowSeconds: NOW_SECONDS });
        assert.notEqual(forged, GOOD);
        await assert.rejects(verifier.verifyToken(forged), refusedWith(code));
      });
    }
  });
}

test('exp has no leeway: the last second is refused to the millisecond', async () => {
  for (const [now, isTaken] of [
    [NOW_SECONDS + 49.999, true],
    [NOW_SECONDS + 50, false],
    [NOW_SECONDS + 50.001, false],
    [NOW_SECONDS + 51, false],
  ] as const) {
    const verdict = aVerifier(now).verifyToken(GOOD);
    if (isTaken) await verdict;
    else await assert.rejects(verdict, refusedWith('TOKEN_EXPIRED'), String(now));
  }
});

for (const claim of ['iat', 'nbf']) {
  test(`${claim} has a leeway of five seconds and no more`, async () => {
    const { jwt } = aToken(signer, { [claim]: NOW_SECONDS + 5 });
    await aVerifier().verifyToken(jwt);
    await assert.rejects(aVerifier(NOW_SECONDS - 0.001).verifyToken(jwt), refusedWith('TOKEN_INVALID'));
  });
}

test('a clock that has no time refuses every token', async () => {
  const options = { jwks: { keys: [signer.jwk] }, issuer: ISSUER, audience: AUDIENCE };
  const verifier = createVerifier({ ...options, clock: () => new Date(Number.NaN) });
  await assert.rejects(verifier.verifyToken(GOOD), refusedWith('TOKEN_INVALID'));
});

test('the clock is asked once the signature is checked: a token that expires meanwhile is expired', async () => {
  let nowSeconds = NOW_SECONDS;
  const verifier = createVerifier({
    jwks: { keys: [signer.jwk] },
    issuer: ISSUER,
    audience: AUDIENCE,
    clock: () => new Date(nowSeconds * 1000),
  });
  const verdict = verifier.verifyToken(GOOD);
  nowSeconds += 60;
  await assert.rejects(verdict, refusedWith('TOKEN_EXPIRED'));
});

test('anything but text for a token is refused with a code', async () => {
  for (const [name, value] of EVERY_TYPE) {
    if (typeof value === 'string') continue;
    await assert.rejects(aVerifier().verifyToken(value as string), refusedWith('TOKEN_INVALID'), name);
  }
});

test('a refusal repeats nothing of the token', async () => {
  for (const jwt of [
    signClaims(signer, { ...claimsIn(GOOD), iss: 'canary' }),
    signClaims(signer, claimsIn(GOOD), { kid: 'canary' }),
    `canary${GOOD}`,
  ]) {
    await assert.rejects(aVerifier().verifyToken(jwt), (error: Error) => !/canary/.test(error.message));
  }
});

test('a table row cannot vanish: names are unique and every kind that the contract names is there', () => {
  const names = TOKEN_ATTACKS.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  assert.ok(names.length > 150, String(names.length));
  const kinds = [
    /none/,
    /HS256/,
    /lower case/,
    /jwk/,
    /jku/,
    /x5c/,
    /crit/,
    /unknown kid/,
    /another key/,
    /typ/,
  ];
  for (const kind of [
    ...kinds,
    /padding/,
    /non-canonical/,
    /byte 63/,
    /expired/,
    /not valid yet/,
    /audience/,
    /token_use/,
  ])
    assert.ok(
      names.some((name) => kind.test(name)),
      String(kind),
    );
});
