/**
 * A primary is killed under load and its asynchronous standby takes over, without what it had not received: whatever was
 * answered had a basis in the history that it was answered in, no single use was given twice there, and no event is
 * missing from exports that go on from one another.
 */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { generateApiKey } from '../../src/keys/credentials/api-key-hash.ts';
import { openDatabase } from '../../src/storage/engine/open-database.ts';
import { startCluster } from '../support/cluster.ts';
import { prepareStandby } from '../support/cluster-home.ts';
import { FAILOVER_ANSWERS, onlyInFullRun } from '../support/effort.ts';
import { A_PLAN, type Answer, createClient, errorCodeOf, until } from '../support/issuing.ts';
import { movableLine } from '../support/movable-line.ts';
import { postgresSkip } from '../support/postgres.ts';
import { postgresPrograms, programsSkip } from '../support/postgres-programs.ts';
import { startServer } from '../support/processes.ts';
import { queryDatabase } from '../support/refused-start.ts';
import { TEST_MASTER_KEY } from '../support/test-master-key.ts';

const PLACES = ['a', 'b', 'c'] as const;
const AGENTS = 3;
const READERS = 12;
const MAY_FAIL = /^(UNAVAILABLE|OUTCOME_UNKNOWN|BUSY|AUDIT_UNAVAILABLE)$/;

/** Its asking and its answer, in the order in which the test saw such things happen. */
interface Timed {
  readonly sent: number;
  readonly answered: number;
  /** Of its event, if it has one. */
  readonly requestId: string;
}
/** What a client was given. */
interface Grant extends Timed {
  readonly agent: number;
  /** Undefined: nothing of a place. */
  readonly place: string | undefined;
  readonly token: string | undefined;
}
/** Of an agent's scopes, or the end of a token; `certain` if it was acknowledged. */
interface Change extends Timed {
  readonly of: number | string;
  readonly allows: readonly string[];
  readonly certain: boolean;
}

const skip = postgresSkip || onlyInFullRun || programsSkip;

test('a failover to a standby that lacks the last commits', { skip }, (t) => failOver(t, 'asynchronous'));
test('a failover to a synchronous standby loses nothing', { skip }, (t) => failOver(t, 'synchronous'));

async function failOver(t: TestContext, following: 'asynchronous' | 'synchronous'): Promise<void> {
  const programs = postgresPrograms();
  const primary = await startCluster({ programs });
  t.after(() => primary.remove());
  const folder = await prepareStandby(primary.port, programs);
  t.after(() => rm(folder, { recursive: true, force: true }));
  const standby = await startCluster({ programs, dataDir: folder });
  t.after(() => standby.remove());
  const readOnly = await openDatabase({ databaseUrl: standby.url, dataDir: '', poolMax: 1 });
  const line = await movableLine(t, primary.port);
  const databaseUrl = Object.assign(new URL(primary.url), { port: String(line.port) }).href;
  const admin = generateApiKey().text;
  const env = {
    DATABASE_URL: databaseUrl,
    MASTER_KEY: TEST_MASTER_KEY,
    BOOTSTRAP_ADMIN_KEY: admin,
    PORT: '0',
    LOG_LEVEL: 'error',
    RATE_LIMIT_MAX: '0',
    AUTH_FAILURE_MAX: '0',
  };
  const servers = [await startServer(t, env), await startServer(t, env)];
  const clients = new Map<string, ReturnType<typeof createClient>>();
  t.after(() => {
    for (const client of clients.values()) client.close();
  });
  let turn = 0;
  let moment = 0;
  const next = () => {
    moment += 1;
    return moment;
  };
  /** Each of the two processes in turn. Undefined where the connection broke. */
  const ask = async (as: string, method: string, path: string, json?: unknown) => {
    turn += 1;
    const url = servers[turn % servers.length]?.url ?? assert.fail();
    const isToken = as.startsWith('ast_tok_');
    const client = clients.get(url + as) ?? createClient(url, isToken ? undefined : as);
    clients.set(url + as, client);
    const sent = next();
    const answer = await client.send(method, path, json, isToken ? { authorization: `Bearer ${as}` } : {});
    const requestId = String(answer?.headers['x-request-id']);
    return { answer, timed: { sent, answered: next(), requestId } };
  };
  const made = async (as: string, path: string, json: object): Promise<Record<string, string>> => {
    const { answer } = await ask(as, 'POST', path, json);
    assert.equal(answer?.status, 201, answer?.text);
    return JSON.parse(answer.text) as Record<string, string>;
  };

  await assert.rejects(
    readOnly.query({ name: 'of_a_standby', text: 'select 1', effect: 'read' }, []),
    { code: 'UNAVAILABLE', sqlState: '25006' },
    'no history is read that may still be another’s',
  );
  await readOnly.close();
  if (following === 'synchronous') {
    // Writ's sessions wait for the standby, whatever is set on their role.
    await queryDatabase(primary.url, 'alter role postgres set synchronous_commit = local');
    await queryDatabase(primary.url, "alter system set synchronous_standby_names = '*'");
    await queryDatabase(primary.url, 'select pg_reload_conf()');
    await until('the standby is synchronous', async () => {
      const [found] = await queryDatabase(primary.url, 'select sync_state from pg_stat_replication');
      return found?.['sync_state'] === 'sync';
    });
  }

  const everywhere = PLACES.map((place) => `secrets:read:${place}/*`);
  for (const place of PLACES) await made(admin, '/v1/secrets', { path: `${place}/K`, value: 'v' });
  const agents: { id: string; key: string }[] = [];
  for (let n = 0; n < AGENTS; n += 1) {
    const { id = '', api_key: key = '' } = await made(admin, '/v1/agents', {
      name: `agent-${n}`,
      allowed_scopes: everywhere,
    });
    agents.push({ id, key });
  }

  const grants: Grant[] = [];
  const changes: Change[] = [];
  const singleUse = new Set<string>();
  const tokens: { id: string; text: string; agent: number }[] = [];
  const unexpected: string[] = [];
  let isOver = false;
  /** Notes what nobody foresaw; says whether it succeeded. */
  const isGranted = (answer: Answer | undefined): answer is Answer & { readonly status: 200 | 201 | 204 } => {
    if (answer !== undefined && answer.status >= 500 && !MAY_FAIL.test(errorCodeOf(answer))) {
      unexpected.push(answer.text);
    }
    return answer !== undefined && answer.status < 300;
  };
  const random = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] ?? assert.fail();

  const reads = async (): Promise<void> => {
    while (!isOver) {
      const token = random(tokens);
      const place = random(PLACES);
      const { answer, timed } = await ask(token.text, 'GET', `/v1/secrets/${place}/K`);
      if (isGranted(answer)) grants.push({ ...timed, agent: token.agent, place, token: token.id });
      else if (answer === undefined || answer.status >= 500) await delay(10);
    }
  };
  const issues = async (): Promise<void> => {
    for (let round = 0; !isOver; round += 1) {
      const agent = Math.floor(Math.random() * AGENTS);
      const { key = '' } = agents[agent] ?? {};
      if (round % 3 === 0) {
        const { answer, timed } = await ask(key, 'POST', '/token/issue', { plan: A_PLAN });
        if (isGranted(answer)) grants.push({ ...timed, agent, place: undefined, token: undefined });
        continue;
      }
      const place = random(PLACES);
      const once = round % 3 === 1 ? { max_uses: 1 } : {};
      const json = { scopes: [`secrets:read:${place}/*`], ...once };
      const { answer, timed } = await ask(key, 'POST', '/v1/tokens', json);
      if (!isGranted(answer)) {
        await delay(5);
        continue;
      }
      const { token_id: id = '', token: text = '' } = JSON.parse(answer.text) as Record<string, string>;
      grants.push({ ...timed, agent, place, token: undefined });
      if (round % 3 === 1) singleUse.add(id);
      tokens.push({ id, text, agent });
      // So that a single-use token is often asked for while it may be open.
      if (tokens.length > 60) tokens.shift();
    }
  };
  const change = async (of: number | string, allows: readonly string[], asked: ReturnType<typeof ask>) => {
    const { answer, timed } = await asked;
    const certain = isGranted(answer);
    // Also `UNAVAILABLE`: what is read for the answer, after the change, may be what failed. The trail knows.
    const isUnknown = answer === undefined || answer.status >= 500;
    if (certain || isUnknown) changes.push({ ...timed, of, allows, certain });
    await delay(certain ? 25 : 100);
  };
  const narrows = async (): Promise<void> => {
    while (!isOver) {
      const agent = Math.floor(Math.random() * AGENTS);
      const allows = PLACES.filter(() => Math.random() < 0.6);
      const json = { allowed_scopes: allows.map((place) => `secrets:read:${place}/*`) };
      await change(agent, allows, ask(admin, 'PATCH', `/v1/agents/${agents[agent]?.id}`, json));
    }
  };
  const revokes = async (): Promise<void> => {
    // One that was revoked before is not revoked again: nothing is on record of that.
    const tried = new Set<string>();
    while (!isOver) {
      const { id } = random(tokens);
      if (tried.has(id)) {
        await delay(5);
        continue;
      }
      tried.add(id);
      await change(id, [], ask(admin, 'DELETE', `/v1/tokens/${id}`));
    }
  };

  let chain = new Set<string>();
  let cursor: string | undefined;
  let exports = 0;
  const exportOnce = async (): Promise<boolean> => {
    const query = new URLSearchParams({ format: 'jsonl', ...(cursor === undefined ? {} : { cursor }) });
    const { answer } = await ask(admin, 'GET', `/v1/audit/export?${query}`);
    if (answer?.status === 409) {
      assert.equal(errorCodeOf(answer), 'CURSOR_OUTDATED');
      cursor = undefined;
      chain = new Set();
      return false;
    }
    if (!isGranted(answer)) return false;
    for (const row of answer.text.split('\n').slice(0, -1)) {
      const { id } = JSON.parse(row) as { id: string };
      assert.ok(!chain.has(id), 'an event comes once');
      chain.add(id);
    }
    cursor = String(answer.headers['x-next-cursor']);
    exports += 1;
    return true;
  };
  const exporting = async (): Promise<void> => {
    while (!isOver) {
      await exportOnce();
      await delay(100);
    }
  };

  for (const [agent, { key }] of agents.entries()) {
    const { token_id: id = '', token: text = '' } = await made(key, '/v1/tokens', { scopes: everywhere });
    tokens.push({ id, text, agent });
  }
  const load = Promise.all([
    ...Array.from({ length: READERS }, reads),
    issues(),
    issues(),
    narrows(),
    revokes(),
    exporting(),
  ]);
  load.catch(() => undefined);
  const more = (what: string, answers: number) => {
    const before = grants.length;
    const narrowed = changes.length;
    return Promise.race([
      load,
      until(what, () => grants.length >= before + answers && changes.length >= narrowed + 20),
    ]);
  };

  await more('answers of the primary', FAILOVER_ANSWERS);
  if (following === 'asynchronous') {
    // From here on the standby receives nothing: what is acknowledged now is lost.
    await queryDatabase(standby.url, "alter system set primary_conninfo = ''");
    await queryDatabase(standby.url, 'select pg_reload_conf()');
    await until(
      'the standby follows nobody',
      async () => (await queryDatabase(standby.url, 'select 1 from pg_stat_wal_receiver')).length === 0,
    );
    await more('answers that the standby will not know of', FAILOVER_ANSWERS / 2);
  }
  await primary.kill();
  // Whatever is sent from now on, the primary does not answer.
  const killed = next();
  await queryDatabase(standby.url, 'select pg_promote()');
  line.lead(standby.port);
  await more('answers of the standby', FAILOVER_ANSWERS);
  isOver = true;
  await load;

  const rows = await queryDatabase(standby.url, 'select id, request_id, epoch::text from audit_events');
  const epochs = (
    await queryDatabase(standby.url, 'select epoch::text from audit_epochs order by position')
  ).map(({ epoch }) => String(epoch));
  const present = epochs.at(-1);
  assert.ok(epochs.length >= 2);
  const epochOf = new Map(rows.map((row) => [String(row['request_id']), String(row['epoch'])]));
  await until('the last export', exportOnce);
  for (const { id } of rows) assert.ok(chain.has(String(id)), `event ${id} is in no export`);
  assert.ok(exports > 5);
  assert.deepEqual(unexpected, []);

  const isNew = ({ requestId }: Timed) => epochOf.get(requestId) === present;
  const isKept = ({ requestId }: Timed) => epochOf.has(requestId);
  const lost = [...grants, ...changes.filter(({ certain }) => certain)].filter((one) => !isKept(one));
  if (following === 'synchronous') assert.deepEqual(lost, []);
  else assert.ok(lost.length > 0, 'the standby lacked nothing');
  const unrecorded = lost.filter(({ sent }) => sent > killed);
  assert.deepEqual(unrecorded, [], 'what the standby granted is on record');
  const isLostNarrowing = (one: Change) => one.certain && typeof one.of === 'number' && !isKept(one);
  assert.equal(changes.some(isLostNarrowing), following === 'asynchronous');
  assert.ok(grants.filter(isNew).length >= FAILOVER_ANSWERS / 2);

  const inHistoryOf = (grant: Grant) => (one: Change) => (isNew(grant) ? isKept(one) : one.sent < killed);
  for (const grant of grants) {
    const changed = changes.filter(inHistoryOf(grant));
    const ended = changed.find((one) => one.of === grant.token && one.certain && one.answered < grant.sent);
    assert.equal(ended, undefined, `a revoked token was used: ${JSON.stringify({ grant, ended })}`);
    if (grant.place === undefined) continue;
    const ofAgent = changed.filter((one) => one.of === grant.agent);
    const last = ofAgent.findLastIndex((one) => one.certain && one.answered < grant.sent);
    const possible = [
      ofAgent[last]?.allows ?? PLACES,
      ...ofAgent
        .slice(last + 1)
        .filter((one) => one.sent < grant.answered)
        .map(({ allows }) => allows),
    ].flat();
    assert.ok(
      possible.includes(grant.place),
      `beyond the scopes: ${JSON.stringify({ grant, last: ofAgent[last] })}`,
    );
  }
  let opened = 0;
  for (const id of singleUse) {
    const used = grants.filter(({ token }) => token === id);
    const before = used.filter((one) => !isNew(one));
    assert.ok(before.length <= 1, `token ${id} opened ${before.length} times before the failover`);
    const onRecord = used.filter(isKept);
    assert.ok(
      onRecord.length <= 1,
      `token ${id} opened ${onRecord.length} times in the history that is left`,
    );
    opened += used.length;
  }
  assert.ok(opened > 20, `${opened} single uses`);
  t.diagnostic(
    `${grants.length} grants, ${changes.length} changes, ${lost.length} lost, ${opened} single uses of ${singleUse.size} tokens`,
  );
  for (const server of servers) assert.equal(await server.stop(), 0, server.stderr());
}
