/** A program that puts a question wrongly is told by a `TypeError`, at once where it can be. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createVerifier, type StepRequest, type VerifierOptions } from '../../src/verify.ts';
import { everyTypeExcept } from '../domain/every-type.ts';
import { AUDIENCE, aSigner, aToken, ISSUER, NOW_SECONDS, STEPS } from './signed-tokens.ts';

const signer = aSigner();
const OPTIONS = {
  jwks: { keys: [signer.jwk] },
  issuer: ISSUER,
  audience: AUDIENCE,
  clock: () => new Date(NOW_SECONDS * 1000),
};
const create = (changes: object) => createVerifier({ ...OPTIONS, ...changes } as VerifierOptions);

test('issuer and audience must be given', () => {
  for (const [name, value] of everyTypeExcept((value) => typeof value === 'string' && value !== '')) {
    assert.throws(() => create({ issuer: value }), TypeError, `issuer: ${name}`);
    assert.throws(() => create({ audience: value }), TypeError, `audience: ${name}`);
  }
});

test('exactly one of jwks and jwksUrl must be given', () => {
  assert.throws(() => create({ jwks: undefined }), TypeError);
  assert.throws(() => create({ jwksUrl: 'https://writ.example/.well-known/jwks.json' }), TypeError);
});

test('jwksUrl is an http or https address, as text or as a URL', () => {
  const from = (jwksUrl: unknown) => create({ jwks: undefined, jwksUrl });
  for (const url of ['https://writ.example/jwks.json', new URL('http://127.0.0.1:3000/jwks.json')]) from(url);
  for (const url of [
    '',
    '/jwks.json',
    'jwks.json',
    'ftp://writ.example/',
    'file:///jwks.json',
    'data:,{}',
    null,
    1,
    {},
  ])
    assert.throws(() => from(url), TypeError, String(url));
});

test('a clock must be a function', () => {
  for (const [name, value] of everyTypeExcept((value) => value === undefined || typeof value === 'function'))
    assert.throws(() => create({ clock: value }), TypeError, name);
});

test('a misspelt option makes no verifier', () => {
  for (const name of ['jwksUri', 'jwks_url', 'iss', 'aud', 'Clock', 'leeway'])
    assert.throws(
      () => create({ [name]: 1 }),
      new TypeError(`createVerifier does not know the option ${name}`),
    );
});

test('a request that the program put wrongly is a TypeError, whatever the token', async () => {
  const { jwt, proofs } = aToken(signer);
  const verifier = create({});
  const good = { stepIndex: 0, step: STEPS[0], proof: proofs[0] };
  await verifier.verifyStep(jwt, good);
  for (const request of [
    undefined,
    null,
    1,
    { ...good, step: undefined },
    { stepIndex: 0, action: 'read', mcp: 'files', proof: proofs[0] },
    { ...good, mpc: 'files' },
    { ...good, Action: 'read' },
    { ...good, client_ip: '192.0.2.1' },
    { ...good, acceptUncounted: 'yes' },
    { ...good, acceptUncounted: 1 },
  ]) {
    for (const token of [jwt, 'nonsense'])
      await assert.rejects(verifier.verifyStep(token, request as unknown as StepRequest), TypeError);
  }
  const step = { ...STEPS[0], at: new Date(0) };
  await assert.rejects(
    verifier.verifyStep(jwt, { ...good, step }),
    TypeError,
    'a step that was not parsed from JSON',
  );
});

test('without a clock the system’s is used', async () => {
  const now = Math.floor(Date.now() / 1000);
  const { jwt } = aToken(signer, { iat: now, nbf: now - 5, exp: now + 600 });
  await create({ clock: undefined }).verifyToken(jwt);
  await assert.rejects(create({ clock: undefined }).verifyToken(aToken(signer).jwt));
});
