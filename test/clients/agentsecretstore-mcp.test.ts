/**
 * `ass-mcp` of `@agentsecretstore/mcp`, unmodified, over stdio: every tool that has a server side, and what a person
 * reads when one is refused or takes an approval. `get_approval_status` stands in agentsecretstore-approvals.test.ts;
 * a token that an approval gives it, it cannot use (contract section 10).
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { suite, type TestContext, test } from 'node:test';
import { generateApiKey } from '../../src/keys/credentials/api-key-hash.ts';
import { available, startVault } from './agentsecretstore-server.ts';

// Its map of exports names one file, which starts the server; the command is another.
const MCP = join(createRequire(import.meta.url).resolve('@agentsecretstore/mcp'), '../../bin/run.js');
/** JSON-RPC's number for an error that the server had. */
const INTERNAL_ERROR = -32603;
/** And for a request that cannot be answered as it is: its number for whatever takes an approval. */
const INVALID_REQUEST = -32600;

const NEEDS_APPROVAL =
  /^MCP error -32600: Human approval required\. Approval ID: (apr_[a-z2-7]{8})\. Use get_approval_status to check progress\.$/;

interface Reply {
  readonly id: number;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly code: number; readonly message: string };
}

interface Session {
  send(method: string, params?: object): Promise<Reply>;
  /** What the tool shows, read as the JSON that it is. */
  use<Shown = Record<string, unknown>>(tool: string, args?: object): Promise<Shown>;
  /** The sentence with which the tool is refused. */
  refusal(tool: string, args?: object): Promise<string>;
  /** The id in the sentence with which the tool says that a human has to agree first. */
  approval(tool: string, args?: object): Promise<string>;
  /** Standard error so far. */
  complaints(): string;
}

/** A running server that has been greeted as MCP hosts greet one. */
async function openSession(
  t: TestContext,
  env: { ASS_API_URL: string; ASS_AGENT_KEY: string },
): Promise<Session> {
  const child = spawn(process.execPath, [MCP], { env: { PATH: process.env['PATH'], ...env } });
  const closed = once(child, 'close');
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const waiting = new Map<number, (reply: Reply) => void>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    const reply = JSON.parse(line) as Reply;
    waiting.get(reply.id)?.(reply);
    waiting.delete(reply.id);
  });
  t.after(async () => {
    child.stdin.end();
    child.kill('SIGKILL');
    await closed;
  });

  let asked = 0;
  const write = (message: object) => child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  const send: Session['send'] = (method, params = {}) => {
    asked += 1;
    const id = asked;
    const replied = new Promise<Reply>((resolve) => waiting.set(id, resolve));
    write({ id, method, params });
    const ended = closed.then(() => Promise.reject(new Error(`ass-mcp ended: ${stderr}`)));
    return Promise.race([replied, ended]);
  };
  const call = (tool: string, args: object = {}) => send('tools/call', { name: tool, arguments: args });
  const greeted = await send('initialize', {
    protocolVersion: '2025-03-26',
    capabilities: {},
    clientInfo: { name: 'writ-test', version: '1.0.0' },
  });
  assert.deepEqual(greeted.result?.['serverInfo'], { name: 'agent-secret-store', version: '1.0.0' });
  write({ method: 'notifications/initialized' });

  return {
    send,
    use: async (tool, args) => {
      const { result, error } = await call(tool, args);
      assert.equal(error, undefined);
      const content = (result?.['content'] ?? []) as { type: string; text: string }[];
      assert.deepEqual(
        content.map((part) => part.type),
        ['text'],
      );
      return JSON.parse(content[0]?.text ?? '');
    },
    refusal: async (tool, args) => {
      const { result, error } = await call(tool, args);
      assert.equal(result, undefined, JSON.stringify(result));
      assert.equal(error?.code, INTERNAL_ERROR);
      const sentence = error.message.replace(/^MCP error -?\d+: /, '');
      // What it says where the server's own sentence is missing.
      assert.doesNotMatch(sentence, /^HTTP \d|undefined|\[object|fetch failed/);
      return sentence;
    },
    approval: async (tool, args) => {
      const { result, error } = await call(tool, args);
      assert.equal(result, undefined, JSON.stringify(result));
      assert.equal(error?.code, INVALID_REQUEST);
      const [, id = ''] = NEEDS_APPROVAL.exec(error.message) ?? [];
      assert.notEqual(id, '', error.message);
      return id;
    },
    complaints: () => stderr,
  };
}

suite('@agentsecretstore/mcp', () => {
  const server = startVault(available);
  const connect = (t: TestContext, key: string) =>
    openSession(t, { ASS_API_URL: server.url, ASS_AGENT_KEY: key });
  const connectAs = async (t: TestContext, spec: Record<string, unknown> = {}) => {
    const agent = await server.createAgent(spec);
    return { agent, session: await connect(t, agent.key) };
  };

  test('it offers its eight tools', async (t) => {
    const session = await connect(t, server.adminKey);
    const { result } = await session.send('tools/list');
    const tools = (result?.['tools'] ?? []) as { name: string }[];
    assert.deepEqual(
      tools.map((tool) => tool.name),
      [
        'get_secret',
        'set_secret',
        'list_secrets',
        'list_namespaces',
        'delete_secret',
        'rotate_secret',
        'request_token',
        'get_approval_status',
      ],
    );
    assert.equal(session.complaints(), '');
  });

  test('a secret that it set is shown as it was set, with all that is known of it', async (t) => {
    const { agent, session } = await connectAs(t);
    for (const [namespace, key, value] of [
      ['prod', 'KEY', 'sk-1'],
      ['prod/eu/svc@1', 'A+B=~', 'é — "quoted"\n\u0000'],
      ['prod', 'EMPTY', ''],
    ] as const) {
      const written = await session.use('set_secret', { namespace, key, value, secret_type: 'api_key' });
      assert.ok(!('value' in written));
      const shown = await session.use('get_secret', { namespace, key });
      assert.deepEqual({ ...shown, value }, { ...written, value });
      assert.equal(shown['value'], value);
      assert.deepEqual(
        [shown['path'], shown['version'], shown['secret_type'], shown['access_tier']],
        [`${namespace}/${key}`, 1, 'api_key', 'standard'],
      );
    }
    const again = await session.use('set_secret', { namespace: 'prod', key: 'KEY', value: 'sk-2' });
    assert.equal(again['version'], 2);
    assert.equal(await server.valueOf('prod/KEY'), 'sk-2');
    const tokens = await server.tokensOf(agent.key);
    assert.ok(tokens.length > 0 && tokens.every((token) => token.ttl_seconds === 3600));
  });

  test('a list shows a namespace’s own keys, nested or empty, and never a value', async (t) => {
    const { session } = await connectAs(t);
    for (const path of ['list/A', 'list/B', 'list/deep/C']) {
      await server.put(path, { value: 'not-in-a-list' });
    }
    for (const [namespace, keys] of Object.entries({ list: ['A', 'B'], 'list/deep': ['C'], nothing: [] })) {
      const list = await session.use<{ namespace: string; items: { key: string }[] }>('list_secrets', {
        namespace,
      });
      assert.equal(list.namespace, namespace);
      assert.deepEqual(
        list.items.map((item) => item.key),
        keys,
      );
      assert.ok(!JSON.stringify(list).includes('not-in-a-list'));
    }
  });

  test('the namespaces that it shows are those that its agent may list', async (t) => {
    const { session } = await connectAs(t, { allowed_scopes: ['secrets:read:mine/*'] });
    for (const path of ['mine/A', 'mine/B', 'mine/deep/C', 'other/D']) await server.put(path, { value: 'v' });
    const shown = await session.use<{ items: object[] }>('list_namespaces');
    assert.deepEqual(shown.items, [
      { namespace: 'mine', secret_count: 2 },
      { namespace: 'mine/deep', secret_count: 1 },
    ]);
  });

  test('a requested token opens what it names, as long as was asked, and nothing else', async (t) => {
    const { agent, session } = await connectAs(t);
    await server.put('asked/K', { value: 'v' });
    await server.put('unasked/K', { value: 'v' });
    const scopes = ['secrets:read:asked/*'];
    const shown = await session.use<{ token: string }>('request_token', { scopes, ttl: '15m' });
    assert.deepEqual(shown, { token: shown.token, scopes, ttl: '15m' });
    const read = (path: string) => server.ask('GET', `/v1/secrets/${path}`, undefined, shown.token);
    assert.equal((await read('asked/K')).status, 200);
    assert.equal((await read('unasked/K')).status, 403);
    assert.equal((await server.tokensOf(agent.key))[0]?.ttl_seconds, 900);
    await session.use('request_token', { scopes });
    assert.equal((await server.tokensOf(agent.key))[0]?.ttl_seconds, 3600);
  });

  test('deleting and rotating are left to a person: it shows the command and changes nothing', async (t) => {
    const session = await connect(t, server.adminKey);
    await server.put('kept/K', { value: 'v' });
    for (const [tool, command] of [
      ['delete_secret', 'ass secrets delete kept/K'],
      ['rotate_secret', 'ass secrets rotate kept/K'],
    ] as const) {
      const shown = await session.use<{ message: string }>(tool, { namespace: 'kept', key: 'K' });
      assert.ok(shown.message.endsWith(command), shown.message);
    }
    const { body } = await server.ask<{ version: number }>('GET', '/v1/secrets/kept/K');
    assert.equal(body.version, 1);
  });

  suite('what it shows of a refusal is the server’s own sentence', () => {
    const NARROW = { allowed_scopes: ['secrets:read:seen/*'] };
    const scopes = (...list: string[]) => ({ scopes: list });
    const at = (namespace: string, key: string) => ({ namespace, key });
    const read = 'secrets:read:';

    for (const { what, spec = {}, tool, args, asks, says } of [
      {
        what: 'a secret outside the agent’s scopes',
        spec: NARROW,
        tool: 'get_secret',
        args: at('other', 'K'),
        asks: ['POST', '/v1/tokens', scopes(`${read}other/K`)],
        says: /not covered/,
      },
      {
        what: 'a write by an agent that only reads',
        spec: NARROW,
        tool: 'set_secret',
        args: { ...at('seen', 'K'), value: 'not-to-be-shown' },
        asks: ['POST', '/v1/tokens', scopes('secrets:write:seen/K')],
        says: /not covered/,
      },
      {
        what: 'a namespace outside the agent’s scopes',
        spec: NARROW,
        tool: 'list_secrets',
        args: { namespace: 'other' },
        asks: ['POST', '/v1/tokens', scopes(`${read}other/*`)],
        says: /not covered/,
      },
      {
        what: 'namespaces for an agent that reads nothing',
        spec: { allowed_scopes: ['secrets:write:seen/*'] },
        tool: 'list_namespaces',
        args: {},
        asks: ['POST', '/v1/tokens', scopes('namespaces:read')],
        says: /not covered/,
      },
      {
        what: 'a secret that is not there',
        tool: 'get_secret',
        args: at('seen', 'ABSENT'),
        asks: ['GET', '/v1/secrets/seen/ABSENT'],
        says: /no such secret/,
      },
      {
        what: 'a value that is too long',
        tool: 'set_secret',
        args: { ...at('seen', 'LONG'), value: 'x'.repeat(65_537) },
        asks: ['PUT', '/v1/secrets/seen/LONG', { value: 'x'.repeat(65_537) }],
        says: /65,?536/,
      },
      {
        what: 'a key that no path can end with',
        tool: 'get_secret',
        args: at('seen', 'two words'),
        asks: ['POST', '/v1/tokens', scopes(`${read}seen/two words`)],
        says: /not a scope/,
      },
      {
        what: 'a token that would live too long',
        tool: 'request_token',
        args: { ...scopes(`${read}seen/*`), ttl: '7d' },
        asks: ['POST', '/v1/tokens', { ...scopes(`${read}seen/*`), ttl: '7d' }],
        says: /86,?400/,
      },
      {
        what: 'a token for nothing',
        tool: 'request_token',
        args: scopes(),
        asks: ['POST', '/v1/tokens', scopes()],
        says: /scopes/,
      },
    ] as const) {
      test(what, async (t) => {
        const { agent, session } = await connectAs(t, spec);
        const [method, path, body] = asks;
        const { body: answer } = await server.ask<{ detail: string }>(method, path, body, agent.key);
        const sentence = await session.refusal(tool, args);
        assert.equal(sentence, answer.detail);
        assert.match(sentence, says);
        assert.doesNotMatch(sentence, /not-to-be-shown/);
        assert.equal(session.complaints(), '');
      });
    }

    test('a key that is not accepted', async (t) => {
      const key = generateApiKey().text;
      const session = await connect(t, key);
      const { body } = await server.ask<{ detail: string }>('GET', '/v1/me', undefined, key);
      for (const [tool, args] of [
        ['get_secret', at('seen', 'K')],
        ['list_namespaces', {}],
        ['request_token', scopes(`${read}seen/*`)],
      ] as const) {
        assert.equal(await session.refusal(tool, args), body.detail);
      }
      assert.match(body.detail, /API key/);
    });

    test('a secret whose tier is raised while it works', async (t) => {
      for (const tier of ['sensitive', 'critical']) {
        await server.put('rising/K', { value: 'v', access_tier: 'standard' });
        const { agent, session } = await connectAs(t);
        await session.use('get_secret', at('rising', 'K'));
        await server.put('rising/K', { value: 'v', access_tier: tier });
        const path = '/v1/secrets/rising/K';
        const { body } = await server.ask<{ detail: string }>('GET', path, undefined, agent.key);
        // It keeps its token, so it asks for no other, and the one it has was approved by nobody.
        assert.equal(await session.refusal('get_secret', at('rising', 'K')), body.detail);
        assert.match(body.detail, new RegExp(`${tier}.*approval`));
      }
    });

    test('an agent that is revoked while it works, and one that is narrowed', async (t) => {
      await server.put('seen/K', { value: 'v' });
      const revoked = await connectAs(t);
      const narrowed = await connectAs(t);
      for (const { session } of [revoked, narrowed]) await session.use('get_secret', at('seen', 'K'));
      await server.ask('DELETE', `/v1/agents/${revoked.agent.id}`);
      await server.ask('PATCH', `/v1/agents/${narrowed.agent.id}`, { allowed_scopes: [`${read}other/*`] });
      assert.match(await revoked.session.refusal('get_secret', at('seen', 'K')), /revoked/);
      assert.match(await narrowed.session.refusal('get_secret', at('seen', 'K')), /scopes do not allow/);
    });
  });

  suite('what takes an approval opens one of just that, and shows which', () => {
    for (const { what, tool, key, tier, value, scope } of [
      {
        what: 'a sensitive secret',
        tool: 'get_secret',
        key: 'SENSITIVE',
        tier: 'sensitive',
        value: undefined,
        scope: 'secrets:read:shut/SENSITIVE',
      },
      {
        what: 'a write over a critical secret',
        tool: 'set_secret',
        key: 'CRITICAL',
        tier: 'critical',
        value: 'not-to-be-stored',
        scope: 'secrets:write:shut/CRITICAL',
      },
    ] as const) {
      test(what, async (t) => {
        await server.put(`shut/${key}`, { value: 'v', access_tier: tier });
        const { agent, session } = await connectAs(t);
        const id = await session.approval(tool, { namespace: 'shut', key, value });
        const { body } = await server.ask<Record<string, unknown>>('GET', `/v1/approvals/${id}`);
        const { agent_id, status, access_tier, scopes } = body;
        assert.deepEqual(
          { agent_id, status, access_tier, scopes },
          { agent_id: agent.id, status: 'pending', access_tier: tier, scopes: [scope] },
        );
        assert.deepEqual(await server.tokensOf(agent.key), [], 'no token before somebody agrees');
        assert.equal(await server.valueOf(`shut/${key}`), 'v');
        assert.equal(session.complaints(), '');
      });
    }
  });
});
