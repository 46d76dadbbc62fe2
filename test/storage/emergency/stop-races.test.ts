/**
 * The stop is raced with 64 clients on two processes, who ask for every kind of grant without a pause: what is begun
 * after its answer is granted nothing, and nothing is written as granted after it. The same once all are resumed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aDelegateKey } from '../../http/routes/delegation-calls.ts';
import { STOP_ROUNDS } from '../../support/effort.ts';
import { A_PLAN, type Answer, errorCodeOf, until } from '../../support/issuing.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { type AskBoth, startTwoServers } from '../../support/two-servers.ts';

const CLIENTS = 64;
/** Of each client, before the stop is asked for and after it was answered. */
const AROUND = 2;

interface Asked {
  readonly kind: string;
  /** After the answer to the stop. */
  readonly isLate: boolean;
  readonly granted: boolean;
  readonly answer: Answer;
}

const ok = ({ status }: Answer): boolean => status >= 200 && status < 300;
const saysValid = (answer: Answer): boolean =>
  ok(answer) && /"(code":"VALID"|active":true)/.test(answer.text);
const delegateKey = aDelegateKey();

test('nothing is granted after a stop was answered', { skip: postgresSkip }, async (t) => {
  const servers = await startTwoServers(t);
  const { database } = servers;
  const admin = servers.speaker(servers.adminKey);
  const anybody = servers.speaker(undefined);
  const made = async (by: AskBoth, path: string, body: unknown) => {
    const answer = await by(0, 'POST', path, body);
    assert.ok(ok(answer), answer.text);
    return JSON.parse(answer.text) as Record<string, string> & { step_proofs: { proof: object[] }[] };
  };
  let named = 0;
  const aPrincipal = async (spec: object) => {
    named += 1;
    const body = await made(admin, '/v1/agents', { name: `raced-${named}`, ...spec });
    return { id: body['id'] ?? '', speak: servers.speaker(body['api_key']) };
  };

  for (let round = 0; round < STOP_ROUNDS; round += 1) {
    const target = round % 2 === 0 ? 'everybody' : 'one agent';
    const agent = await aPrincipal({ allowed_scopes: ['secrets:*:*'] });
    const bystander = await aPrincipal({});
    const path = `round-${round}/k`;
    assert.ok(ok(await admin(0, 'PUT', `/v1/secrets/${path}`, { value: 'v' })));
    const scopes = ['secrets:*:*'];
    const unlimited = servers.speaker((await made(agent.speak, '/v1/tokens', { scopes }))['token']);
    const limited = servers.speaker(
      (await made(agent.speak, '/v1/tokens', { scopes, max_uses: 1_000_000 }))['token'],
    );
    const steps = Array.from({ length: 500 }, () => ({ action: 'step' }));
    const intent = await made(agent.speak, '/token/issue', { plan: { goal: 'g', steps }, expires_in: 3600 });
    const { token } = intent;
    let consumed = -1;
    const step = () => {
      consumed += 1;
      const index = consumed % steps.length;
      return { token, step_index: index, step: steps[index], proof: intent.step_proofs[index]?.proof };
    };
    const repeat = { plan: A_PLAN, expires_in: 3600 };
    const once = { 'idempotency-key': `round-${round}` };
    assert.ok(ok(await agent.speak(0, 'POST', '/token/issue', repeat, once)));

    const kinds: Readonly<Record<string, (index: number) => Promise<{ answer: Answer; granted: boolean }>>> =
      {
        'an intent token': (index) => plain(agent.speak(index, 'POST', '/token/issue', repeat)),
        'a repeat': (index) => plain(agent.speak(index, 'POST', '/token/issue', repeat, once)),
        'a scoped token': (index) => plain(agent.speak(index, 'POST', '/v1/tokens', { scopes })),
        'an approval': (index) =>
          plain(
            agent.speak(index, 'POST', '/v1/tokens', {
              scopes: ['secrets:read:x/y'],
              require_approval: true,
            }),
          ),
        'a read by a key': (index) => plain(agent.speak(index, 'GET', `/v1/secrets/${path}`)),
        'a read by a token': (index) => plain(unlimited(index, 'GET', `/v1/secrets/${path}`)),
        'a read by a limited token': (index) => plain(limited(index, 'GET', `/v1/secrets/${path}`)),
        'a write': (index) =>
          plain(unlimited(index, 'PUT', `/v1/secrets/round-${round}/w${index % 8}`, { value: 'v' })),
        'a verification by anybody': (index) => verdict(anybody(index, 'POST', '/token/verify', { token })),
        'a verification by a key': (index) =>
          verdict(bystander.speak(index, 'POST', '/token/verify', { token })),
        'a step': (index) => verdict(admin(index, 'POST', '/token/verify', { ...step(), consume: true })),
        'a delegation': (index) =>
          plain(
            agent.speak(index, 'POST', '/delegation/create', { token, delegate_public_key: delegateKey }),
          ),
        'a tool': (index) => plain(agent.speak(index, 'POST', '/iap/enforce', { tool_name: 'look' })),
        'a planned tool': (index) =>
          verdict(
            agent.speak(index, 'POST', '/iap/sdk/enforce', {
              mcp: null,
              tool: 'step',
              intent_token: { jwt_token: token },
            }),
          ),
        'a policy': (index) => plain(agent.speak(index, 'GET', '/policy/bundles/current')),
        'an introspection': (index) => verdict(admin(index, 'POST', '/v1/tokens/introspect', { token })),
      };
    const names = Object.keys(kinds);
    const asked: Asked[] = [];
    const begunOf = Array.from({ length: CLIENTS }, () => ({ before: 0, after: 0 }));
    let isAnswered = false;
    const isDone = () => begunOf.every(({ after }) => after >= AROUND);
    const client = async (_: unknown, which: number): Promise<void> => {
      const count = begunOf[which] ?? { before: 0, after: 0 };
      for (let turn = which; !isDone(); turn += 1) {
        const kind = names[turn % names.length] ?? '';
        const isLate = isAnswered;
        const outcome = await kinds[kind]?.(turn + Math.floor(turn / names.length));
        if (outcome === undefined) throw new Error(kind);
        asked.push({ kind, isLate, ...outcome });
        if (isLate) count.after += 1;
        else count.before += 1;
      }
    };
    const clients = Promise.all(Array.from({ length: CLIENTS }, client));
    await until('that every client was answered', () => begunOf.every(({ before }) => before >= AROUND));
    const meant = target === 'everybody' ? { all: true } : { agent: agent.id };
    const stop = await admin(round, 'POST', '/v1/emergency/stop', { ...meant, reason: 'raced' });
    const { rows } = await database.query<{ now: string }>('select clock_timestamp()::text as now');
    isAnswered = true;
    assert.ok(ok(stop), stop.text);
    assert.match(stop.text, /"settled":true/);
    await clients;

    const about = `${target}, round ${round}`;
    const ungranted = names.filter((kind) => !asked.some((one) => one.kind === kind && one.granted));
    assert.deepEqual(ungranted, [], `${about}: the control: each kind was granted before`);
    const late = asked.filter(({ isLate, granted }) => granted && isLate);
    assert.deepEqual(late, [], `${about}: granted to a request that was begun after the answer`);
    const other = asked.filter(
      ({ isLate, answer, kind }) => isLate && kind !== 'an introspection' && !isRefusedAsStopped(answer),
    );
    assert.deepEqual(other, [], `${about}: refused as something else`);
    const written = await database.query(
      `select event_type, metadata, created_at from audit_events
       where created_at > $1::timestamptz and metadata ->> 'code' is distinct from 'EMERGENCY_STOP'
         and event_type !~ 'denied$|^emergency|^agent|^key|^audit'`,
      [rows[0]?.now],
    );
    assert.deepEqual(written.rows, [], `${about}: on record as granted after the answer`);

    const resumed = await admin(round + 1, 'POST', '/v1/emergency/resume', { ...meant, reason: 'raced' });
    assert.ok(ok(resumed), resumed.text);
    const again = names.filter((kind) => kind !== 'a step' && kind !== 'an approval');
    for (const [index, kind] of again.entries()) {
      const outcome = await kinds[kind]?.(index);
      assert.ok(outcome?.granted, `${about}: ${kind} after resuming: ${outcome?.answer.text}`);
    }
  }
});

async function plain(asked: Promise<Answer>) {
  const answer = await asked;
  return { answer, granted: ok(answer) };
}

async function verdict(asked: Promise<Answer>) {
  const answer = await asked;
  return { answer, granted: saysValid(answer) };
}

const isRefusedAsStopped = (answer: Answer): boolean =>
  errorCodeOf(answer) === 'EMERGENCY_STOP' || answer.text.includes('"code":"EMERGENCY_STOP"');
