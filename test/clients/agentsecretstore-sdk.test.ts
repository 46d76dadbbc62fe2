/** `@agentsecretstore/sdk`, unmodified and by its documented options: every method, and each refusal as it shows it. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { suite, test } from 'node:test';
import { generateApiKey } from '../../src/keys/credentials/api-key-hash.ts';
import { available, embedded, postgres, startVault } from './agentsecretstore-server.ts';

// Its map for `import` names a file that it does not ship.
const require = createRequire(import.meta.url);
const sdk = require('@agentsecretstore/sdk') as typeof import('@agentsecretstore/sdk');
const { AgentVault } = sdk;
const APPROVAL_ID = /^apr_[a-z2-7]{8}$/;
type Vault = InstanceType<typeof AgentVault>;
type ErrorName =
  | 'AuthError'
  | 'RateLimitError'
  | 'ScopeError'
  | 'SecretNotFoundError'
  | 'ValidationError'
  | 'VaultError';

/** Rejects with exactly this class of the SDK, carrying our code, our status and our sentence. */
async function refused(
  asked: Promise<unknown>,
  name: ErrorName,
  facts: { code?: string; status?: number; message?: RegExp } = {},
): Promise<Error> {
  const error = await asked.then(
    (value: unknown) => assert.fail(`not refused: ${JSON.stringify(value)}`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof sdk[name], String(error));
  assert.equal(error.name, name, String(error));
  assert.match(error.message, /[^.]\.$/, 'our sentence, and not "Request failed"');
  const { code, status, message } = facts;
  if (code !== undefined) assert.equal(error.code, code, error.message);
  if (status !== undefined) assert.equal(error.status, status);
  if (message !== undefined) assert.match(error.message, message);
  return error;
}

/** Rejects with exactly its error for 202, whose class, code, status and sentence are the SDK's own; its `approvalId`. */
async function approvalOf(asked: Promise<unknown>): Promise<string> {
  const error = await asked.then(
    (value: unknown) => assert.fail(`not refused: ${JSON.stringify(value)}`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof sdk.ApprovalRequiredError, String(error));
  const { name, code, status, message, approvalId } = error;
  assert.deepEqual(
    { name, code, status, message },
    {
      name: 'ApprovalRequiredError',
      code: 'APPROVAL_REQUIRED',
      status: 403,
      message: 'Token requires approval',
    },
  );
  assert.match(approvalId, APPROVAL_ID);
  return approvalId;
}

for (const backend of [embedded, postgres]) {
  suite(`@agentsecretstore/sdk against ${backend.name}`, { skip: backend.skip }, () => {
    const server = startVault(backend);
    const sdkWith = (agentKey: string, options: Record<string, unknown> = {}): Vault =>
      new AgentVault({ agentKey, baseUrl: server.url, retries: 0, ...options });
    /** Of a fresh agent that may do what `spec` says, everything by default. */
    const anSdk = async (spec: Record<string, unknown> = {}, options: Record<string, unknown> = {}) => {
      const agent = await server.createAgent(spec);
      return { agent, vault: sdkWith(agent.key, options) };
    };
    /** Of a fresh agent, with one token for what `token` says, and told to ask for no other. */
    const anSdkWithToken = async (token: Parameters<Vault['requestToken']>[0]) => {
      const { agent, vault } = await anSdk({}, { autoToken: false });
      const { token_id: tokenId = '' } = await vault.requestToken(token);
      const usesRemaining = async () => {
        const found = (await server.tokensOf(agent.key)).find((item) => item.token_id === tokenId);
        return found?.uses_remaining;
      };
      return { agent, vault, tokenId, usesRemaining };
    };

    /** What an approval is about, as an approver sees it. */
    const askedBy = async (id: string) => {
      const { body } = await server.ask<Record<string, unknown>>('GET', `/v1/approvals/${id}`);
      const { agent_id, status, access_tier, scopes } = body;
      return { agent_id, status, access_tier, scopes };
    };

    test('what was set is read back byte by byte', async () => {
      const { vault } = await anSdk();
      const values: Record<string, string> = {
        EMPTY: '',
        BLANKS: ' \t\r\n',
        NUL: 'a\u0000b',
        UNICODE: '\ufeffé — 漢字 🔐 e\u0301',
        JSON: '{"a":"\\"b\\\\"}',
        LONG: 'é'.repeat(32_768),
      };
      for (const [key, value] of Object.entries(values)) {
        await vault.setSecret(`bytes/${key}`, value);
        assert.equal(await vault.getSecret(`bytes/${key}`), value, key);
      }
    });

    test('a path with every character that a path may have is one secret', async () => {
      const { vault } = await anSdk();
      const path = 'team_1/eu-west.2/svc@host/a+b=c~D';
      const written = await vault.setSecret(path, 'there');
      assert.equal(`${written.namespace}/${written.key}`, path);
      assert.equal(await vault.getSecret(path), 'there');
      await vault.deleteSecret(path);
      assert.equal(await server.valueOf(path), undefined);
    });

    test('what is written comes back with its type, tier, metadata and version', async () => {
      const { vault } = await anSdk();
      const metadata = { owner: 'billing', depth: { n: [1, null, 'é'] } };
      const written = await vault.setSecret('facts/DB', 'v1', { secretType: 'db_credential', metadata });
      assert.match(written.id, /^[0-9a-f-]{36}$/);
      assert.equal(written.version, 1);
      assert.ok(!('value' in written));
      const { value, secret_type, access_tier, version, ...rest } =
        await vault.getSecretWithMetadata('facts/DB');
      assert.deepEqual(
        { value, secret_type, access_tier, version, metadata: rest.metadata },
        { value: 'v1', secret_type: 'db_credential', access_tier: 'standard', version: 1, metadata },
      );
    });

    test('an update is a new version, and what the SDK sends in place of omitted options takes effect', async () => {
      const { vault } = await anSdk();
      await vault.setSecret('update/K', 'v1', { secretType: 'api_key', metadata: { kept: false } });
      const updated = await vault.setSecret('update/K', 'v2');
      assert.equal(updated.version, 2);
      assert.equal(updated.secret_type, 'custom');
      assert.equal(updated.metadata, null);
      assert.equal(await vault.getSecret('update/K'), 'v2');
    });

    test('a list names what is in the namespace, nested or empty, and never a value', async () => {
      const { agent, vault } = await anSdk();
      for (const path of ['shop/A', 'shop/B', 'shop/eu/C', 'shop/eu/west/D']) {
        await vault.setSecret(path, 'not-in-a-list', { metadata: { path } });
      }
      for (const [namespace, keys] of Object.entries({
        shop: ['A', 'B'],
        'shop/eu': ['C'],
        'shop/eu/west': ['D'],
        'shop/none': [],
        none: [],
      })) {
        const list = await sdkWith(agent.key).listSecrets(namespace);
        assert.equal(list.namespace, namespace);
        assert.deepEqual(
          list.items.map((item) => item.key),
          keys,
        );
        for (const item of list.items) {
          assert.equal(item.namespace, namespace);
          assert.deepEqual(item.metadata, { path: `${namespace}/${item.key}` });
          assert.equal(item.version, 1);
          assert.ok(Date.parse(item.updated_at) >= Date.parse(item.created_at));
        }
        assert.ok(!JSON.stringify(list).includes('not-in-a-list'));
      }
    });

    test('a token that may read above a nested namespace lists it, unless it is empty', async () => {
      const { vault } = await anSdkWithToken({ scopes: ['secrets:read:above/*'] });
      await server.put('above/eu/C', { value: 'v' });
      assert.deepEqual(
        (await vault.listSecrets('above/eu')).items.map((item) => item.key),
        ['C'],
      );
      // Contract section 5.2: to such a token the name could as well be that of a secret.
      await refused(vault.listSecrets('above/none'), 'SecretNotFoundError', { status: 404 });
    });

    test('a deleted secret is gone, and cannot be deleted twice', async () => {
      const { vault } = await anSdk();
      await vault.setSecret('gone/K', 'v');
      assert.equal(await vault.deleteSecret('gone/K'), undefined);
      await refused(vault.getSecret('gone/K'), 'SecretNotFoundError', { status: 404 });
      await refused(vault.deleteSecret('gone/K'), 'SecretNotFoundError', { status: 404 });
    });

    test('an imported text is read as dotenv reads it, and names the keys', async () => {
      const { vault } = await anSdk();
      await server.put('env/PLAIN', { value: 'before', secret_type: 'api_key' });
      const text = '# of the team\nPLAIN=one two\nexport QUOTED="a\\nb"\n\nSINGLE=\'$HOME # kept\'\nEMPTY=\n';
      const imported = await vault.importEnv(text, 'env', {
        secretType: 'oauth_token',
        metadata: { from: 'file' },
      });
      assert.equal(imported.namespace, 'env');
      assert.equal(imported.imported_count, 4);
      assert.deepEqual([...imported.imported].sort(), ['EMPTY', 'PLAIN', 'QUOTED', 'SINGLE']);
      const read = await Promise.all(
        imported.imported.map(async (key) => [key, await vault.getSecret(`env/${key}`)] as const),
      );
      assert.deepEqual(Object.fromEntries(read), {
        EMPTY: '',
        PLAIN: 'one two',
        QUOTED: 'a\nb',
        SINGLE: '$HOME # kept',
      });
      const old = await vault.getSecretWithMetadata('env/PLAIN');
      assert.deepEqual([old.version, old.secret_type, old.metadata], [2, 'api_key', null]);
      const fresh = await vault.getSecretWithMetadata('env/QUOTED');
      assert.deepEqual(
        [fresh.version, fresh.secret_type, fresh.metadata],
        [1, 'oauth_token', { from: 'file' }],
      );
    });

    test('a text with a line that cannot be read imports nothing and names the line', async () => {
      const { vault } = await anSdk();
      for (const [text, line] of [
        ['A=1\nB\n', 2],
        ['A=1\n\nA=2\n', 3],
        ['A=1\n\nB="open # not a comment\n', 3],
      ] as const) {
        const message = new RegExp(`line ${line} `);
        await refused(vault.importEnv(text, 'env-refused'), 'VaultError', {
          code: 'VALIDATION_ERROR',
          status: 400,
          message,
        });
      }
      assert.deepEqual((await vault.listSecrets('env-refused')).items, []);
    });

    test('a requested token has the lifetime, uses and addresses that were asked', async () => {
      const { agent, vault } = await anSdk();
      const scopes = ['secrets:read:prod/*', 'secrets:write:prod/openai/KEY'];
      for (const [ttl, seconds] of [
        ['900', 900],
        ['15m', 900],
        ['2h', 7200],
        ['1d', 86_400],
      ] as const) {
        const issued = await vault.requestToken({
          scopes,
          ttl,
          maxUses: 3,
          ipAllowlist: ['127.0.0.1', '10.0.0.0/8'],
        });
        assert.match(issued.token ?? '', /^ast_tok_[\w-]{43}$/);
        assert.ok(Date.parse(issued.expires_at ?? '') > 0);
        assert.equal(issued.requires_approval, false);
        const [stored] = await server.tokensOf(agent.key);
        assert.deepEqual(
          [stored?.token_id, stored?.scopes, stored?.ttl_seconds, stored?.max_uses, stored?.allowed_ips],
          [issued.token_id, scopes, seconds, 3, ['127.0.0.1', '10.0.0.0/8']],
        );
      }
      await sdkWith(agent.key, { defaultTtl: '10m' }).requestToken({ scopes });
      const [last] = await server.tokensOf(agent.key);
      assert.deepEqual([last?.ttl_seconds, last?.max_uses, last?.allowed_ips], [600, null, null]);
    });

    test('of itself it asks for one token for each action on each path, and takes that one again', async () => {
      const { agent, vault } = await anSdk();
      await vault.setSecret('auto/K', 'v');
      for (let read = 0; read < 3; read += 1) await vault.getSecret('auto/K');
      await vault.listSecrets('auto');
      const asked = (await server.tokensOf(agent.key)).map((item) => item.scopes);
      assert.deepEqual(asked.reverse(), [
        ['secrets:write:auto/K'],
        ['secrets:read:auto/K'],
        ['secrets:read:auto/*'],
      ]);
    });

    test('told not to, it asks for none: one token does everything that it may', async () => {
      const { agent, vault } = await anSdk({}, { autoToken: false });
      await assert.rejects(vault.getSecret('own/K'), sdk.AuthError);
      assert.deepEqual(await server.tokensOf(agent.key), []);
      await vault.requestToken({ scopes: ['secrets:*:own/*'] });
      await vault.setSecret('own/K', 'v');
      assert.equal(await vault.getSecret('own/K'), 'v');
      assert.equal((await vault.listSecrets('own')).items.length, 1);
      await vault.importEnv('L=w', 'own');
      await vault.deleteSecret('own/K');
      assert.equal((await server.tokensOf(agent.key)).length, 1);
    });

    test('a key that is not accepted is its authentication error', async () => {
      for (const key of [generateApiKey().text, 'ak_live_short', `ak_live_${'0'.repeat(64)}`]) {
        const facts = { code: 'UNAUTHORIZED', status: 401, message: /API key/ };
        await refused(sdkWith(key).getSecret('prod/K'), 'AuthError', facts);
        await refused(sdkWith(key).requestToken({ scopes: ['secrets:read:*'] }), 'AuthError', facts);
      }
    });

    test('an approver’s key gets no token', async () => {
      const { vault } = await anSdk({ role: 'approver', allowed_scopes: undefined });
      await refused(vault.getSecret('prod/K'), 'VaultError', { code: 'FORBIDDEN', status: 403 });
    });

    test('what the agent may not is its scope error, when it asks and when it tries', async () => {
      const { vault } = await anSdk({ allowed_scopes: ['secrets:read:mine/*'] });
      await server.put('theirs/K', { value: 'v' });
      const facts = { code: 'SCOPE_DENIED', status: 403 };
      await refused(vault.getSecret('theirs/K'), 'ScopeError', facts);
      await refused(vault.getSecret('theirs/ABSENT'), 'ScopeError', facts);
      await refused(vault.setSecret('mine/K', 'v'), 'ScopeError', facts);
      await refused(vault.deleteSecret('mine/K'), 'ScopeError', facts);
      await refused(vault.listSecrets('theirs'), 'ScopeError', facts);
      await refused(vault.importEnv('K=v', 'mine'), 'ScopeError', facts);
      await refused(vault.requestToken({ scopes: ['secrets:read:*'] }), 'ScopeError', facts);

      const narrow = await anSdkWithToken({ scopes: ['secrets:read:mine/*'], maxUses: 1 });
      await refused(narrow.vault.getSecret('theirs/K'), 'ScopeError', facts);
      await refused(narrow.vault.setSecret('mine/K', 'v'), 'ScopeError', facts);
      await refused(narrow.vault.listSecrets('theirs'), 'ScopeError', facts);
      assert.equal(await narrow.usesRemaining(), 1);
    });

    test('the use after the last is its authentication error', async () => {
      await server.put('counted/K', { value: 'v' });
      const { vault, usesRemaining } = await anSdkWithToken({
        scopes: ['secrets:read:counted/*'],
        maxUses: 2,
      });
      await refused(vault.getSecret('counted/ABSENT'), 'SecretNotFoundError', { status: 404 });
      assert.equal(await vault.getSecret('counted/K'), 'v');
      assert.equal((await vault.listSecrets('counted')).items.length, 1);
      const facts = { status: 401, message: /used as often as it may be/ };
      await refused(vault.getSecret('counted/K'), 'AuthError', facts);
      assert.equal(await usesRemaining(), 0);
    });

    test('a use from another address is refused by name, and is none', async () => {
      await server.put('addressed/K', { value: 'v' });
      const { vault, usesRemaining } = await anSdkWithToken({
        scopes: ['secrets:read:addressed/*'],
        maxUses: 1,
        ipAllowlist: ['203.0.113.0/24', '2001:db8::/32'],
      });
      await refused(vault.getSecret('addressed/K'), 'VaultError', {
        code: 'IP_NOT_ALLOWED',
        status: 403,
        message: /from 127\.0\.0\.1\./,
      });
      assert.equal(await usesRemaining(), 1);
    });

    test('a revoked token is its authentication error, and so is that of a revoked agent', async () => {
      await server.put('ended/K', { value: 'v' });
      const facts = { status: 401, message: /revoked/ };
      const first = await anSdkWithToken({ scopes: ['secrets:read:ended/*'] });
      assert.equal(await first.vault.getSecret('ended/K'), 'v');
      await server.ask('DELETE', `/v1/tokens/${first.tokenId}`, undefined, first.agent.key);
      await refused(first.vault.getSecret('ended/K'), 'AuthError', facts);

      const second = await anSdkWithToken({ scopes: ['secrets:read:ended/*'] });
      assert.equal(await second.vault.getSecret('ended/K'), 'v');
      await server.ask('DELETE', `/v1/agents/${second.agent.id}`);
      await refused(second.vault.getSecret('ended/K'), 'AuthError', facts);
    });

    test('narrowing an agent narrows the token that it holds', async () => {
      await server.put('wide/K', { value: 'v' });
      const { agent, vault } = await anSdkWithToken({ scopes: ['secrets:read:wide/*'] });
      assert.equal(await vault.getSecret('wide/K'), 'v');
      await server.ask('PATCH', `/v1/agents/${agent.id}`, { allowed_scopes: ['secrets:read:other/*'] });
      await refused(vault.getSecret('wide/K'), 'ScopeError', { status: 403 });
    });

    const GUARDED = [
      ['S', 'sensitive'],
      ['C', 'critical'],
    ] as const;
    const putGuarded = async (namespace: string): Promise<void> => {
      for (const [key, tier] of GUARDED) {
        await server.put(`${namespace}/${key}`, { value: key, access_tier: tier });
      }
    };
    /** No import writes a part, no list hides a tier, and nothing that was tried took effect. */
    const leavesGuarded = async (vault: Vault, namespace: string): Promise<void> => {
      await refused(vault.importEnv('S=x\nNEW=y', namespace), 'VaultError', {
        code: 'APPROVAL_REQUIRED',
        status: 403,
        message: /\bsensitive\b/,
      });
      assert.deepEqual(
        (await vault.listSecrets(namespace)).items.map((item) => item.access_tier),
        ['critical', 'sensitive'],
      );
      for (const [key] of GUARDED) assert.equal(await server.valueOf(`${namespace}/${key}`), key);
      assert.equal(await server.valueOf(`${namespace}/NEW`), undefined);
    };

    test('when it asks for a guarded secret, its approval error names an approval of just that', async () => {
      await putGuarded('asked');
      const { agent, vault } = await anSdk();
      for (const [key, tier] of GUARDED) {
        const path = `asked/${key}`;
        for (const [action, asked] of [
          ['read', () => vault.getSecret(path)],
          ['write', () => vault.setSecret(path, 'x')],
          ['delete', () => vault.deleteSecret(path)],
        ] as const) {
          assert.deepEqual(await askedBy(await approvalOf(asked())), {
            agent_id: agent.id,
            status: 'pending',
            access_tier: tier,
            scopes: [`secrets:${action}:${path}`],
          });
        }
      }
      assert.deepEqual(await server.tokensOf(agent.key), [], 'no token before somebody agrees');
      await leavesGuarded(vault, 'asked');
    });

    test('when it tries one with a token that nobody approved, that is its plain error', async () => {
      // Contract section 10: it knows no approval in an error, and always sends a tier.
      await putGuarded('tried');
      const { vault } = await anSdkWithToken({ scopes: ['secrets:*:tried/*'] });
      for (const [key, tier] of GUARDED) {
        const facts = { code: 'APPROVAL_REQUIRED', status: 403, message: new RegExp(`\\b${tier}\\b`) };
        await refused(vault.getSecret(`tried/${key}`), 'VaultError', facts);
        await refused(vault.setSecret(`tried/${key}`, 'x'), 'VaultError', facts);
        await refused(vault.deleteSecret(`tried/${key}`), 'VaultError', facts);
      }
      await leavesGuarded(vault, 'tried');
    });

    test('with a tier named, the SDK writes a secret that its own agent reads only with an approval', async () => {
      const { agent, vault } = await anSdk();
      const written = await vault.setSecret('raised/K', 'v', { accessTier: 'critical' });
      assert.equal(written.access_tier, 'critical');
      assert.deepEqual(await askedBy(await approvalOf(vault.getSecret('raised/K'))), {
        agent_id: agent.id,
        status: 'pending',
        access_tier: 'critical',
        scopes: ['secrets:read:raised/K'],
      });
    });

    test('what is not in form is refused with the code of its rule, and nothing is cut', async () => {
      const { agent, vault } = await anSdk();
      const scopes = ['secrets:read:prod/*'];
      for (const [request, code] of [
        [{ scopes: [] }, 'INVALID_SCOPE'],
        [{ scopes: ['secrets:list:prod/*'] }, 'INVALID_SCOPE'],
        [{ scopes: ['manage:agents'] }, 'INVALID_SCOPE'],
        [{ scopes, ttl: '4m' }, 'TTL_OUT_OF_RANGE'],
        [{ scopes, ttl: '2d' }, 'TTL_OUT_OF_RANGE'],
        [{ scopes, ttl: 'soon' }, 'INVALID_TTL'],
        [{ scopes, maxUses: 0 }, 'INVALID_MAX_USES'],
        [{ scopes, maxUses: 1.5 }, 'INVALID_MAX_USES'],
        [{ scopes, ipAllowlist: [] }, 'INVALID_IP_ALLOWLIST'],
        [{ scopes, ipAllowlist: ['10.0.0.1/8'] }, 'INVALID_IP_ALLOWLIST'],
      ] as const) {
        const asked = vault.requestToken(request as unknown as Parameters<Vault['requestToken']>[0]);
        await refused(asked, 'VaultError', { code, status: 400 });
      }
      assert.deepEqual(await server.tokensOf(agent.key), []);
      await refused(vault.setSecret('prod/two words', 'v'), 'VaultError', { code: 'INVALID_SCOPE' });
      await refused(vault.setSecret('prod/LONG', 'é'.repeat(32_769)), 'VaultError', {
        code: 'PAYLOAD_TOO_LARGE',
        status: 413,
      });
      assert.equal(await server.valueOf('prod/LONG'), undefined);
    });
  });
}

suite('@agentsecretstore/sdk against a server that limits requests', () => {
  const server = startVault(available, { RATE_LIMIT_MAX: '10', RATE_LIMIT_WINDOW_SECONDS: '3600' });

  test('too many of them are its rate limit error, with the seconds to wait, and use nothing up', async () => {
    const agent = await server.createAgent();
    await server.put('busy/K', { value: 'v' });
    const vault = new AgentVault({ agentKey: agent.key, baseUrl: server.url, autoToken: false });
    const { token_id: tokenId } = await vault.requestToken({ scopes: ['secrets:read:busy/*'], maxUses: 100 });
    let reads = 0;
    const readOn = async (): Promise<void> => {
      for (; reads < 40; reads += 1) await vault.getSecret('busy/K');
    };
    const error = await refused(readOn(), 'RateLimitError', { code: 'RATE_LIMITED', status: 429 });
    assert.ok(error instanceof sdk.RateLimitError);
    const { retryAfter = 0 } = error;
    assert.ok(Number.isInteger(retryAfter) && retryAfter >= 1 && retryAfter <= 3600, String(retryAfter));
    await refused(vault.requestToken({ scopes: ['secrets:read:busy/*'] }), 'RateLimitError');
    const { body } = await server.ask<{ uses_remaining: number }>('GET', `/v1/tokens/${tokenId}`);
    assert.equal(body.uses_remaining, 100 - reads);
  });
});
