/** The published SDK, unmodified and by its documented options, gets what it needs from a listening server. */
import assert from 'node:assert/strict';
import { createHash, createPublicKey, verify } from 'node:crypto';
import { createRequire } from 'node:module';
import { after, before, suite, type TestContext, test } from 'node:test';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { generateApiKey } from '../../src/keys/credentials/api-key-hash.ts';
import { freePort } from '../support/free-port.ts';
import { printedKey } from '../support/issuing.ts';
import { createEmptyTestDatabase, postgresSkip } from '../support/postgres.ts';
import { startNode, startServer } from '../support/processes.ts';
import { TEST_MASTER_KEY } from '../support/test-master-key.ts';

const require = createRequire(import.meta.url);
const SDK = require.resolve('@armoriq/sdk');

/** Runs in a process of its own: the SDK checks its key without being awaited, and a wrong one ends the process. */
const CLIENT = `
  const { ArmorIQClient } = require(${JSON.stringify(SDK)});
  const { url, proxyUrl = url, apiKey, plan, policy, validity } = JSON.parse(process.argv[1]);
  (async () => {
    const client = new ArmorIQClient({
      apiKey, userId: 'user-1', agentId: 'agent-1', contextId: 'context-1',
      backendEndpoint: url, proxyEndpoint: proxyUrl, iapEndpoint: url,
    });
    const capture = client.capturePlan('gpt-4', 'look at the weather', plan, { note: 'mine' });
    const token = await client.getIntentToken(capture, policy, validity);
    const verified = await client.verifyToken(token);
    console.log('RESULT ' + JSON.stringify({ token, verified }));
    client.close();
  })().catch((error) => {
    console.log('THROWN ' + JSON.stringify({ name: error.constructor.name, message: error.message }));
    process.exit(3);
  });
`;

const PLAN = {
  goal: 'look at the weather — überall',
  steps: [
    { action: 'get_weather', mcp: 'weather-mcp', params: { city: 'Zürich', days: 3 } },
    { action: 'send_mail', mcp: 'mail-mcp', params: { to: 'a@example.org' } },
    { action: 'note', params: {} },
  ],
};

interface SdkToken {
  readonly tokenId: string;
  readonly planId: string;
  readonly planHash: string;
  readonly signature: string;
  readonly compositeIdentity: string;
  readonly clientInfo: Record<string, string>;
  readonly policyValidation: Record<string, unknown>;
  readonly stepProofs: { step_index: number }[];
  readonly jwtToken: string;
  readonly rawToken: { token: Record<string, unknown>; intent_reference: string; merkle_root: string };
}

interface ClientRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly result: { token: SdkToken; verified: boolean } | undefined;
  readonly thrown: { name: string; message: string } | undefined;
}

const backends = [
  { name: 'the embedded database', skip: false, env: async () => ({}) },
  {
    name: 'Postgres',
    skip: postgresSkip,
    env: async (t: Pick<TestContext, 'after'>) => ({
      DATABASE_URL: (await createEmptyTestDatabase(t)).url,
      MASTER_KEY: TEST_MASTER_KEY,
    }),
  },
];

for (const backend of backends) {
  suite(`@armoriq/sdk ${require('@armoriq/sdk/package.json').version} against ${backend.name}`, {
    skip: backend.skip,
  }, () => {
    let url: string;
    let apiKey: string;
    const closers: (() => unknown)[] = [];
    before(async () => {
      const closing = { after: (close: unknown) => closers.push(close as () => unknown) } as never;
      const server = await startServer(closing, { ...(await backend.env(closing)), PORT: '0' });
      url = server.url;
      apiKey = printedKey(server.stdout());
    });
    after(async () => {
      for (const close of closers.reverse()) await close();
    });

    const run = async (t: TestContext, changes: Record<string, unknown> = {}): Promise<ClientRun> => {
      const input = JSON.stringify({ url, apiKey, plan: PLAN, ...changes });
      const client = await startNode(t, ['-e', CLIENT, input], {});
      const code = await client.ended;
      const told = (mark: string) => {
        const line = client
          .stdout()
          .split('\n')
          .find((candidate) => candidate.startsWith(mark));
        return line === undefined ? undefined : JSON.parse(line.slice(mark.length));
      };
      return {
        code,
        stdout: client.stdout(),
        stderr: client.stderr(),
        result: told('RESULT '),
        thrown: told('THROWN '),
      };
    };

    test('a captured plan gets a token, and the SDK says that it is valid', async (t) => {
      const { code, stdout, stderr, result } = await run(t);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /API key validated successfully/);
      assert.equal(result?.verified, true);
      const token = result.token;
      assert.equal(token.planHash, sha256(asciiJson(PLAN)));
      assert.equal(token.stepProofs.length, 3);
      assert.equal(token.rawToken.intent_reference, token.tokenId);
      assert.deepEqual(token.policyValidation['denied_tools'], []);
      assert.deepEqual(Object.keys(token.clientInfo).sort(), ['clientId', 'clientName', 'orgId']);
      assert.match(token.planId, /^[0-9a-f-]{36}$/);
    });

    test('the object’s signature holds over exactly the members that SDKs recompute', async (t) => {
      for (const policy of [undefined, { allow: ['weather-mcp/*', 'mail-mcp/send_mail', '*'], name: 'ü' }]) {
        const { result } = await run(t, { policy });
        const token = result?.token.rawToken.token ?? {};
        const { plan_hash, issued_at, expires_at, policy: signed, identity, public_key, version } = token;
        const text = asciiJson({
          plan_hash,
          issued_at,
          expires_at,
          policy: signed,
          identity,
          public_key,
          version,
        });
        assert.ok(ed25519Verifies(String(public_key), text, String(token['signature'])));
        assert.ok(!ed25519Verifies(String(public_key), `${text} `, String(token['signature'])));
        assert.equal(result?.token.signature, token['signature']);
        assert.equal(identity, result?.token.compositeIdentity);
        assert.equal(version, '1.0');
        assert.deepEqual(signed, policy ?? { allow: ['*'], deny: [] });
        assert.equal(Number(expires_at) - Number(issued_at), 60);
        const jwks = (await (await fetch(`${url}/.well-known/jwks.json`)).json()) as {
          keys: { x: string }[];
        };
        const published = jwks.keys.map((key) => Buffer.from(key.x, 'base64url').toString('hex'));
        assert.ok(published.includes(String(public_key)));
      }
    });

    test('the JWT is verified by jose from the JWKS URL, with issuer, audience and expiry required', async (t) => {
      const { result } = await run(t, { validity: 300 });
      const jwt = result?.token.jwtToken ?? '';
      const keys = createRemoteJWKSet(new URL(`${url}/.well-known/jwks.json`));
      const issuer = String(JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString())['iss']);
      const required = { algorithms: ['EdDSA'], requiredClaims: ['iss', 'aud', 'exp', 'jti', 'iat', 'nbf'] };
      const { payload, protectedHeader } = await jwtVerify(jwt, keys, {
        ...required,
        issuer,
        audience: 'writ',
      });
      assert.equal(protectedHeader.typ, 'JWT');
      assert.match(issuer, /^http:\/\/127\.0\.0\.1/);
      assert.equal(payload.jti, result?.token.tokenId);
      assert.equal(payload.sub, 'user-1');
      assert.equal(payload['plan_hash'], result?.token.planHash);
      assert.equal(payload['merkle_root'], result?.token.rawToken.merkle_root);
      assert.equal(Number(payload.exp) - Number(payload.iat), 300);
      assert.deepEqual(payload['identity'], {
        user_id: 'user-1',
        agent_id: 'agent-1',
        context_id: 'context-1',
        api_key_id: apiKey.slice(8, 24),
      });
      await assert.rejects(jwtVerify(jwt, keys, { ...required, issuer, audience: 'other' }));
      await assert.rejects(jwtVerify(jwt, keys, { ...required, issuer: 'https://other', audience: 'writ' }));
      const late = new Date(Number(payload.exp) * 1000);
      await assert.rejects(
        jwtVerify(jwt, keys, { ...required, issuer, audience: 'writ', currentDate: late }),
      );
    });

    test('a wrong key is the SDK’s authentication error, and ends its process', async (t) => {
      const input = JSON.stringify({ url, apiKey: generateApiKey().text });
      const idle = await startNode(t, ['-e', IDLE, input], {});
      assert.notEqual(await idle.ended, 0);
      assert.match(idle.stderr(), /ConfigurationException: Invalid API key/);
    });

    test('a wrong key gets no token either: the SDK’s token error carries our sentence', async (t) => {
      // Its key check is sent elsewhere, or it would end the process before the token is refused.
      const nowhere = `http://127.0.0.1:${await freePort()}`;
      const { thrown, code } = await run(t, { apiKey: generateApiKey().text, proxyUrl: nowhere });
      assert.equal(code, 3);
      assert.equal(thrown?.name, 'InvalidTokenException');
      assert.match(thrown?.message ?? '', /^Token issuance failed: The API key is /);
    });

    test('a denied plan is the SDK’s token error with our sentence, and there is no token', async (t) => {
      const { code, thrown, result } = await run(t, { policy: { allow: ['*'], deny: ['mail-mcp/*'] } });
      assert.equal(code, 3);
      assert.equal(result, undefined);
      assert.equal(thrown?.name, 'InvalidTokenException');
      assert.equal(thrown?.message, 'Token issuance failed: The policy denies a step of this plan.');
    });

    test('a plan that is none is the SDK’s token error, too', async (t) => {
      const { thrown } = await run(t, { plan: { steps: [] } });
      assert.equal(thrown?.name, 'InvalidTokenException');
      assert.match(thrown?.message ?? '', /^Token issuance failed: \S/);
    });
  });
}

/** Makes a client and does nothing else. */
const IDLE = `
  const { ArmorIQClient } = require(${JSON.stringify(SDK)});
  const { url, apiKey } = JSON.parse(process.argv[1]);
  new ArmorIQClient({
    apiKey, userId: 'user-1', agentId: 'agent-1', backendEndpoint: url, proxyEndpoint: url, iapEndpoint: url,
  });
`;

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Written out for this test: sorted members, ASCII only, no white space. */
function asciiJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(asciiJson).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${members.map(([name, member]) => `${asciiJson(name)}:${asciiJson(member)}`).join(',')}}`;
  }
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function ed25519Verifies(publicKeyHex: string, text: string, signatureHex: string): boolean {
  const x = Buffer.from(publicKeyHex, 'hex').toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  return verify(null, Buffer.from(text), key, Buffer.from(signatureHex, 'hex'));
}
