/** The key set of a listening server is fetched as it is published, and nothing but a plain good answer is taken. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createVerifier, VerificationError } from '../../src/verify.ts';
import { AUDIENCE, aSigner, aToken, ISSUER, NOW_SECONDS } from './signed-tokens.ts';

const signer = aSigner();
const { jwt: GOOD } = aToken(signer);
const JWKS = JSON.stringify({ keys: [signer.jwk] });

async function serve(t: TestContext, listener: RequestListener) {
  const asked: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    asked.push(request);
    listener(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/.well-known/jwks.json`;
  const verifier = createVerifier({
    jwksUrl: url,
    issuer: ISSUER,
    audience: AUDIENCE,
    clock: () => new Date(NOW_SECONDS * 1000),
  });
  return { asked, url, verifier };
}

const isUnavailable = (error: unknown) => {
  assert.ok(error instanceof VerificationError, String(error));
  assert.equal(error.code, 'KEYS_UNAVAILABLE');
  assert.ok(error.cause instanceof Error, 'it says why');
  return true;
};

test('concurrent verifications of a new verifier ask the server once, without credentials', async (t) => {
  const { asked, verifier } = await serve(t, (_, response) => response.end(JWKS));
  await Promise.all(Array.from({ length: 20 }, () => verifier.verifyToken(GOOD)));
  assert.equal(asked.length, 1);
  assert.equal(asked[0]?.method, 'GET');
  assert.equal(asked[0]?.headers.authorization, undefined);
  assert.equal(asked[0]?.headers.cookie, undefined);
});

test('a token that is no JWT, or whose header is wrong, asks for no keys', async (t) => {
  const { asked, verifier } = await serve(t, (_, response) => response.end(JWKS));
  await assert.rejects(verifier.verifyToken('nonsense'));
  await assert.rejects(verifier.verifyToken(`e30${GOOD.slice(GOOD.indexOf('.'))}`));
  assert.equal(asked.length, 0);
});

const ANSWERS: Readonly<Record<string, RequestListener>> = {
  'a 404': (_, response) => response.writeHead(404).end(JWKS),
  'a 500': (_, response) => response.writeHead(500).end(JWKS),
  'a 429': (_, response) => response.writeHead(429).end(),
  'a 304': (_, response) => response.writeHead(304).end(),
  'no JSON': (_, response) => response.end('<html>'),
  'too long': (_, response) => response.end(JWKS.replace('{', `{${' '.repeat(65_536)}`)),
  'cut off': (_, response) => {
    response.writeHead(200, { 'content-length': String(JWKS.length + 1) });
    response.write(JWKS);
    response.destroy();
  },
  'a connection that breaks': (request) => request.socket.destroy(),
};
for (const [name, listener] of Object.entries(ANSWERS)) {
  test(`an answer that is not the key set fails the verification: ${name}`, async (t) => {
    const { verifier } = await serve(t, listener);
    await assert.rejects(verifier.verifyToken(GOOD), isUnavailable);
  });
}

for (const status of [301, 302, 303, 307, 308]) {
  test(`a redirect (${status}) is not followed: the caller named the address`, async (t) => {
    const elsewhere = await serve(t, (_, response) => response.end(JWKS));
    const { verifier } = await serve(t, (_, response) =>
      response.writeHead(status, { location: elsewhere.url }).end(JWKS),
    );
    await assert.rejects(verifier.verifyToken(GOOD), isUnavailable);
    assert.equal(elsewhere.asked.length, 0);
  });
}

test('a browser is asked to pass over its own cache, and to follow no redirect', async (t) => {
  const asked: unknown[] = [];
  t.mock.method(globalThis, 'fetch', async (_url: string, options: Readonly<Record<string, unknown>>) => {
    asked.push([options['cache'], options['redirect']]);
    return new Response(JWKS);
  });
  const { verifier } = await serve(t, (_, response) => response.end());
  await verifier.verifyToken(GOOD);
  assert.deepEqual(asked, [['no-store', 'manual']]);
});

test('a server that does not answer fails the verification after a while', async (t) => {
  const { verifier } = await serve(t, () => {});
  const limits: number[] = [];
  const timeout = AbortSignal.timeout.bind(AbortSignal);
  t.mock.method(AbortSignal, 'timeout', (milliseconds: number) => {
    limits.push(milliseconds);
    return timeout(20);
  });
  await assert.rejects(verifier.verifyToken(GOOD), isUnavailable);
  assert.deepEqual(limits, [5000]);
});

test('a server that is not there fails the verification', async () => {
  const verifier = createVerifier({
    jwksUrl: 'http://127.0.0.1:1/jwks.json',
    issuer: ISSUER,
    audience: AUDIENCE,
  });
  await assert.rejects(verifier.verifyToken(GOOD), isUnavailable);
});
