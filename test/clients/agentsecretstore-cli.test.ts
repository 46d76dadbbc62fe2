/**
 * `ass` of `@agentsecretstore/cli`, unmodified, about people, agents and tokens: every command that has a server side,
 * with its flags, its prompts and what it shows. `approvals`, `audit` and what `tokens issue` makes of a request that
 * takes an approval stand in agentsecretstore-approvals.test.ts. `ass open` starts a browser on the vendor's pages and
 * `ass init` writes one local file: neither asks a server anything.
 */
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { generateApiKey } from '../../src/keys/credentials/api-key-hash.ts';
import { until } from '../support/issuing.ts';
import { aPerson, done, failed } from './agentsecretstore-cli.ts';
import { available, startVault } from './agentsecretstore-server.ts';
import { KEYS, terminalSkip } from './terminal.ts';

const atTerminal = { skip: terminalSkip };
const DENIED = 'Permission denied.';

suite('ass', () => {
  const server = startVault(available);
  const someone = (t: TestContext, env = {}) => aPerson(t, server.url, env);
  const admin = (t: TestContext) => someone(t, { ASS_API_KEY: server.adminKey });
  const agent = (t: TestContext, key: string) => someone(t, { ASS_AGENT_KEY: key });
  const statusWith = async (bearer: string, path = '/v1/me') =>
    (await server.ask('GET', path, undefined, bearer)).status;

  suite('signing in and out', () => {
    test('with a key as a flag: who one is, that it is kept, and that it is forgotten', async (t) => {
      const person = await someone(t);
      const login = await person.ass('login', '--key', server.adminKey);
      done(login, /Logged in/, /name +admin/, /secrets \d+/, /agents +\d+/);
      assert.ok(!login.stdout.includes(server.adminKey));
      const whoami = await person.ass('whoami');
      done(whoami, /name +admin\n/, /secrets +\d+\n/, /agents +\d+\n/, /status +active\n/);
      done(await person.ass('status'), /status +● Operational/, /version +\d+\.\d+\.\d+/, /logged in +yes/);
      done(await person.ass('logout', '--force'), /Signed out/);
      failed(await person.ass('whoami'), 'Not authenticated.', /ass login/);
    });

    test('at a prompt, which does not show the key', atTerminal, async (t) => {
      const person = await someone(t);
      const login = await person.type(['login'], [['Paste your API key:', server.adminKey + KEYS.enter]]);
      assert.equal(login.code, 0);
      assert.match(login.screen, /Logged in[\s\S]+name +admin/);
      assert.ok(!login.screen.includes(server.adminKey));
      const stay = await person.type(['logout'], [['Sign out', KEYS.enter]]);
      assert.match(stay.screen, /Aborted/);
      const leave = await person.type(['logout'], [['Sign out', 'y']]);
      assert.match(leave.screen, /Signed out/);
    });

    test('a key that is not accepted is refused, and not kept', async (t) => {
      const person = await someone(t);
      failed(await person.ass('login', '--key', generateApiKey().text), 'Invalid API key.');
      failed(await person.ass('whoami'), 'Not authenticated.', /ass login/);
    });

    test('by environment, an agent is told its own name, and a program gets no member that is null', async (t) => {
      const { name, key } = await server.createAgent();
      const person = await agent(t, key);
      done(await person.ass('whoami'), new RegExp(`name +${name}\\n`), /agents +\d+\n/);
      const { stdout } = await person.ass('whoami', '--json');
      const me = JSON.parse(stdout) as Record<string, unknown>;
      assert.deepEqual([me['name'], me['role'], me['plan']], [name, 'agent', 'self-hosted']);
      assert.ok(Object.values(me).every((member) => member !== null));
    });

    test('the state of the server needs no key', async (t) => {
      const person = await someone(t);
      done(await person.ass('status'), /● Operational/, /logged in +no/);
      const { stdout } = await person.ass('status', '--json');
      const { api } = JSON.parse(stdout) as { api: Record<string, unknown> };
      assert.deepEqual([api['url'], api['status'], api['error']], [server.url, 'ok', null]);
      assert.match(String(api['version']), /^\d+\.\d+\.\d+/);
    });
  });

  suite('agents', () => {
    const answersFor = (name: string, scopes: string) =>
      [
        ['Agent name:', name + KEYS.enter],
        ['Description (optional):', KEYS.enter],
        ['Allowed namespaces', `shop, shop/eu${KEYS.enter}`],
        ['Allowed scopes:', scopes + KEYS.enter],
      ] as const;

    test(
      'one that is created at the prompts has a key that works within its namespaces',
      atTerminal,
      async (t) => {
        const person = await admin(t);
        await server.put('shop/K', { value: 'v' });
        await server.put('elsewhere/K', { value: 'v' });
        // The first scope is chosen already; this adds the second.
        const answers = answersFor('made-here', KEYS.down + KEYS.space);
        const { code, screen } = await person.type(['agents', 'create'], answers);
        assert.equal(code, 0, screen);
        assert.match(screen, /✓ Agent registered: made-here\n +ID: [0-9a-f-]{36}\n/);
        const [key = ''] = /ak_live_[0-9a-f]{64}/.exec(screen) ?? [];
        assert.equal(await statusWith(key, '/v1/secrets/shop/K'), 200);
        assert.equal(await statusWith(key, '/v1/secrets/elsewhere/K'), 403);
        const its = await agent(t, key);
        done(await its.ass('secrets', 'set', 'shop/eu/K', 'w', '-t', 'custom', '--tier', 'standard'));
        const { body } = await server.ask<Record<string, unknown>>('GET', '/v1/agents/made-here');
        assert.equal(body['description'], null);
        assert.deepEqual(body['allowed_scopes'], ['read:secrets', 'write:secrets']);
      },
    );

    test(
      'a scope that no agent can have, and a name that is taken, are refused in a sentence',
      atTerminal,
      async (t) => {
        const person = await admin(t);
        const { name } = await server.createAgent();
        // The last in the list: manage:agents.
        const manager = await person.type(['agents', 'create'], answersFor('manager', KEYS.up + KEYS.space));
        assert.equal(manager.code, 1);
        assert.match(manager.screen, /✗ allowed_scopes\/1 [^\n]+\.\n/);
        const twice = await person.type(['agents', 'create'], answersFor(name, ''));
        assert.equal(twice.code, 1);
        assert.match(twice.screen, /✗ [A-Z][^\n]+\.\n/);
        assert.doesNotMatch(manager.screen + twice.screen, /ak_live_/);
      },
    );

    test('the list shows name, key prefix, state and last use of each', async (t) => {
      const person = await admin(t);
      const used = await server.createAgent();
      const unused = await server.createAgent();
      const revoked = await server.createAgent();
      assert.equal(await statusWith(used.key), 200);
      await server.ask('DELETE', `/v1/agents/${revoked.id}`);
      // The last use is kept for people, a moment late.
      await until('its use is on record', async () => {
        const { body } = await server.ask<{ last_active_at: string }>('GET', `/v1/agents/${used.id}`);
        return body.last_active_at;
      });
      const list = await person.ass('agents', 'list');
      for (const [{ name, key }, rest] of [
        [used, 'active +\\d+[smh] ago'],
        [unused, 'active +never'],
        [revoked, 'revoked +never'],
      ] as const) {
        done(list, new RegExp(`^ +${name} +${key.slice(0, 24)}… +${rest}`, 'm'));
        assert.ok(!list.stdout.includes(key));
      }
      const { items } = JSON.parse((await person.ass('agents', 'ls', '--json')).stdout) as {
        items: { name: string }[];
      };
      assert.ok(items.some((item) => item.name === unused.name));
    });

    test('a revoked one has lost its key at once', async (t) => {
      const person = await admin(t);
      const { name, key } = await server.createAgent();
      assert.equal(await statusWith(key), 200);
      done(await person.ass('agents', 'revoke', name, '--force'), new RegExp(`✓ Agent revoked: ${name}\\n`));
      assert.equal(await statusWith(key), 401);
      failed(await person.ass('agents', 'revoke', name, '-f'), 'Not found.', /no such agent/);
      failed(await (await agent(t, key)).ass('whoami'), 'Not authenticated.');
    });

    test('without --force it asks before it revokes', atTerminal, async (t) => {
      const person = await admin(t);
      const { name, key } = await server.createAgent();
      const prompt = `Revoke agent ${name}?`;
      const no = await person.type(['agents', 'revoke', name], [[prompt, KEYS.enter]]);
      assert.match(no.screen, /Aborted/);
      assert.equal(await statusWith(key), 200);
      const yes = await person.type(['agents', 'revoke', name], [[prompt, 'y']]);
      assert.match(yes.screen, /✓ Agent revoked/);
      assert.equal(await statusWith(key), 401);
    });

    test('they are an administrator’s: an agent is refused', async (t) => {
      const { key, name } = await server.createAgent();
      const person = await agent(t, key);
      failed(await person.ass('agents', 'list'), DENIED, /role agent/);
      failed(await person.ass('agents', 'revoke', name, '-f'), DENIED, /role agent/);
      assert.equal(await statusWith(key), 200);
    });
  });

  suite('tokens', () => {
    test('an issued token is shown once, with its scopes and its end, and opens what it should', async (t) => {
      await server.put('opened/K', { value: 'v' });
      const { key } = await server.createAgent({ allowed_scopes: ['secrets:*:opened/*'] });
      const person = await agent(t, key);
      for (const [asked, granted, status] of [
        [
          'secrets:read:opened/*,secrets:write:opened/K',
          'secrets:read:opened/*, secrets:write:opened/K',
          200,
        ],
        ['read:secrets', 'secrets:read:opened/*', 200],
        ['write:secrets,rotate:secrets', 'secrets:write:opened/*', 403],
      ] as const) {
        const issued = await person.ass('tokens', 'issue', '--scopes', asked, '--ttl', '900');
        // What it makes of a time that lies ahead ("-900s ago from now") cannot be made right here.
        done(issued, /Access Token/, /expires +\d.*\(-\d+s ago from now\)/);
        assert.ok(issued.stdout.includes(`scopes   ${granted} `), issued.stdout);
        const [token = ''] = /ast_tok_[\w-]{43}/.exec(issued.stdout) ?? [];
        assert.equal(await statusWith(token, '/v1/secrets/opened/K'), status);
        assert.equal((await server.tokensOf(key))[0]?.ttl_seconds, 900);
      }
    });

    test('scopes and lifetime are asked for at a terminal', atTerminal, async (t) => {
      const { key } = await server.createAgent();
      const person = await agent(t, key);
      const issue = (lifetime: string) =>
        person.type(
          ['tokens', 'issue'],
          [
            ['Scopes (comma-separated):', `secrets:read:prod/*${KEYS.enter}`],
            ['Token lifetime:', lifetime + KEYS.enter],
          ],
        );
      const day = await issue(KEYS.down);
      assert.equal(day.code, 0);
      assert.match(day.screen, /ast_tok_[\w-]{43}/);
      assert.equal((await server.tokensOf(key))[0]?.ttl_seconds, 86_400);
      // It offers seven days, which is refused and not cut.
      const week = await issue(KEYS.down + KEYS.down);
      assert.equal(week.code, 1);
      assert.match(week.screen, /✗ ttl must be from 300 to 86,400 seconds\.\n/);
      assert.equal((await server.tokensOf(key)).length, 1);
    });

    test('what is refused says why, and no token is shown', async (t) => {
      const { key } = await server.createAgent({ allowed_scopes: ['secrets:read:shut/*'] });
      const person = await agent(t, key);
      for (const [scopes, ttl, title, hint] of [
        ['secrets:read:shut/*,write:secrets', '900', DENIED, /^scopes\/1 is not covered/],
        ['secrets:read:open/K', '900', DENIED, /^scopes\/0 is not covered/],
        ['manage:agents', '900', 'scopes/0 is not a scope that a token can have.', /^$/],
        ['secrets:read:shut/*', '299', 'ttl must be from 300 to 86,400 seconds.', /^$/],
      ] as const) {
        const run = await person.ass('tokens', 'issue', '-s', scopes, '--ttl', ttl);
        failed(run, title, hint);
        assert.doesNotMatch(run.stdout, /ast_tok_/);
      }
      assert.deepEqual(await server.tokensOf(key), []);
    });
  });
});

suite('ass against a server that limits requests', () => {
  const server = startVault(available, { RATE_LIMIT_MAX: '4', RATE_LIMIT_WINDOW_SECONDS: '3600' });

  test('it says that there were too many', async (t) => {
    const { key } = await server.createAgent();
    const ask = async () => (await server.ask('GET', '/v1/me', undefined, key)).status;
    let status = await ask();
    for (let asked = 1; asked < 20 && status !== 429; asked += 1) status = await ask();
    const person = await aPerson(t, server.url, { ASS_AGENT_KEY: key });
    failed(await person.ass('secrets', 'list', 'prod'), 'Rate limit exceeded.');
  });
});
