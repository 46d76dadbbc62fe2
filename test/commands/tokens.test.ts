/** `writ tokens` against a running server: an agent lists and ends its own intent tokens, an administrator any. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { available, startVault } from '../clients/agentsecretstore-server.ts';
import { type Ended, runHere } from '../support/command-line.ts';

interface Issued {
  readonly token: string;
  readonly token_id: string;
  readonly plan_hash: string;
  readonly expires_at: number;
}

suite('writ tokens', () => {
  const server = startVault(available);
  const tokens = (key: string, ...args: string[]): Promise<Ended> =>
    runHere(['tokens', ...args], { WRIT_KEY: key, WRIT_URL: server.url });
  const anAgent = () => server.createAgent({ allowed_scopes: ['secrets:read:a/*'] });
  const issue = async (key: string): Promise<Issued> => {
    const plan = { steps: [{ action: 'look', mcp: 'm' }, { action: 'tell' }] };
    const { status, body } = await server.ask<Issued>('POST', '/token/issue', { plan, expires_in: 600 }, key);
    assert.equal(status, 200);
    return body;
  };
  const codeOf = async ({ token }: Issued): Promise<string> =>
    (await server.ask<{ code: string }>('POST', '/token/verify', { token })).body.code;

  test('a list has a row for each: id, status, agent, end, steps consumed and plan hash', async () => {
    const agent = await anAgent();
    const first = await issue(agent.key);
    const second = await issue(agent.key);
    const { code, stdout, stderr } = await tokens(agent.key, 'list');
    assert.deepEqual([code, stderr], [0, '']);
    const [header = '', ...rows] = stdout.trimEnd().split('\n');
    assert.match(header, /^ID +STATUS +AGENT +UNTIL +CONSUMED +PLAN HASH$/);
    assert.deepEqual(
      rows.map((row) => row.split(/ {2,}/)),
      [second, first].map((issued) => [
        issued.token_id,
        'active',
        agent.name,
        new Date(issued.expires_at * 1000).toISOString(),
        '0/2',
        issued.plan_hash,
      ]),
    );
    assert.ok(!stdout.includes(first.token));
    const page = await tokens(agent.key, 'list', '--limit', '1');
    assert.match(page.stdout, /\nThere are more than 1; use --limit\.\n$/);
    const none = await tokens(agent.key, 'list', '--status', 'revoked');
    assert.deepEqual([none.code, none.stdout], [0, 'There are no revoked intent tokens.\n']);
  });

  test('revoking ends it at once and says so; again is fine', async () => {
    const agent = await anAgent();
    const [issued, kept] = [await issue(agent.key), await issue(agent.key)];
    const said = `${issued.token_id} is revoked.\n`;
    assert.deepEqual(
      (({ code, stdout, stderr }) => [code, stdout, stderr])(
        await tokens(agent.key, 'revoke', issued.token_id, '--reason', 'over'),
      ),
      [0, said, ''],
    );
    assert.equal((await tokens(agent.key, 'revoke', issued.token_id)).stdout, said);
    assert.deepEqual([await codeOf(issued), await codeOf(kept)], ['TOKEN_REVOKED', 'VALID']);
    assert.match((await tokens(agent.key, 'list', '--status', 'all')).stdout, / revoked /);
  });

  test('--json is what the server says', async () => {
    const agent = await anAgent();
    const issued = await issue(agent.key);
    const listed = JSON.parse((await tokens(agent.key, 'list', '--json')).stdout) as {
      items: { token_id: string }[];
    };
    assert.deepEqual(
      listed.items.map((item) => item.token_id),
      [issued.token_id],
    );
    const { stdout } = await tokens(agent.key, 'revoke', issued.token_id, '--json');
    assert.deepEqual(JSON.parse(stdout), {
      success: true,
      token_id: issued.token_id,
      revoked: [issued.token_id],
      revoked_count: 1,
    });
  });

  test('another’s token is none, and the server’s own sentence says so', async () => {
    const [agent, other] = [await anAgent(), await anAgent()];
    const issued = await issue(agent.key);
    const { code, stdout, stderr } = await tokens(other.key, 'revoke', issued.token_id);
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(stderr, /refuses \(404\): There is no such token\./);
    assert.equal(await codeOf(issued), 'VALID');
  });

  test('a command line that is wrong is one sentence, and nothing is asked', async () => {
    for (const [env, args, sentence] of [
      [{}, ['list'], /^writ tokens list: WRIT_KEY must be the API key of an agent or an administrator; see/],
      [
        { WRIT_KEY: 'x' },
        ['list', '--status', 'live'],
        /^writ tokens list: --status must be one of active, /,
      ],
      [
        { WRIT_KEY: 'x' },
        ['revoke', 'x', '--reason', 'x'.repeat(501)],
        /^writ tokens revoke: --reason must not be /,
      ],
      [{ WRIT_KEY: 'x' }, ['revoke'], /^writ tokens revoke: /],
    ] as const) {
      const { code, stdout, stderr } = await runHere(['tokens', ...args], env);
      assert.deepEqual([code, stdout], [2, ''], args.join(' '));
      assert.match(stderr, sentence);
    }
  });
});
