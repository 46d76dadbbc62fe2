/**
 * Readers in flight against whatever ends or changes what they read, over two server processes: once a change is
 * acknowledged, no request that starts later gets what was there before.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { postgresSkip } from '../../support/postgres.ts';
import { assertChanged, type Expected, readDuring } from './readers-in-flight.ts';
import {
  type AgentOfTest,
  type Asked,
  anAgentWith,
  aSecretOf,
  aTokenOf,
  bookOf,
  granted,
  openSite,
  type Reply,
  type Site,
  type TokenOfTest,
  toRead,
} from './secret-books.ts';

const MANY_USES = 1_000_000;
const QUESTIONS = ['an unlimited token', 'a limited token', 'an API key'] as const;
const BY_KEY = QUESTIONS.indexOf('an API key');

interface Scene {
  readonly site: Site;
  readonly agent: AgentOfTest;
  readonly secret: { readonly path: string; readonly id: string; readonly value: string };
  readonly tokens: readonly [unlimited: TokenOfTest, limited: TokenOfTest];
  /** One for each of `QUESTIONS`. */
  readonly questions: readonly Asked[];
  /** By the administrator, through one process or the other. */
  change(method: string, path: string, json?: unknown): Promise<Reply['body']>;
}

async function sceneOn(site: Site): Promise<Scene> {
  const agent = await anAgentWith(site, ['secrets:*:*']);
  const secret = await aSecretOf(site, { value: 'first' });
  const scopes = [`secrets:read:${secret.path}`];
  const tokens = [
    await aTokenOf(site, agent.key, { scopes }),
    await aTokenOf(site, agent.key, { scopes, maxUses: MANY_USES }),
  ] as const;
  return {
    site,
    agent,
    secret,
    tokens,
    questions: [...tokens.map(({ text }) => text), agent.key].map((by) => toRead(secret.path, by)),
    change: (method, path, json) => granted(site.ask, { method, path, by: site.adminKey, json }),
  };
}

type Of = (scene: Scene) => (reply: Reply, question: number) => boolean;

const refusedWith =
  (status: number, code: string): Of =>
  () =>
  (reply) =>
    reply.status === status && reply.code === code && !('value' in reply.body);

/** The value must be that of the very version that it is answered as. */
const gives =
  (version: number, value: string, id?: () => string): Of =>
  ({ secret }) =>
  ({ status, body }) =>
    status === 200 &&
    body['id'] === (id?.() ?? secret.id) &&
    body['version'] === version &&
    body['value'] === value;

interface Race {
  readonly when: string;
  readonly outcome: string;
  readonly change: (scene: Scene) => Promise<unknown>;
  readonly after: Of;
}

const secretOf = ({ secret }: Scene): string => `/v1/secrets/${secret.path}`;

const byKind =
  (tokens: Of, key: Of): Of =>
  (scene) =>
  (reply, question) =>
    (question === BY_KEY ? key : tokens)(scene)(reply, question);

const RACES: readonly Race[] = [
  {
    when: 'its tokens are revoked',
    outcome: 'neither of them opens it, and the key still does',
    change: async ({ change, tokens }) => {
      for (const { id } of tokens) await change('DELETE', `/v1/tokens/${id}`);
    },
    after: byKind(refusedWith(401, 'TOKEN_REVOKED'), gives(1, 'first')),
  },
  {
    when: 'the agent is revoked',
    outcome: 'nothing of the agent’s opens it',
    change: ({ change, agent }) => change('DELETE', `/v1/agents/${agent.id}`),
    after: byKind(refusedWith(401, 'TOKEN_REVOKED'), refusedWith(401, 'UNAUTHORIZED')),
  },
  {
    when: 'the agent’s key is revoked',
    outcome: 'the key opens nothing, and the tokens still do',
    change: ({ change, agent }) => change('DELETE', `/v1/agents/${agent.id}/keys/${agent.keyId}`),
    after: byKind(gives(1, 'first'), refusedWith(401, 'UNAUTHORIZED')),
  },
  {
    when: 'the agent’s scopes are narrowed',
    outcome: 'its live tokens are narrowed with it',
    change: ({ change, agent }) =>
      change('PATCH', `/v1/agents/${agent.id}`, { allowed_scopes: ['secrets:*:elsewhere/*'] }),
    after: refusedWith(403, 'SCOPE_DENIED'),
  },
  {
    when: 'the agent is cut to another namespace',
    outcome: 'its live tokens are cut with it',
    change: ({ change, agent }) =>
      change('PATCH', `/v1/agents/${agent.id}`, { allowed_namespaces: ['elsewhere'] }),
    after: refusedWith(403, 'SCOPE_DENIED'),
  },
  {
    when: 'the secret is rotated',
    outcome: 'nobody gets the old value',
    change: (scene) => scene.change('POST', `${secretOf(scene)}/rotate`, { new_value: 'second' }),
    after: gives(2, 'second'),
  },
  {
    when: 'the secret’s tier is raised',
    outcome: 'nobody opens it without an approval',
    change: (scene) => scene.change('PUT', secretOf(scene), { value: 'first', access_tier: 'sensitive' }),
    after: refusedWith(403, 'APPROVAL_REQUIRED'),
  },
  {
    when: 'the secret is given a time that has passed',
    outcome: 'it is not there',
    change: (scene) =>
      scene.change('PUT', secretOf(scene), { value: 'first', expires_at: '2001-01-01T00:00:00Z' }),
    after: refusedWith(404, 'SECRET_NOT_FOUND'),
  },
  {
    when: 'the secret is deleted',
    outcome: 'it is not there',
    change: (scene) => scene.change('DELETE', secretOf(scene)),
    after: refusedWith(404, 'SECRET_NOT_FOUND'),
  },
];

async function run(scene: Scene, change: () => Promise<unknown>, expected: Expected): Promise<void> {
  const observed = await readDuring(scene.site, scene.questions, async () => void (await change()));
  for (const [question, what] of QUESTIONS.entries()) {
    const own = observed.filter((one) => one.question === question);
    for (const moment of ['before', 'done']) {
      assert.ok(
        own.some(({ started }) => started === moment),
        `${what} asked ${moment}`,
      );
    }
  }
  // What was given, and nothing else, is in the books of the limited token.
  const [, limited] = scene.tokens;
  const given = observed.filter(({ question, reply }) => question === 1 && reply.status === 200);
  const book = await bookOf(scene.site, limited.id);
  assert.deepEqual([book.uses, book.reads], [given.length, given.length]);
  assert.deepEqual(book.requestIds, given.map(({ reply }) => reply.requestId).sort());
  assertChanged(observed, expected);
}

test('readers in flight on two processes', { skip: postgresSkip }, async (t: TestContext) => {
  const site = await openSite(t);

  for (const race of RACES) {
    await t.test(`when ${race.when}, ${race.outcome}`, async () => {
      const scene = await sceneOn(site);
      await run(scene, () => race.change(scene), {
        before: gives(1, 'first')(scene),
        after: race.after(scene),
      });
    });
  }

  await t.test(
    'when the secret is deleted and made anew, nobody gets the value of the first one',
    async () => {
      const scene = await sceneOn(site);
      const made: { id?: string } = {};
      const remake = async () => {
        await scene.change('DELETE', secretOf(scene));
        const body = await scene.change('POST', '/v1/secrets', { path: scene.secret.path, value: 'another' });
        made.id = String(body['id']);
      };
      await run(scene, remake, {
        before: gives(1, 'first')(scene),
        // An answer may come before the creator has its own: then its id is not known yet.
        between: (reply) =>
          refusedWith(404, 'SECRET_NOT_FOUND')(scene)(reply, 0) ||
          (reply.body['id'] !== scene.secret.id &&
            gives(1, 'another', () => String(reply.body['id']))(scene)(reply, 0)),
        after: gives(1, 'another', () => made.id ?? '')(scene),
      });
      assert.notEqual(made.id, scene.secret.id);
    },
  );

  await t.test(
    'when it is rotated again and again, every value is that of the version it is answered as',
    async () => {
      const scene = await sceneOn(site);
      const ROTATIONS = 12;
      const acknowledged = { version: 1 };
      const floors: { floor: number; reply: Reply }[] = [];
      const questions = scene.questions;
      let rotating = true;
      const readers = Array.from({ length: 12 }, async (_, reader) => {
        while (rotating) {
          const floor = acknowledged.version;
          floors.push({ floor, reply: await site.ask(questions[reader % 3] ?? assert.fail(), reader) });
        }
      });
      for (let version = 2; version <= 1 + ROTATIONS; version += 1) {
        const path = `${secretOf(scene)}/rotate`;
        const json = { new_value: `value ${version}` };
        const rotated = await site.ask({ method: 'POST', path, by: site.adminKey, json }, version);
        assert.deepEqual([rotated.status, rotated.body['version']], [200, version], rotated.text);
        acknowledged.version = version;
      }
      rotating = false;
      await Promise.all(readers);
      for (const { floor, reply } of floors) {
        if (reply.status === 503) assert.equal(reply.code, 'BUSY');
        else {
          assert.equal(reply.status, 200, reply.text);
          const version = Number(reply.body['version']);
          assert.ok(version >= floor, `version ${version} after ${floor} was acknowledged`);
          assert.equal(reply.body['value'], version === 1 ? 'first' : `value ${version}`);
        }
      }
      const book = await bookOf(site, scene.tokens[1].id);
      assert.equal(book.uses, book.reads);
    },
  );
});
