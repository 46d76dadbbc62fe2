/**
 * Secrets stay where they belong (architecture rule 9). Canaries are planted in everything that is secret or not ours
 * to keep; a busy session follows, refusals and an outage included; then every answer, every line of output and every
 * row is searched for each of them in every form that text is commonly carried in.
 *
 * What may appear, and nowhere else:
 * - a value of `metadata`: in `audit_events` (contract section 4.1), and where that is listed or exported;
 * - an API key: in the one answer that creates it, and the first administrator's on standard output, once;
 * - a member of the policy: in the answers to whoever sent it, and in `intent_tokens` (it is signed);
 * - the value of a secret: in the answer to a `GET` of that secret and version;
 * - a scoped token: in the one answer that issues it, or that claims it from an approval;
 * - what is written about a secret, a scoped token or an approval: in their tables and in answers;
 * - why an approval was decided so: in the tables of approvals, in `audit_events` and in answers about it;
 * - the name of a member that is not known: in the answer, which points at it.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite, type TestContext, test } from 'node:test';
import pg from 'pg';
import { generateApiKey } from '../../src/keys/credentials/api-key-hash.ts';
import { startCluster } from '../support/cluster.ts';
import { createClient, insist, printedKey, until } from '../support/issuing.ts';
import { postgresSkip } from '../support/postgres.ts';
import { startServer } from '../support/processes.ts';
import { canary, dump, findIn } from './canary-search.ts';
import { type Ask, secretsSession, type Told } from './canary-secrets.ts';

suite('the searcher finds a planted control', () => {
  const secret = canary('control');
  const carriers: Record<string, string> = {
    'as it is': `before ${secret} after`,
    'in JSON': JSON.stringify({ a: [`x${secret}`] }),
    'in JSON in JSON': JSON.stringify({ a: JSON.stringify({ b: secret }) }),
    'in ASCII JSON': JSON.stringify(secret).replace(/[é]/g, '\\u00e9').replace(/[ü]/g, '\\u00fc'),
    'in a URL': new URL(`http://h/?q=${encodeURIComponent(secret)}`).href,
    'in a form': new URLSearchParams({ q: secret }).toString().replaceAll('%22', '%22'),
    'in hex': Buffer.from(`..${secret}..`).toString('hex'),
    'in Postgres’ bytea text': `\\x${Buffer.from(secret).toString('hex')}`,
  };
  for (const before of ['', 'a', 'ab', 'abc']) {
    carriers[`in base64 behind ${before.length} bytes`] = Buffer.from(`${before}${secret}.`).toString(
      'base64',
    );
    carriers[`in base64url behind ${before.length} bytes`] = Buffer.from(`${before}${secret}.`).toString(
      'base64url',
    );
  }
  for (const [where, text] of Object.entries(carriers)) {
    test(where, () => assert.notDeepEqual(findIn(text, secret), []));
  }
  test('a scoped token as the bytes that it stands for', () => {
    const bytes = randomBytes(32);
    const text = JSON.stringify({ row: `\\x${bytes.toString('hex')}` });
    assert.notDeepEqual(findIn(text, `ast_tok_${bytes.toString('base64url')}`), []);
  });
  test('its random part, where the rest was cut off', () => {
    assert.notDeepEqual(findIn(secret.slice(5, -8), secret), []);
  });
  test('and nothing where nothing is', () => {
    assert.deepEqual(findIn(`control- "é/+%ü\\ ${canary('control')}`, secret), []);
  });
});

test('a busy session leaves no canary where it does not belong', { skip: postgresSkip }, async (t) => {
  const session = await aBusySession(t);
  const { canaries, output, answers, tables } = session;

  // What is searched is not empty, and holds what a session leaves.
  assert.ok(
    output.includes('"msg":"request"') && output.includes('"level":"error"'),
    'log lines, errors too',
  );
  assert.ok(
    answers.some((answer) => answer.status === 200) && answers.some((answer) => answer.status >= 500),
  );
  for (const status of [400, 401, 403, 404, 409, 413, 415, 500, 503]) {
    assert.ok(
      answers.some((answer) => answer.status === status),
      `an answer with ${status}`,
    );
  }
  assert.notDeepEqual(findIn(tables.get('audit_events') ?? '', canaries.metadata), [], 'the control');

  const found: string[] = [];
  const search = (where: string, text: string, name: string, secret: string) => {
    for (const form of findIn(text, secret)) found.push(`${name} in ${where}, ${form}`);
  };
  for (const [name, secret] of Object.entries(canaries)) {
    search('the output', output, name, secret);
    for (const { asked, text } of answers) {
      if (name === 'policy' && asked === 'issue with its own policy') continue;
      if (name === 'metadata' && THE_TRAIL.test(asked)) continue;
      search(`the answer to ${asked}`, text, name, secret);
    }
    for (const [table, text] of tables) {
      if (name === 'metadata' && table === 'audit_events') continue;
      if (name === 'policy' && table === 'intent_tokens') continue;
      search(table, text, name, secret);
    }
  }

  for (const [name, key] of Object.entries(session.apiKeys)) {
    // The first 24 characters are public.
    const secret = key.slice(24);
    const places = answers.filter((answer) => findIn(answer.text, secret).length > 0);
    const creating = name === 'bootstrap' || name === 'wrong' ? [] : [`create ${name}`];
    assert.deepEqual(
      places.map((answer) => answer.asked),
      creating,
      `${name} key in answers`,
    );
    for (const [table, text] of tables) search(table, text, `${name} key`, secret);
    if (name === 'bootstrap') {
      // Twice in the first start's text: by itself, and in the command to try it with.
      const withoutAnnouncement = output.replaceAll(key, '');
      assert.ok(output.split(key).length - 1 <= 2);
      assert.ok(!output.split('\n').some((line) => line.startsWith('{') && line.includes(secret)));
      search('the output', withoutAnnouncement, `${name} key`, secret);
    } else search('the output', output, `${name} key`, secret);
  }

  const { values, refused, note, label, grounds, memberName, tokens } = session.secrets;
  const searchAll = (name: string, secret: string, belongs: { answers?: RegExp; tables?: string[] }) => {
    search('the output', output, name, secret);
    for (const { asked, text } of answers) {
      if (belongs.answers?.test(asked) !== true) search(`the answer to ${asked}`, text, name, secret);
    }
    for (const [table, text] of tables) {
      if (belongs.tables?.includes(table) !== true) search(table, text, name, secret);
    }
  };
  for (const [name, value] of Object.entries(values)) {
    const reading = answers.find((answer) => answer.asked === `read ${name}`);
    assert.notDeepEqual(findIn(reading?.text ?? '', value), [], `the control: read ${name}`);
    searchAll(name, value, { answers: new RegExp(`^read ${name}$`) });
  }
  for (const [name, token] of Object.entries(tokens)) {
    const issuing = answers.filter((answer) => answer.asked === `token ${name}`);
    assert.deepEqual(
      issuing.map((answer) => findIn(answer.text, token).length > 0),
      [true],
      `the control: token ${name}`,
    );
    searchAll(`the token ${name}`, token, { answers: new RegExp(`^token ${name}$`) });
  }
  for (const [name, text] of Object.entries(refused)) searchAll(name, text, {});
  searchAll('the name of a member', memberName, { answers: /^unknown member$/ });
  assert.notDeepEqual(findIn(tables.get('secrets') ?? '', note), [], 'the control: secrets');
  searchAll('note', note, { answers: /^(?:write|read|rotate|list)\b/, tables: ['secrets'] });
  const tablesOfLabels = ['scoped_tokens', 'approvals', 'audit_events'];
  for (const table of tablesOfLabels) {
    assert.notDeepEqual(findIn(tables.get(table) ?? '', label), [], `the control: ${table}`);
  }
  searchAll('label', label, {
    answers:
      /^(?:token .*|introspect.*|inventory.*|approval (?:given|seen|denied)|approvals listed|the trail (?:listed|exported .*))$/,
    tables: tablesOfLabels,
  });
  const tablesOfGrounds = ['approvals', 'approval_votes', 'audit_events'];
  for (const table of tablesOfGrounds) {
    assert.notDeepEqual(findIn(tables.get(table) ?? '', grounds), [], `the control: ${table}`);
  }
  searchAll('grounds', grounds, {
    answers: /^(?:approval (?:given|seen|denied|polled)|approvals listed|the trail (?:listed|exported .*))$/,
    tables: tablesOfGrounds,
  });
  assert.deepEqual(found, []);
});

const THE_TRAIL = /^the trail /;

async function aBusySession(t: TestContext) {
  const canaries = {
    plan: canary('plan'),
    goal: canary('goal'),
    metadata: canary('metadata'),
    prompt: canary('prompt'),
    policy: canary('policy'),
    refusedValue: canary('refused'),
    body: canary('body'),
    header: `header-${randomBytes(9).toString('hex')}`,
    query: canary('query'),
    databasePassword: canary('password'),
    masterKey: randomBytes(32).toString('hex'),
  };
  const cluster = await startCluster();
  t.after(() => cluster.remove());
  const databaseUrl = new URL(cluster.url);
  databaseUrl.password = encodeURIComponent(canaries.databasePassword);
  const server = await startServer(t, {
    DATABASE_URL: databaseUrl.href,
    MASTER_KEY: canaries.masterKey,
    PORT: '0',
    LOG_LEVEL: 'trace',
    RATE_LIMIT_MAX: '0',
    AUTH_FAILURE_MAX: '0',
  });

  const answers: Told[] = [];
  let outage = false;
  const client = createClient(server.url, undefined);
  t.after(() => client.close());
  const asks = (credential: string): Ask => {
    const presented = credential.startsWith('ast_tok_')
      ? { authorization: `Bearer ${credential}` }
      : { 'x-api-key': credential };
    return async (asked, method, path, body, headers = {}) => {
      const send = () =>
        client.send(method, path, body, { ...presented, 'x-trace': canaries.header, ...headers });
      const answer = outage ? await send() : await insist(send);
      assert.ok(answer !== undefined, `no answer to ${asked}`);
      const told = { asked, status: answer.status, text: JSON.stringify(answer.headers) + answer.text };
      answers.push(told);
      return { ...told, text: answer.text };
    };
  };
  const bootstrap = printedKey(server.stdout());
  const wrong = generateApiKey().text;
  const admin = asks(bootstrap);
  const created = await admin('create agent', 'POST', '/v1/agents', {
    name: 'busy',
    description: 'a description that admins see',
    policy: { deny: ['bank/*'] },
  });
  const { api_key: agentKey, id } = JSON.parse(created.text) as { api_key: string; id: string };
  const second = await admin('create second', 'POST', `/v1/agents/${id}/keys`, { name: 'second' });
  const { api_key: secondKey, id: secondId } = JSON.parse(second.text) as { api_key: string; id: string };
  const agent = asks(agentKey);
  const createdKeeper = await admin('create keeper', 'POST', '/v1/agents', {
    name: 'keeper',
    allowed_scopes: ['secrets:*:vault/*'],
  });
  const { api_key: keeperKey } = JSON.parse(createdKeeper.text) as { api_key: string };
  const secrets = secretsSession({ admin, keeper: asks(keeperKey), holding: asks });

  const plan = (changes: object = {}) => ({
    goal: canaries.goal,
    steps: [{ action: 'get_weather', mcp: 'weather-mcp', params: { deep: [{ note: canaries.plan }] } }],
    ...changes,
  });
  const extras = { metadata: { note: canaries.metadata }, prompt: canaries.prompt, llm: canaries.prompt };
  for (const path of ['/token/issue', '/iap/sdk/token']) {
    await agent('issue', 'POST', path, { plan: plan(), ...extras });
    await agent(
      'issue with an idempotency key',
      'POST',
      path,
      { plan: plan(), ...extras },
      {
        'idempotency-key': 'once',
      },
    );
    await agent('the same again', 'POST', path, { plan: plan(), ...extras }, { 'idempotency-key': 'once' });
    await agent(
      'another body',
      'POST',
      path,
      { plan: plan({ x: 1 }), ...extras },
      { 'idempotency-key': 'once' },
    );
    await agent('dry run', 'POST', path, { plan: plan(), ...extras, dry_run: true });
    await agent('issue with its own policy', 'POST', path, {
      plan: plan(),
      policy: { allow: ['*'], description: canaries.policy },
    });
    await agent('refuse the own policy', 'POST', path, {
      plan: plan(),
      policy: { deny: ['weather-mcp/*'], description: canaries.policy },
    });
    await agent('refuse by the agent’s policy', 'POST', path, {
      plan: plan({ steps: [{ action: 'pay', mcp: 'bank', params: { note: canaries.plan } }] }),
      ...extras,
    });
    const wrongBodies: Record<string, unknown> = {
      'an unknown member': { plan: plan(), ...extras, surprise: canaries.refusedValue },
      'a wrong type': { plan: canaries.refusedValue },
      'a wrong action': { plan: { steps: [{ action: canaries.refusedValue }] } },
      'a wrong validity': { plan: plan(), expires_in: canaries.refusedValue },
      'a wrong user': { plan: plan(), user_id: { name: canaries.refusedValue } },
      'a long user': { plan: plan(), user_id: canaries.refusedValue.repeat(20) },
      'an unknown policy': { plan: plan(), policy: { allow: [canaries.refusedValue] } },
      'a number that is none': `{"plan":{"steps":[{"action":"x","p":1e999,"q":${JSON.stringify(canaries.plan)}}]}}`,
      'bad JSON': `{"plan": ${canaries.body}`,
      'a member twice': `{"a":${JSON.stringify(canaries.body)},"a":1}`,
      'too deep': `{"plan":${'['.repeat(70)}${JSON.stringify(canaries.body)}${']'.repeat(70)}}`,
    };
    for (const [what, body] of Object.entries(wrongBodies)) await agent(what, 'POST', path, body);
    await agent('another media type', 'POST', path, canaries.body, { 'content-type': 'text/plain' });
    await agent('an unknown query', 'POST', `${path}?q=${encodeURIComponent(canaries.query)}`, {
      plan: plan(),
    });
    await asks(wrong)('a wrong key', 'POST', path, { plan: plan(), ...extras });
    await asks(canaries.header)('a key that is none', 'POST', path, { plan: plan() });
  }
  await agent('an unknown path', 'GET', `/nowhere/${encodeURIComponent(canaries.query)}`);
  await agent('an unknown path in v1', 'GET', `/v1/nowhere?x=${encodeURIComponent(canaries.query)}`);
  await agent('forbidden', 'GET', '/v1/agents');
  await agent('verify nonsense', 'POST', '/token/verify', { token: canaries.body });
  await admin('me', 'GET', '/v1/me');
  await admin('agents', 'GET', '/v1/agents');
  await admin('the name again', 'POST', '/v1/agents', { name: 'busy' });
  await admin('revoke the second key', 'DELETE', `/v1/agents/${id}/keys/${secondId}`);
  await asks(secondKey)('a revoked key', 'POST', '/token/issue', { plan: plan(), ...extras });
  await secrets.busy();

  // Errors of the database itself, which quote queries and parameters: a fault of ours, then an outage.
  const owner = new pg.Client({ connectionString: cluster.url });
  owner.on('error', () => undefined);
  await owner.connect();
  await owner.query(
    'alter table intent_tokens rename to hidden; alter table agents add constraint no check (description is null or description not like $$%refused%$$)',
  );
  await agent('a fault of ours', 'POST', '/token/issue', { plan: plan(), ...extras });
  await admin('a fault in an update', 'PATCH', `/v1/agents/${id}`, { description: canaries.refusedValue });
  await owner.query('alter table hidden rename to intent_tokens');
  await secrets.faults(owner);
  outage = true;
  await cluster.stop('immediate');
  await agent('issue in an outage', 'POST', '/token/issue', { plan: plan(), ...extras });
  await admin('update in an outage', 'PATCH', `/v1/agents/${id}`, { description: canaries.refusedValue });
  await asks(generateApiKey().text)('a cold key in an outage', 'GET', '/v1/me');
  await secrets.outage();
  await cluster.start();
  await until(
    'a token again',
    async () => (await agent('issue', 'POST', '/token/issue', { plan: plan() })).status === 200,
  );

  // Whole, so that what is searched of the trail is what its readers are given.
  await admin('the trail listed', 'GET', '/v1/audit?limit=200');
  for (const format of ['jsonl', 'csv']) {
    const { text } = await admin(
      `the trail exported as ${format}`,
      'GET',
      `/v1/audit/export?format=${format}`,
    );
    assert.ok(text.includes('approval.granted') && text.includes('secret.read'), `the control: ${format}`);
  }

  assert.equal(await server.stop(), 0);
  return {
    canaries,
    apiKeys: { bootstrap, wrong, agent: agentKey, second: secondKey, keeper: keeperKey },
    secrets,
    answers,
    output: server.stdout() + server.stderr(),
    tables: await dump(cluster.url),
  };
}
