/**
 * `writ approvals` against a running server: an approver sees what will be opened, is asked first, approves exactly
 * what was shown, and what an agent wrote never steers the terminal.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { suite, type TestContext, test } from 'node:test';
import { generateApiKey } from '../../src/keys/credentials/api-key-hash.ts';
import { available, startVault } from '../clients/agentsecretstore-server.ts';
import { type Answer, KEYS, runOnTerminal, terminalSkip } from '../clients/terminal.ts';
import { type Ended, runHere, runProcess } from '../support/command-line.ts';
import { freePort } from '../support/free-port.ts';
import { fencesOf, readText } from '../support/markdown.ts';
import { CLI } from '../support/programs.ts';

const atTerminal = { skip: terminalSkip };
/** What moves a cursor, sets a colour, ends a row or turns the reading direction. */
const STEERS = /[^\n\P{C}]|[\u2028\u2029]/u;

const approvals = (env: Record<string, string>, ...args: string[]): Promise<Ended> =>
  runHere(['approvals', ...args], env);

const typing = (
  t: TestContext,
  env: Record<string, string>,
  args: readonly string[],
  answers: readonly Answer[],
) =>
  runOnTerminal(t, [process.execPath, CLI, 'approvals', ...args], {
    env: { PATH: process.env['PATH'], ...env },
    cwd: tmpdir(),
    answers,
  });

interface View {
  readonly id: string;
  readonly status: string;
  readonly approvals: readonly { approver_name: string; key_id: string | null; reason: string | null }[];
  readonly reason: string | null;
  readonly [member: string]: unknown;
}

/** What is wrong, and the command whose help says what is right. */
const ONE_SENTENCE = /^(writ approvals(?: \w+)*): [^\n]+; see \1 --help\n$/;

suite('writ approvals', () => {
  const server = startVault(available, { CRITICAL_DELAY_SECONDS: '0' });
  let people = 0;
  const anApprover = async () => {
    people += 1;
    const { id, name, key } = await server.createAgent({
      name: `approver-${people}`,
      role: 'approver',
      allowed_scopes: undefined,
    });
    return { id, name, key, env: { WRIT_KEY: key, WRIT_URL: server.url } };
  };
  const anAgent = () => server.createAgent({ allowed_scopes: ['secrets:*:*'] });
  const ask = async (agentKey: string, asked: Record<string, unknown> = {}): Promise<string> => {
    const body = { scopes: ['secrets:read:team/*'], require_approval: true, ...asked };
    const said = await server.ask<{ approval_id: string }>('POST', '/v1/tokens', body, agentKey);
    assert.equal(said.status, 202, JSON.stringify(said.body));
    return said.body.approval_id;
  };
  const viewOf = async (id: string): Promise<View> =>
    (await server.ask<View>('GET', `/v1/approvals/${id}`)).body;
  const untouched = async (id: string): Promise<void> => {
    const { status, approvals: votes, denied_at: deniedAt } = await viewOf(id);
    assert.deepEqual([status, votes, deniedAt], ['pending', [], null]);
  };

  test('a list has a row for each pending request: id, status, tier, votes, agent, end and scopes', async (t) => {
    const { env } = await anApprover();
    const agent = await anAgent();
    const id = await ask(agent.key, { scopes: ['secrets:read:team/a/*', 'secrets:write:team/b'] });
    const denied = await ask(agent.key);
    await server.ask('POST', `/v1/approvals/${denied}/deny`, {});
    const { code, stdout, stderr } = await runProcess(t, ['approvals', 'list'], env);
    assert.deepEqual([code, stderr], [0, '']);
    const [header = '', ...rows] = stdout.trimEnd().split('\n');
    assert.match(header, /^ID +STATUS +TIER +VOTES +AGENT +UNTIL +SCOPES$/);
    const { expires_at: until } = await viewOf(id);
    const row = rows.find((line) => line.startsWith(id)) ?? '';
    assert.deepEqual(row.split(/ {2,}/), [
      id,
      'pending',
      'standard',
      '0/1',
      agent.name,
      until,
      'secrets:read:team/a/* secrets:write:team/b',
    ]);
    for (const [index, title] of ['ID', 'STATUS', 'TIER'].entries()) {
      const column = header.indexOf(title);
      assert.ok(
        rows.every((line) => index === 0 || line[column - 1] === ' '),
        `${title} stands in a column`,
      );
    }
    assert.ok(!stdout.includes(denied), 'what is denied is not pending');
    const all = await approvals(env, 'list', '--status', 'all');
    assert.match(all.stdout, new RegExp(`^${denied} +denied `, 'm'));
    const claimed = await approvals(env, 'list', '--status', 'claimed');
    assert.deepEqual([claimed.code, claimed.stdout], [0, 'There are no claimed approvals.\n']);
  });

  test('--json is what the server says, for a list, one and a decision', async () => {
    const { env, name } = await anApprover();
    const id = await ask((await anAgent()).key);
    const json = async (...args: string[]): Promise<unknown> => {
      const { code, stdout, stderr } = await approvals(env, ...args, '--json');
      assert.deepEqual([code, stderr], [0, ''], stdout);
      return JSON.parse(stdout);
    };
    const { items } = (await json('list')) as { items: View[] };
    assert.deepEqual(
      items.find((item) => item.id === id),
      await viewOf(id),
    );
    assert.deepEqual(await json('show', id), await viewOf(id));
    const approved = (await json('approve', id, '--yes', '--reason', 'fine')) as View;
    assert.deepEqual(approved, await viewOf(id));
    const [vote] = approved.approvals;
    assert.deepEqual([vote?.approver_name, vote?.reason], [name, 'fine']);
    const denied = (await json('deny', id, '--reason', 'after all')) as View;
    assert.deepEqual([denied.status, denied.reason], ['denied', 'after all']);
  });

  test('what is shown is everything that will be opened, for whom, from where and how long', async () => {
    const { env } = await anApprover();
    await server.put('guarded/KEY', { value: 'not-to-be-shown', access_tier: 'critical' });
    const agent = await anAgent();
    const id = await ask(agent.key, {
      scopes: ['secrets:read:guarded/KEY', 'secrets:write:team/other'],
      ttl_seconds: 900,
      max_uses: 7,
      allowed_ips: ['192.0.2.0/24', '2001:db8::1'],
      description: 'the change of Thursday',
    });
    const { code, stdout } = await approvals(env, 'show', id);
    assert.equal(code, 0);
    const { request_digest: digest } = await viewOf(id);
    for (const [title, text] of [
      ['request', id],
      ['agent', agent.name],
      ['asks for', 'secrets:read:guarded/KEY'],
      ['opens', 'standard secrets, and this secret, up to critical:'],
      ['lives', '900 seconds'],
      ['used', 'at most 7×, from 192.0.2.0/24, 2001:db8::1'],
      ['description', 'the change of Thursday'],
      ['status', 'pending'],
      ['approved by', 'nobody yet, 2 required'],
      ['digest', String(digest)],
    ] as const) {
      assert.match(stdout, new RegExp(`^${title} +${text.replace(/[/.()]/g, '\\$&')}`, 'm'));
    }
    assert.match(stdout, /^ +secrets:write:team\/other$/m);
    assert.match(stdout, /^ +1 critical guarded\/KEY$/m);
    assert.ok(!stdout.includes('not-to-be-shown'), 'no value is shown');
    const open = await ask(agent.key);
    assert.match(
      (await approvals(env, 'show', open)).stdout,
      /^opens +standard secrets only$[\s\S]*^used +as often as it likes, from any address$/m,
    );
  });

  test('at a terminal it shows the request, asks, and approves on y or yes only', atTerminal, async (t) => {
    const { env, name } = await anApprover();
    const agent = await anAgent();
    const id = await ask(agent.key, { description: 'for the night' });
    const prompt = `Approve ${id}? [y/N] `;
    for (const key of [KEYS.enter, KEYS.interrupt, '\u0004']) {
      const no = await typing(t, env, ['approve', id], [[prompt, key]]);
      assert.equal(no.code, 1, no.screen);
      assert.match(no.screen, /Nothing was done\.\n/);
      await untouched(id);
    }
    const yes = await typing(t, env, ['approve', id, '--reason', 'agreed'], [[prompt, `Yes${KEYS.enter}`]]);
    assert.equal(yes.code, 0, yes.screen);
    const shown = yes.screen.slice(0, yes.screen.indexOf(prompt));
    for (const text of [agent.name, 'secrets:read:team/*', 'for the night', '3600 seconds']) {
      assert.ok(shown.includes(text), `${text} is shown before the question`);
    }
    assert.match(yes.screen, new RegExp(`^${id}: 1 of 1 approvals, in effect from \\d{4}-`, 'm'));
    const [vote] = (await viewOf(id)).approvals;
    assert.deepEqual([vote?.approver_name, vote?.reason], [name, 'agreed']);
  });

  test('any other answer than y or yes is a no', async () => {
    const { env } = await anApprover();
    const id = await ask((await anAgent()).key);
    for (const answer of ['n', 'yess', 'ye', 'y y', ' ']) {
      const no = await runHere(['approvals', 'approve', id], env, `${answer}\n`);
      assert.deepEqual([no.code, no.stdout], [1, ''], answer);
      assert.match(no.stderr, /\? \[y\/N\] [\s\S]*Nothing was done\.\n$/, answer);
      await untouched(id);
    }
    assert.equal((await runHere(['approvals', 'approve', id], env, 'YES\n')).code, 0);
    assert.equal((await viewOf(id)).status, 'approved');
  });

  test('without a terminal there is nobody to ask: nothing is approved', async (t) => {
    const { env } = await anApprover();
    const id = await ask((await anAgent()).key);
    for (const { code, stdout, stderr } of [
      await runProcess(t, ['approvals', 'approve', id], env),
      await approvals(env, 'approve', id, '--json'),
      await approvals(env, 'approve', id, '--reason', 'y'),
    ]) {
      assert.deepEqual([code, stdout], [1, '']);
      assert.match(stderr, /secrets:read:team\/\*[\s\S]+Nothing was done\.\n$/);
    }
    await untouched(id);
  });

  test('a critical request takes two approvers, and each is told how many there are', async () => {
    await server.put('guarded/KEY', { value: 'v', access_tier: 'critical' });
    const [first, second] = [await anApprover(), await anApprover()];
    const id = await ask((await anAgent()).key, { scopes: ['secrets:read:guarded/KEY'] });
    const one = await approvals(first.env, 'approve', id, '--yes');
    assert.deepEqual([one.code, one.stdout, one.stderr], [0, `${id}: 1 of 2 approvals.\n`, '']);
    const again = await approvals(first.env, 'approve', id, '--yes');
    assert.deepEqual([again.code, again.stdout], [1, '']);
    assert.match(again.stderr, /refuses \(409\)/);
    assert.match(
      (await approvals(second.env, 'show', id)).stdout,
      new RegExp(`^approved by +${first.name}, 2 required$`, 'm'),
    );
    const two = await approvals(second.env, 'approve', id, '--yes');
    assert.match(two.stdout, new RegExp(`^${id}: 2 of 2 approvals, in effect from \\S+\\.\\n$`));
    assert.equal((await viewOf(id)).status, 'approved');
    // One of the two is removed: its vote is shown, and is none any more.
    const { approvals: votes } = await viewOf(id);
    await server.ask('DELETE', `/v1/agents/${first.name}`);
    assert.match(
      (await approvals(second.env, 'show', id)).stdout.replace(/\s+/g, ' '),
      new RegExp(
        `approved by ${first.name} \\(counts no more: key ${votes[0]?.key_id} or its owner .*, 2 required`,
      ),
    );
    assert.match(
      (await approvals(second.env, 'list')).stdout,
      new RegExp(`^${id} +pending +critical +1/2 `, 'm'),
    );
  });

  test('a denial needs no question, says so, and is shown with its reason', async () => {
    const { env } = await anApprover();
    const id = await ask((await anAgent()).key);
    const denied = await approvals(env, 'deny', id, '--reason', 'not today');
    assert.deepEqual([denied.code, denied.stdout, denied.stderr], [0, `${id} is denied.\n`, '']);
    assert.deepEqual([(await viewOf(id)).status, (await viewOf(id)).reason], ['denied', 'not today']);
    assert.match((await approvals(env, 'show', id)).stdout, /^denied +not today$/m);
  });

  test('what the server refuses exits 1 with its sentence and prints nothing else', async () => {
    const approver = await anApprover();
    const agent = await anAgent();
    const id = await ask(agent.key);
    const own = await ask(server.adminKey);
    const decided = await ask(agent.key);
    await server.ask('POST', `/v1/approvals/${decided}/deny`, {});
    const admin = { ...approver.env, WRIT_KEY: server.adminKey };
    const refusals: readonly [string, Record<string, string>, string[], RegExp][] = [
      ['an unknown id', approver.env, ['show', 'apr_aaaaaaaa'], /\(404\): There is no such approval/],
      ['no id at all', approver.env, ['approve', '../agents', '--yes'], /\(404\)/],
      ['an unknown id, denied', approver.env, ['deny', 'apr_aaaaaaaa'], /\(404\)/],
      ['an unknown status', approver.env, ['list', '--status', 'open'], /\(400\)/],
      ['an agent’s key', { ...approver.env, WRIT_KEY: agent.key }, ['list'], /\(403\)/],
      ['an agent’s key', { ...approver.env, WRIT_KEY: agent.key }, ['deny', id], /\(403\)/],
      ['a key of nobody', { ...approver.env, WRIT_KEY: generateApiKey().text }, ['list'], /\(401\)/],
      ['no key at all', { ...approver.env, WRIT_KEY: 'nonsense' }, ['deny', id], /\(401\)/],
      ['one’s own request', admin, ['approve', own, '--yes'], /\(403\): Nobody decides their own/],
      ['one’s own request', admin, ['deny', own], /\(403\): Nobody decides their own/],
      ['what is decided', approver.env, ['approve', decided, '--yes'], /\(409\)/],
      ['a reason that is too long', approver.env, ['deny', id, '--reason', 'x'.repeat(501)], /\(400\)/],
    ];
    for (const [what, env, args, sentence] of refusals) {
      const { code, stdout, stderr } = await approvals(env, ...args);
      assert.deepEqual([code, stdout], [1, ''], `${what}: ${stderr}`);
      assert.match(stderr, sentence, what);
      assert.ok(!stderr.includes(String(env['WRIT_KEY'])), `${what}: the key is not shown`);
    }
    await untouched(id);
    await untouched(own);
  });

  test('wrong usage exits 2 before anything is asked of a server', async (t) => {
    const { env } = await anApprover();
    const id = await ask((await anAgent()).key);
    const wrong: readonly (readonly [Record<string, string>, ...string[]])[] = [
      [env],
      [env, 'constructor'],
      [env, 'list', id],
      [env, 'show'],
      [env, 'approve'],
      [env, 'deny'],
      [env, 'deny', id, id],
      [env, 'deny', id, '--force'],
      [env, 'deny', id, '--yes'],
      [env, 'deny', id, '--status', 'pending'],
      [env, 'list', '--reason', 'x'],
      [env, 'show', id, '--yes'],
      [env, 'deny', id, '--reason'],
      [env, 'deny', id, '--reason', '--json'],
      [env, 'deny', id, '--url', 'writ'],
      [env, 'deny', id, '--url', 'file:///etc/passwd'],
      [env, 'deny', id, '--url', 'http://user:hunter2@127.0.0.1'],
      [{ WRIT_URL: server.url }, 'deny', id],
      [{ ...env, WRIT_KEY: '' }, 'deny', id],
      [{ ...env, WRIT_KEY: 'ak_live_…' }, 'deny', id],
      [{ ...env, WRIT_KEY: `${env.WRIT_KEY}\n` }, 'deny', id],
    ];
    const taken: string[] = [];
    for (const [surroundings, ...args] of wrong) {
      const { code, stdout, stderr } = await approvals(surroundings, ...args);
      const refused = code === 2 && stdout === '' && ONE_SENTENCE.test(stderr);
      if (!refused || stderr.includes('hunter2'))
        taken.push(`${args.join(' ')} (${code}): ${stdout}${stderr}`);
    }
    assert.deepEqual(taken, []);
    const { code, stderr } = await runProcess(t, ['approvals', 'deny', id, '--yes'], env);
    assert.equal(code, 2);
    assert.match(stderr, /^writ approvals deny: unknown option '--yes'; see writ approvals deny --help\n$/);
    await untouched(id);
  });

  test('a key as the documents print it is wrong usage, which names the variable', async () => {
    const { env } = await anApprover();
    const { code, stdout, stderr } = await approvals({ ...env, WRIT_KEY: 'ak_live_…' }, 'list');
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(stderr, /^writ approvals list: WRIT_KEY holds a character that no API key has; /);
  });

  test('--url wins over WRIT_URL, and a slash at its end does no harm', async () => {
    const { env } = await anApprover();
    const nowhere = { ...env, WRIT_URL: `http://127.0.0.1:${await freePort()}` };
    const away = await approvals(nowhere, 'list');
    assert.deepEqual([away.code, away.stdout], [1, '']);
    assert.equal(away.stderr, `${nowhere.WRIT_URL} does not answer.\n`);
    assert.equal((await approvals(nowhere, 'list', '--url', `${server.url}/`)).code, 0);
  });

  test('the commands of docs/approvals.md do as printed', async () => {
    const approver = await anApprover();
    const agent = await anAgent();
    const lines = fencesOf(readText('docs/approvals.md'), 'console').flatMap((fence) =>
      fence.split('\n').filter((line) => line.includes('writ approvals')),
    );
    const ran: string[] = [];
    for (const line of lines) {
      const words = /^\$ npx writ approvals (.*)$/.exec(line)?.[1]?.match(/"[^"]*"|\S+/g) ?? [];
      const id = await ask(agent.key, { description: 'a change' });
      const args = words.map((word) => word.replace(/^"(.*)"$/, '$1').replace('apr_…', id));
      const { code, stdout } = await runHere(['approvals', ...args], approver.env, 'y\n');
      assert.equal(code, 0, line);
      assert.ok(stdout.includes(id), `${line}\n${stdout}`);
      const { status, reason, approvals: votes } = await viewOf(id);
      ran.push(`${args[0]}: ${status} ${reason ?? votes[0]?.reason ?? ''}`.trim());
    }
    assert.deepEqual(ran, [
      'list: pending',
      'show: pending',
      'approve: approved agreed in standup',
      'deny: denied not today',
    ]);
  });
});

suite('writ approvals against a server that is not to be trusted', () => {
  const HOSTILE =
    'x\u001b[2J\u001b]0;title\u0007\u009b31m\u0008\u007f\rstatus  approved\n\u202e\u2066\u2028y\u0000';
  const DIGEST = 'd'.repeat(64);
  const AN_APPROVAL = {
    id: 'apr_aaaaaaaa',
    agent_id: HOSTILE,
    agent_name: HOSTILE,
    access_tier: HOSTILE,
    secret_count: 1,
    secrets: [{ path: HOSTILE, access_tier: HOSTILE }],
    status: HOSTILE,
    scopes: [HOSTILE, HOSTILE],
    ttl_seconds: 900,
    max_uses: 1,
    allowed_ips: [HOSTILE],
    description: HOSTILE,
    created_at: HOSTILE,
    expires_at: HOSTILE,
    approvals: [
      {
        approver_id: HOSTILE,
        approver_name: HOSTILE,
        key_id: HOSTILE,
        counts: false,
        at: HOSTILE,
        reason: HOSTILE,
      },
    ],
    approvals_required: 1,
    effective_at: HOSTILE,
    denied_at: HOSTILE,
    reason: HOSTILE,
    request_digest: DIGEST,
  };

  interface Asked {
    readonly method: string;
    readonly url: string;
    readonly headers: IncomingMessage['headers'];
    readonly body: string;
  }

  /** Answers everything with what it is told. */
  async function aServer(t: TestContext, answer: { status: number; text: string; location?: string }) {
    const asked: Asked[] = [];
    const listening = createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += String(chunk);
      asked.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body });
      const location = answer.location === undefined ? {} : { location: answer.location };
      response.writeHead(answer.status, { 'content-type': 'application/json', ...location }).end(answer.text);
    });
    listening.listen(0, '127.0.0.1');
    await once(listening, 'listening');
    t.after(() => {
      listening.closeAllConnections();
      listening.close();
    });
    const url = `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;
    return { url, asked, env: { WRIT_KEY: 'a-key', WRIT_URL: url } };
  }

  test('whatever is in an answer, nothing of it steers the terminal', async (t) => {
    const text = JSON.stringify({ ...AN_APPROVAL, items: [AN_APPROVAL, AN_APPROVAL], detail: HOSTILE });
    const { env } = await aServer(t, { status: 200, text });
    const refusing = await aServer(t, { status: 403, text });
    for (const args of [
      ['list'],
      ['list', '--json'],
      ['show', 'apr_aaaaaaaa'],
      ['show', 'apr_aaaaaaaa', '--json'],
      ['approve', 'apr_aaaaaaaa'],
      ['approve', 'apr_aaaaaaaa', '--yes'],
      ['approve', 'apr_aaaaaaaa', '--yes', '--json'],
      ['deny', 'apr_aaaaaaaa'],
    ]) {
      for (const surroundings of [env, refusing.env]) {
        const { stdout, stderr } = await approvals(surroundings, ...args);
        assert.ok((stdout + stderr).length > 10, args.join(' '));
        assert.doesNotMatch(stdout, STEERS, args.join(' '));
        assert.doesNotMatch(stderr, STEERS, args.join(' '));
      }
    }
    const { stdout } = await approvals(env, 'show', 'apr_aaaaaaaa', '--json');
    assert.deepEqual({ ...(JSON.parse(stdout) as object), ...AN_APPROVAL }, JSON.parse(stdout));
    const rows = (await approvals(env, 'list')).stdout.trimEnd().split('\n');
    assert.equal(rows.length, 3, 'a row for each and the header');
  });

  test('a direction mark in what an agent wrote is shown as a mark that does nothing', async (t) => {
    const description = 'safe \u202egnihton\u202c \u2066x\u2069 \u200f \u061c \ufeff\u200b';
    const text = JSON.stringify({ ...AN_APPROVAL, description });
    const { env } = await aServer(t, { status: 200, text });
    const shown = await approvals(env, 'show', 'apr_aaaaaaaa');
    assert.match(shown.stdout, /^description +safe \uFFFDgnihton\uFFFD \uFFFDx\uFFFD/m);
    assert.doesNotMatch(shown.stdout, STEERS);
    const json = await approvals(env, 'show', 'apr_aaaaaaaa', '--json');
    assert.doesNotMatch(json.stdout, STEERS);
    assert.equal((JSON.parse(json.stdout) as View)['description'], description);
  });

  test('no text begins a row of its own, however long or broken it is', async (t) => {
    const spoof = `${' '.repeat(70)}status       approved ${'界'.repeat(80)}`;
    const text = JSON.stringify({
      ...AN_APPROVAL,
      description: `why\n${spoof}`,
      scopes: [`secrets:read:${'a'.repeat(300)}`],
    });
    const { env } = await aServer(t, { status: 200, text });
    const { stdout } = await approvals(env, 'show', 'apr_aaaaaaaa');
    const lines = stdout.trimEnd().split('\n');
    const widths = lines.map((line) => [...line].reduce((sum, one) => sum + (one > '~' ? 2 : 1), 0));
    assert.ok(Math.max(...widths) <= 80, `${Math.max(...widths)} columns`);
    const titles = lines.map((line) => /^\S+(?: \S+)*/.exec(line)?.[0] ?? '').filter((title) => title !== '');
    assert.deepEqual(titles, [
      'request',
      'agent',
      'asks for',
      'opens',
      'lives',
      'used',
      'description',
      'status',
      'approved by',
      'denied',
      'in effect',
      'until',
      'digest',
    ]);
    const together = lines.map((line) => line.slice('approved by  '.length)).join('');
    assert.ok(together.includes(`secrets:read:${'a'.repeat(300)}`), 'nothing is cut off');
  });

  test('it approves what it has shown: the digest of that goes along', async (t) => {
    const { env, asked } = await aServer(t, { status: 200, text: JSON.stringify(AN_APPROVAL) });
    assert.equal((await approvals(env, 'approve', 'apr_aaaaaaaa', '--yes', '--reason', 'why')).code, 0);
    assert.deepEqual(
      asked.map(({ method, url, body }) => [method, url, body === '' ? undefined : JSON.parse(body)]),
      [
        ['GET', '/v1/approvals/apr_aaaaaaaa', undefined],
        ['POST', '/v1/approvals/apr_aaaaaaaa/approve', { reason: 'why', request_digest: DIGEST }],
      ],
    );
  });

  test('a redirect is not followed, so the key goes nowhere else', async (t) => {
    const elsewhere = await aServer(t, { status: 200, text: JSON.stringify({ items: [] }) });
    const { env, asked } = await aServer(t, {
      status: 307,
      text: '{}',
      location: `${elsewhere.url}/v1/approvals`,
    });
    const { code, stdout } = await approvals(env, 'list');
    assert.deepEqual([code, stdout, elsewhere.asked], [1, '', []]);
    assert.equal(asked.length, 1);
  });

  test('an answer that is not Writ’s is a failure', async (t) => {
    for (const [status, text] of [
      [200, '<html>'],
      [404, '<html>'],
      [500, ''],
      [502, '{"detail":7}'],
    ] as const) {
      const { env } = await aServer(t, { status, text });
      const { code, stdout, stderr } = await approvals(env, 'list');
      assert.deepEqual([code, stdout], [1, ''], `${status} ${text}`);
      assert.match(stderr, new RegExp(`refuses \\(${status}\\): the answer is not Writ’s\\n$`));
    }
  });
});
