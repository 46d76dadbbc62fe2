/**
 * Approvals and the audit trail by the published `@agentsecretstore` packages, unmodified: `ass approvals`, `ass audit`,
 * the SDK's error on a request that takes consent, and the MCP server's view of it. What none of them can make right is
 * in contract section 10 and shown here as it is.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { suite, type TestContext, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { until } from '../support/issuing.ts';
import { startNode } from '../support/processes.ts';
import { aPerson, done, failed } from './agentsecretstore-cli.ts';
import { available, startVault } from './agentsecretstore-server.ts';
import { KEYS, terminalSkip } from './terminal.ts';

const require = createRequire(import.meta.url);
const { AgentVault, ApprovalRequiredError } =
  require('@agentsecretstore/sdk') as typeof import('@agentsecretstore/sdk');
const ASS = require.resolve('@agentsecretstore/cli/dist/index.js');
const MCP = join(require.resolve('@agentsecretstore/mcp'), '../../bin/run.js');
const atTerminal = { skip: terminalSkip };
const DENIED = 'Permission denied.';
const AN_ID = /^apr_[a-z2-7]{8}$/;

interface View {
  readonly id: string;
  readonly status: string;
  readonly reason: string | null;
  readonly access_tier: string;
  readonly approvals: readonly { approver_name: string; reason: string | null }[];
}

suite('approvals and the audit trail', () => {
  const server = startVault(available, { CRITICAL_DELAY_SECONDS: '0' });
  let approvers = 0;
  const anApprover = async (t: TestContext) => {
    approvers += 1;
    const spec = { name: `approver-${approvers}`, role: 'approver', allowed_scopes: undefined };
    const { name, key } = await server.createAgent(spec);
    return { name, key, person: await aPerson(t, server.url, { ASS_API_KEY: key }) };
  };
  const ask = async (agentKey: string, scopes = ['secrets:read:prod/*']): Promise<string> => {
    const body = { scopes, require_approval: true };
    const said = await server.ask<{ approval_id: string }>('POST', '/v1/tokens', body, agentKey);
    assert.equal(said.status, 202);
    return said.body.approval_id;
  };
  const viewOf = async (id: string) => (await server.ask<View>('GET', `/v1/approvals/${id}`)).body;

  suite('ass approvals', () => {
    test('a list shows id, tier, status and age, by status or all, and as JSON what the server says', async (t) => {
      const { person } = await anApprover(t);
      await server.put('listed/KEY', { value: 'v', access_tier: 'critical' });
      const { key, id: agentId } = await server.createAgent();
      const pending = await ask(key, ['secrets:read:listed/KEY']);
      const denied = await ask(key);
      await server.ask('POST', `/v1/approvals/${denied}/deny`, {});
      const row = (id: string, tier: string, status: string) =>
        new RegExp(`${id} +${agentId.slice(0, 19)}\\S* +${tier} +${status}.* \\d+[smh] ago`);
      done(
        await person.ass('approvals', 'list'),
        /APPROVALS/,
        row(pending, 'critical', 'pending'),
        row(denied, 'standard', 'denied'),
        /pending — use ass approvals approve <id> or ass approvals deny <id>/,
      );
      const some = await person.ass('approvals', 'ls', '--status', 'denied');
      done(some, /DENIED APPROVALS/, row(denied, 'standard', 'denied'));
      assert.ok(!some.stdout.includes(pending), 'only those are listed');
      const none = await person.ass('approvals', 'list', '-s', 'claimed');
      done(none, /\(0 requests\)/);
      assert.match(none.stderr, /No approval requests found/);
      const { stdout } = await person.ass('approvals', 'list', '--json');
      assert.deepEqual(JSON.parse(stdout), (await server.ask('GET', '/v1/approvals')).body);
    });

    test('a request is approved, by whom it says, and the agent is handed its token', async (t) => {
      const { person, name } = await anApprover(t);
      const { key } = await server.createAgent();
      const id = await ask(key);
      done(await person.ass('approvals', 'approve', id, '--force'), new RegExp(`✓ Request approved: ${id}`));
      const { status, approvals } = await viewOf(id);
      assert.deepEqual([status, approvals.map((vote) => vote.approver_name)], ['approved', [name]]);
      const polled = await server.ask<{ token: string }>('GET', `/v1/approvals/agent/${id}`, undefined, key);
      assert.match(polled.body.token, /^ast_tok_/);
    });

    test('a request is denied, with the reason that is given or its own', async (t) => {
      const { person } = await anApprover(t);
      const { key } = await server.createAgent();
      const id = await ask(key);
      const denied = await person.ass('approvals', 'deny', id, '--reason', 'not today', '--force');
      done(denied, new RegExp(`✓ Request denied: ${id}`), /Reason: not today/);
      assert.deepEqual([(await viewOf(id)).status, (await viewOf(id)).reason], ['denied', 'not today']);
    });

    test('at a terminal both ask, and who goes away decides nothing', atTerminal, async (t) => {
      const { person } = await anApprover(t);
      const { key } = await server.createAgent();
      const id = await ask(key);
      const approve = (answer: string) =>
        person.type(['approvals', 'approve', id], [[`Approve request ${id}?`, answer]]);
      assert.match((await approve(KEYS.interrupt)).screen, /Cancelled/);
      assert.match((await approve('n')).screen, /Aborted/);
      assert.deepEqual((await viewOf(id)).approvals, []);
      assert.match((await approve('y')).screen, /✓ Request approved/);
      assert.equal((await viewOf(id)).status, 'approved');
      const deny = (answer: string) =>
        person.type(
          ['approvals', 'deny', id],
          [
            ['Reason for denial', KEYS.enter],
            [`Deny request ${id}?`, answer],
          ],
        );
      assert.match((await deny(KEYS.enter)).screen, /Aborted/);
      assert.equal((await viewOf(id)).status, 'approved');
      assert.match((await deny('y')).screen, /✓ Request denied/);
      assert.equal((await viewOf(id)).status, 'denied');
    });

    test('what is refused says why', async (t) => {
      const { person } = await anApprover(t);
      const { key } = await server.createAgent();
      const agent = await aPerson(t, server.url, { ASS_AGENT_KEY: key });
      const admin = await aPerson(t, server.url, { ASS_API_KEY: server.adminKey });
      const id = await ask(key);
      const own = await ask(server.adminKey);
      failed(await agent.ass('approvals', 'list'), DENIED, /role agent/);
      failed(await agent.ass('approvals', 'approve', id, '-f'), DENIED, /role agent/);
      failed(await admin.ass('approvals', 'approve', own, '-f'), DENIED, /own request/);
      failed(await admin.ass('approvals', 'deny', own, '-f', '-r', 'x'), DENIED, /own request/);
      failed(
        await person.ass('approvals', 'approve', 'apr_aaaaaaaa', '-f'),
        'Not found.',
        /no such approval/,
      );
      done(await person.ass('approvals', 'deny', id, '-f', '-r', 'x'));
      failed(
        await person.ass('approvals', 'approve', id, '-f'),
        'This has been decided, by you or for good.',
      );
      assert.equal((await viewOf(own)).status, 'pending');
    });
  });

  suite('ass audit', () => {
    test('the newest events are shown, as many as asked for, and as JSON', async (t) => {
      const { person } = await anApprover(t);
      for (let n = 1; n <= 4; n += 1) await server.put('seen/K', { value: `not-to-be-shown-${n}` });
      const shown = await person.ass('audit');
      done(
        shown,
        /AUDIT LOG +last \d+ events/,
        /TIME +EVENT +ACTOR +RESOURCE/,
        /\d+[smh] ago +secret\.updated +\S+ +secret\/\S+/,
      );
      assert.doesNotMatch(shown.stdout, /not-to-be-shown/);
      done(await person.ass('audit', '--limit', '3'), /last 3 events/);
      done(await person.ass('audit', '-l', '500'), /last \d+ events/);
      const { stdout } = await person.ass('audit', '-l', '2', '--json');
      const { events } = JSON.parse(stdout) as { events: { id: string; event_type: string }[] };
      assert.equal(events.length, 2);
      assert.ok(events.every((event) => event.event_type !== undefined && event.id !== undefined));
    });

    test('--tail goes on with what happens, until it is interrupted', async (t) => {
      const { key } = await anApprover(t);
      const env = { ASS_API_URL: server.url, ASS_API_KEY: key, NO_COLOR: '1' };
      const tail = await startNode(t, [ASS, 'audit', '--tail'], env);
      const screen = () => stripVTControlCharacters(tail.stdout());
      await until('that it watches', () => screen().includes('Watching for new events'));
      await server.put('tailed/K', { value: 'not-to-be-shown' });
      await until('the event', () => /Watching[\s\S]+secret\.created/.test(screen()));
      tail.child.kill('SIGINT');
      assert.equal(await tail.ended, 0);
      assert.match(screen(), /Stopped\./);
      assert.doesNotMatch(screen() + tail.stderr(), /not-to-be-shown|undefined|\bnull\b|NaN|Invalid Date/);
    });

    test('it is an approver’s and an administrator’s: an agent is refused', async (t) => {
      const { key } = await server.createAgent();
      const agent = await aPerson(t, server.url, { ASS_AGENT_KEY: key });
      failed(await agent.ass('audit'), DENIED, /role agent/);
      failed(await agent.ass('audit', '--tail'), DENIED, /role agent/);
    });
  });

  test('ass tokens issue opens the approval, and then ends with an error of its own', async (t) => {
    await server.put('issued/K', { value: 'v', access_tier: 'sensitive' });
    const { key, id: agentId } = await server.createAgent();
    const env = { ASS_API_URL: server.url, ASS_AGENT_KEY: key, NO_COLOR: '1' };
    const args = ['tokens', 'issue', '--scopes', 'secrets:read:issued/K', '--ttl', '900'];
    const run = await startNode(t, [ASS, ...args], env);
    assert.notEqual(await run.ended, 0);
    assert.doesNotMatch(run.stdout() + run.stderr(), /ast_tok_/);
    assert.match(run.stderr(), /Cannot read properties of undefined \(reading 'join'\)/);
    const { items } = (
      await server.ask<{ items: { agent_id: string; status: string }[] }>('GET', '/v1/approvals')
    ).body;
    assert.deepEqual(
      items.filter((item) => item.agent_id === agentId).map((item) => item.status),
      ['pending'],
    );
    assert.deepEqual(await server.tokensOf(key), []);
  });

  suite('the SDK', () => {
    test('a request that takes consent is its ApprovalRequiredError, with the id to ask for', async () => {
      await server.put('asked/K', { value: 'opened', access_tier: 'sensitive' });
      const { key } = await server.createAgent();
      const vault = new AgentVault({ agentKey: key, baseUrl: server.url, retries: 0 });
      const asking: readonly (() => Promise<unknown>)[] = [
        () => vault.requestToken({ scopes: ['secrets:read:asked/K'], maxUses: 1 }),
        () => vault.getSecret('asked/K'),
      ];
      for (const asked of asking) {
        const error = await asked().then(
          () => assert.fail('not refused'),
          (reason: unknown) => reason,
        );
        assert.ok(error instanceof ApprovalRequiredError, String(error));
        assert.deepEqual(
          [error.name, error.code, error.status],
          ['ApprovalRequiredError', 'APPROVAL_REQUIRED', 403],
        );
        assert.match(error.approvalId, AN_ID);
        assert.equal((await viewOf(error.approvalId)).access_tier, 'sensitive');
        await server.ask('POST', `/v1/approvals/${error.approvalId}/approve`, {});
        const path = `/v1/approvals/agent/${error.approvalId}`;
        const { token } = (await server.ask<{ token: string }>('GET', path, undefined, key)).body;
        const opened = await server.ask<{ value: string }>('GET', '/v1/secrets/asked/K', undefined, token);
        assert.equal(opened.body.value, 'opened');
      }
    });
  });

  suite('the MCP server', () => {
    interface Reply {
      readonly id: number;
      readonly result?: { readonly content?: readonly { readonly text: string }[] };
      readonly error?: { readonly message: string };
    }

    /** What a tool shows, or the sentence with which it is refused. */
    async function openSession(t: TestContext, agentKey: string) {
      const env = { PATH: process.env['PATH'], ASS_API_URL: server.url, ASS_AGENT_KEY: agentKey };
      const child = spawn(process.execPath, [MCP], { env, stdio: ['pipe', 'pipe', 'ignore'] });
      const closed = once(child, 'close');
      t.after(async () => {
        child.kill('SIGKILL');
        await closed;
      });
      const waiting = new Map<number, (reply: Reply) => void>();
      createInterface({ input: child.stdout }).on('line', (line) => {
        const reply = JSON.parse(line) as Reply;
        waiting.get(reply.id)?.(reply);
      });
      let asked = 0;
      const send = (method: string, params: object): Promise<Reply> => {
        asked += 1;
        const id = asked;
        const replied = new Promise<Reply>((resolve) => waiting.set(id, resolve));
        child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
        return Promise.race([replied, closed.then(() => Promise.reject(new Error('ass-mcp ended')))]);
      };
      const clientInfo = { name: 'writ-test', version: '1.0.0' };
      await send('initialize', { protocolVersion: '2025-03-26', capabilities: {}, clientInfo });
      child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' })}\n`);
      return async (tool: string, args: object): Promise<Record<string, string> | string> => {
        const { result, error } = await send('tools/call', { name: tool, arguments: args });
        const text = result?.content?.[0]?.text;
        assert.doesNotMatch(text ?? error?.message ?? 'undefined', /undefined|\[object|\bnull\b/);
        return text === undefined ? String(error?.message) : (JSON.parse(text) as Record<string, string>);
      };
    }

    test('it names the approval, follows its status, and shows the token in one answer', async (t) => {
      await server.put('mcp/K', { value: 'opened', access_tier: 'sensitive' });
      const { key } = await server.createAgent();
      const use = await openSession(t, key);
      const refused = await use('get_secret', { namespace: 'mcp', key: 'K' });
      assert.match(String(refused), /Human approval required\. Approval ID: apr_[a-z2-7]{8}\./);
      const asked = await use('request_token', { scopes: ['secrets:read:mcp/K'], ttl: '15m' });
      assert.ok(typeof asked === 'object', String(asked));
      const { approval_id: id = '' } = asked;
      assert.deepEqual([String(asked['requires_approval']), AN_ID.test(id)], ['true', true]);
      const statusOf = async () => {
        const shown = await use('get_approval_status', { approval_id: id });
        return typeof shown === 'object' ? shown : assert.fail(shown);
      };
      const pending = await statusOf();
      assert.deepEqual([pending['id'], pending['status'], pending['token']], [id, 'pending', undefined]);
      await server.ask('POST', `/v1/approvals/${id}/approve`, {});
      const { status, token } = await statusOf();
      assert.equal(status, 'approved');
      const opened = await server.ask<{ value: string }>('GET', '/v1/secrets/mcp/K', undefined, token);
      assert.equal(opened.body.value, 'opened');
      const later = await statusOf();
      assert.deepEqual([later['status'], later['token']], ['claimed', undefined]);
    });

    test('a denial is shown with its reason, and another agent’s approval is not there', async (t) => {
      const { key } = await server.createAgent();
      const id = await ask(key);
      await server.ask('POST', `/v1/approvals/${id}/deny`, { reason: 'not today' });
      const shown = await (await openSession(t, key))('get_approval_status', { approval_id: id });
      assert.ok(typeof shown === 'object', String(shown));
      assert.deepEqual(
        [shown['status'], shown['reason'], shown['token']],
        ['denied', 'not today', undefined],
      );
      const other = await server.createAgent();
      const refused = await (await openSession(t, other.key))('get_approval_status', { approval_id: id });
      assert.match(String(refused), /no such approval/);
    });
  });
});
