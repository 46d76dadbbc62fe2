/** What every store promises, on the embedded database and on a real Postgres alike. */
import assert from 'node:assert/strict';
import { after, before, suite, type TestContext, test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import { WritError } from '../../src/errors.ts';
import { createAuditTrail, insertAuditEvents } from '../../src/storage/audit/audit-store.ts';
import type { Database } from '../../src/storage/engine/database.ts';
import { proveWritable, readDatabaseTime } from '../../src/storage/engine/database-health.ts';
import { readMigrationState } from '../../src/storage/engine/migrations.ts';
import { readServerFacts } from '../../src/storage/engine/server-facts.ts';
import { createIntentTokenStore } from '../../src/storage/intent-tokens/intent-token-store.ts';
import { createAgentStore, hasEverHadAdmin } from '../../src/storage/principals/agent-store.ts';
import { createCredentialStore } from '../../src/storage/principals/api-key-store.ts';
import { addSetting, readSettings, setSetting } from '../../src/storage/settings-store.ts';
import { readKekCheck, writeKekCheck } from '../../src/storage/signing-keys/kek-check.ts';
import { addFirstSigningKey, readSigningKeys } from '../../src/storage/signing-keys/signing-key-store.ts';
import type { AgentStore, NewAgent } from '../../src/use-cases/principals/ports.ts';
import { aKey, anAgent, anEvent, anIssue, aWrite, storedAgent } from './builders.ts';
import { BACKENDS, rows } from './opened.ts';

const YESTERDAY = new Date(Date.now() - 86_400_000);
const TOMORROW = new Date(Date.now() + 86_400_000);

for (const backend of BACKENDS) {
  suite(`storage on ${backend.name}`, { skip: backend.skip }, () => {
    const closers: (() => unknown)[] = [];
    let database: Database;
    let agents: AgentStore;

    before(async () => {
      database = await backend.openMigrated({ after: (close) => closers.push(close as () => unknown) });
      agents = createAgentStore(database);
    });
    after(async () => {
      for (const close of closers.reverse()) await close();
    });

    const fresh = (t: TestContext) => backend.openMigrated(t);
    const count = async (table: string): Promise<number> => {
      const [row] = await rows<{ n: number }>(database, `select count(*)::int as n from ${table}`);
      return row?.n ?? -1;
    };
    const eventsOf = (resourceId: string) =>
      rows<{ event_type: string }>(
        database,
        'select event_type from audit_events where resource_id = $1 order by xact, id',
        [resourceId],
      );
    const revisionOf = async (agent: NewAgent): Promise<number | undefined> =>
      (await createCredentialStore(database).findKey(agent.key.keyId))?.caller.principal.revision;

    suite('agents', () => {
      test('a created agent is found by id, by id in capitals and by name, with its key and without its hash', async () => {
        const before = Date.now();
        const agent = await storedAgent(database, {
          email: 'a@example.org',
          description: 'what for',
          allowedScopes: ['secrets:read:prod/*'],
          allowedNamespaces: ['prod'],
          policyText: '{"allow":["*"]}',
          key: aKey({ name: 'first', expiresAt: TOMORROW }),
        });
        for (const wanted of [agent.id, agent.id.toUpperCase(), agent.name]) {
          const found = await agents.find(wanted);
          assert.ok(found !== undefined, wanted);
          const { key, ...rest } = agent;
          const { keys, createdAt, revokedAt, ...view } = found;
          assert.deepEqual(view, rest);
          assert.ok(createdAt.getTime() > before - 60_000 && createdAt.getTime() < Date.now() + 60_000);
          assert.equal(revokedAt, null);
          assert.equal(keys.length, 1);
          const { hash: _hash, ...shown } = key;
          assert.deepEqual(
            { ...keys[0], createdAt: null },
            { ...shown, createdAt: null, lastUsedAt: null, revokedAt: null },
          );
          assert.doesNotMatch(JSON.stringify(found), /hash/);
        }
      });

      test('an agent, its key and its event appear together', async () => {
        const agent = anAgent();
        const write = aWrite(null, { resourceId: agent.id });
        assert.equal(await agents.create(agent, write), 'created');
        assert.deepEqual(await eventsOf(agent.id), [{ event_type: 'agent.created' }]);
      });

      test('a name in use refuses the agent, its key and its event', async () => {
        const taken = await storedAgent(database);
        const late = anAgent({ name: taken.name });
        assert.equal(await agents.create(late, aWrite(null, { resourceId: late.id })), 'name_taken');
        assert.equal(await agents.find(late.id), undefined);
        assert.equal(await createCredentialStore(database).findKey(late.key.keyId), undefined);
        assert.deepEqual(await eventsOf(late.id), []);
      });

      test('an agent whose key cannot be stored is not stored either, nor its event', async () => {
        const first = await storedAgent(database);
        const late = anAgent({ key: first.key });
        await assert.rejects(agents.create(late, aWrite(null, { resourceId: late.id })));
        assert.equal(await agents.find(late.id), undefined);
        assert.deepEqual(await eventsOf(late.id), []);
      });

      test('of fifty concurrent agents with one name exactly one is created', async () => {
        const name = `wanted ${uuidv7()}`;
        const outcomes = await Promise.all(
          Array.from({ length: 50 }, () => agents.create(anAgent({ name }), aWrite())),
        );
        assert.equal(outcomes.filter((outcome) => outcome === 'created').length, 1);
        assert.equal(outcomes.filter((outcome) => outcome === 'name_taken').length, 49);
      });

      test('the name of a revoked agent is free again, and its id still finds the old one', async () => {
        const old = await storedAgent(database);
        assert.equal(await agents.revoke(old.id, aWrite()), 'revoked');
        assert.equal(await agents.find(old.name), undefined);
        const young = await storedAgent(database, { name: old.name });
        assert.equal((await agents.find(old.name))?.id, young.id);
        assert.notEqual((await agents.find(old.id))?.revokedAt, null);
      });

      test('an id wins over a name that looks like it', async () => {
        const one = await storedAgent(database);
        await storedAgent(database, { name: one.id });
        assert.equal((await agents.find(one.id))?.name, one.name);
      });

      test('an update changes what it names, null clears, the rest stays, and the revision grows', async () => {
        const agent = await storedAgent(database, {
          email: 'a@example.org',
          description: 'stays',
          allowedScopes: ['secrets:read:prod/*'],
        });
        const write = aWrite(null, { eventType: 'agent.updated', resourceId: agent.id });
        assert.equal(
          await agents.update(agent.id, { email: null, policyText: '{"deny":["x/*"]}' }, write),
          'updated',
        );
        const found = await agents.find(agent.id);
        assert.equal(found?.email, null);
        assert.equal(found?.description, 'stays');
        assert.deepEqual(found?.allowedScopes, ['secrets:read:prod/*']);
        assert.equal(found?.policyText, '{"deny":["x/*"]}');
        assert.equal(await revisionOf(agent), 2);
        assert.deepEqual(await eventsOf(agent.id), [{ event_type: 'agent.updated' }]);
      });

      test('an empty list is kept as one, apart from null', async () => {
        const agent = await storedAgent(database, { allowedScopes: [], allowedNamespaces: null });
        const found = await agents.find(agent.id);
        assert.deepEqual(found?.allowedScopes, []);
        assert.equal(found?.allowedNamespaces, null);
      });

      test('a revoked agent is absent for every change, and nothing is written about it', async () => {
        const agent = await storedAgent(database);
        await agents.revoke(agent.id, aWrite());
        const write = () => aWrite(null, { resourceId: agent.id });
        assert.equal(await agents.update(agent.id, { email: null }, write()), 'absent');
        assert.equal(await agents.revoke(agent.id, write()), 'absent');
        assert.equal(await agents.addKey(agent.id, aKey(), write()), 'absent');
        assert.deepEqual(await eventsOf(agent.id), []);
        assert.equal((await agents.find(agent.id))?.keys.length, 1);
      });

      test('a key is revoked once, and only as a key of its own agent', async () => {
        const agent = await storedAgent(database);
        const other = await storedAgent(database);
        const second = aKey();
        const write = () => aWrite(null, { eventType: 'key.revoked', resourceId: second.keyId });
        assert.equal(await agents.addKey(agent.id, second, aWrite()), 'added');
        assert.equal(await agents.revokeKey({ agentId: other.id, keyId: second.keyId }, write()), 'absent');
        assert.equal(await agents.revokeKey({ agentId: agent.id, keyId: second.keyId }, write()), 'revoked');
        assert.equal(await agents.revokeKey({ agentId: agent.id, keyId: second.keyId }, write()), 'absent');
        assert.deepEqual(await eventsOf(second.keyId), [{ event_type: 'key.revoked' }]);
        const found = await agents.find(agent.id);
        assert.deepEqual(
          found?.keys.map((key) => [key.keyId, key.revokedAt === null]),
          [
            [agent.key.keyId, true],
            [second.keyId, false],
          ],
        );
      });

      test('a list pages by id without a gap or a repetition', async () => {
        for (let made = 0; made < 5; made += 1) await storedAgent(database);
        const everyone = await agents.list({ limit: 1000, after: undefined });
        const paged: string[] = [];
        for (let last: string | undefined; ; last = paged.at(-1)) {
          const page = await agents.list({ limit: 2, after: last });
          if (page.length === 0) break;
          paged.push(...page.map((agent) => agent.id));
        }
        assert.deepEqual(
          paged,
          everyone.map((agent) => agent.id),
        );
        assert.equal(new Set(paged).size, paged.length);
      });

      test('only active principals of role agent are counted', async (t) => {
        const own = await fresh(t);
        await storedAgent(own, { role: 'admin' });
        await storedAgent(own, { role: 'approver' });
        await storedAgent(own);
        const gone = await storedAgent(own);
        await createAgentStore(own).revoke(gone.id, aWrite());
        assert.equal(await createAgentStore(own).countAgents(), 1);
      });

      const deadActors: Record<string, () => Promise<string>> = {
        'an unknown key': async () => 'f'.repeat(16),
        'a revoked key': async () => {
          const admin = await storedAgent(database, { role: 'admin' });
          await agents.revokeKey({ agentId: admin.id, keyId: admin.key.keyId }, aWrite());
          return admin.key.keyId;
        },
        'the key of a revoked administrator': async () => {
          const admin = await storedAgent(database, { role: 'admin' });
          await agents.revoke(admin.id, aWrite());
          return admin.key.keyId;
        },
        'an expired key': async () =>
          (await storedAgent(database, { role: 'admin', key: aKey({ expiresAt: YESTERDAY }) })).key.keyId,
        'the key of an agent': async () => (await storedAgent(database)).key.keyId,
        'the key of an approver': async () => (await storedAgent(database, { role: 'approver' })).key.keyId,
      };
      for (const [who, actor] of Object.entries(deadActors)) {
        test(`${who} changes nothing and leaves no event`, async () => {
          const actorKeyId = await actor();
          const target = await storedAgent(database);
          const before = await agents.find(target.id);
          const events = await count('audit_events');
          const write = aWrite(actorKeyId);
          const late = anAgent();
          const outcomes = [
            await agents.create(late, write),
            await agents.update(target.id, { email: 'x@example.org' }, write),
            await agents.addKey(target.id, aKey(), write),
            await agents.revokeKey({ agentId: target.id, keyId: target.key.keyId }, write),
            await agents.revoke(target.id, write),
          ];
          assert.deepEqual(outcomes, Array(5).fill('actor_not_live'));
          assert.deepEqual(await agents.find(target.id), before);
          assert.equal(await agents.find(late.id), undefined);
          assert.equal(await count('audit_events'), events);
        });
      }

      test('a live administrator’s key changes what it says', async () => {
        const admin = await storedAgent(database, { role: 'admin', key: aKey({ expiresAt: TOMORROW }) });
        const made = anAgent();
        assert.equal(await agents.create(made, aWrite(admin.key.keyId)), 'created');
        assert.equal(await agents.revoke(made.id, aWrite(admin.key.keyId)), 'revoked');
      });
    });

    suite('credentials', () => {
      test('an unknown key id is not found', async () => {
        assert.equal(await createCredentialStore(database).findKey('0'.repeat(16)), undefined);
      });

      test('a key is read with its principal, live', async () => {
        const agent = await storedAgent(database, {
          allowedScopes: ['secrets:read:prod/*'],
          policyText: '{"deny":["bank/*"]}',
        });
        const stored = await createCredentialStore(database).findKey(agent.key.keyId);
        assert.equal(stored?.hash, agent.key.hash);
        assert.deepEqual([stored?.revoked, stored?.expired], [false, false]);
        assert.deepEqual(
          [stored?.caller.keyId, stored?.caller.keyPrefix],
          [agent.key.keyId, agent.key.prefix],
        );
        const principal = stored?.caller.principal;
        assert.deepEqual(
          [principal?.id, principal?.name, principal?.role, principal?.revision],
          [agent.id, agent.name, 'agent', 1],
        );
        assert.equal(principal?.effectiveScopes.length, 1);
        assert.notEqual(principal?.policy, null);
      });

      test('revocation of the key, revocation of its agent and expiry each show', async () => {
        const store = createCredentialStore(database);
        const byKey = await storedAgent(database);
        await agents.revokeKey({ agentId: byKey.id, keyId: byKey.key.keyId }, aWrite());
        assert.equal((await store.findKey(byKey.key.keyId))?.revoked, true);
        const byAgent = await storedAgent(database);
        await agents.revoke(byAgent.id, aWrite());
        assert.equal((await store.findKey(byAgent.key.keyId))?.revoked, true);
        const old = await storedAgent(database, { key: aKey({ expiresAt: YESTERDAY }) });
        assert.equal((await store.findKey(old.key.keyId))?.expired, true);
        const young = await storedAgent(database, { key: aKey({ expiresAt: TOMORROW }) });
        assert.equal((await store.findKey(young.key.keyId))?.expired, false);
      });

      test('a stored policy that does not parse is a fault, never a grant', async () => {
        const agent = await storedAgent(database);
        await rows(database, `update agents set policy = '{"rate_limit":1}' where id = $1`, [agent.id]);
        await assert.rejects(createCredentialStore(database).findKey(agent.key.keyId), (error) => {
          assert.ok(!(error instanceof WritError));
          return true;
        });
      });

      test('the use of a key is noted at most once in 55 seconds', async () => {
        const store = createCredentialStore(database);
        const agent = await storedAgent(database);
        const lastUse = async () => (await agents.find(agent.id))?.keys[0]?.lastUsedAt?.getTime();
        await store.noteUse(agent.key.keyId);
        const first = await lastUse();
        assert.ok(first !== undefined);
        await store.noteUse(agent.key.keyId);
        assert.equal(await lastUse(), first);
        await rows(
          database,
          `update api_keys set last_used_at = last_used_at - interval '56 seconds' where key_id = $1`,
          [agent.key.keyId],
        );
        await store.noteUse(agent.key.keyId);
        assert.ok(((await lastUse()) ?? 0) >= first);
      });
    });

    suite('intent tokens', () => {
      const tokenOf = (jti: string) => rows(database, 'select * from intent_tokens where jti = $1', [jti]);

      test('a token and its event appear together, as they were given', async () => {
        const agent = await storedAgent(database);
        const { record, event } = anIssue(agent, { actionsText: '[[null,"\\u00e9"]]' });
        const told = {
          ...event,
          metadata: { note: 'é "quoted" \\ \u{1f600}', n: 1 },
          ipAddress: '192.0.2.1',
          requestId: 'r',
        };
        assert.equal(await createIntentTokenStore(database).issue(record, told), true);
        const [token] = await tokenOf(record.jti);
        assert.deepEqual(token, {
          jti: record.jti,
          plan_id: record.planId,
          agent_id: agent.id,
          key_id: agent.key.keyId,
          kid: record.kid,
          plan_hash: record.planHashHex,
          merkle_root: record.merkleRootHex,
          tree_size: 2,
          policy: record.policyText,
          actions: '[[null,"\\u00e9"]]',
          issued_at: new Date(record.issuedAtSeconds * 1000),
          expires_at: new Date(record.expiresAtSeconds * 1000),
          revoked_at: null,
          root_jti: record.jti,
          ancestors: [],
        });
        const [row] = await rows(
          database,
          `select event_type, actor_id, actor_type, resource_type, metadata, ip_address, request_id
           from audit_events where resource_id = $1`,
          [record.jti],
        );
        assert.deepEqual(row, {
          event_type: 'intent.issued',
          actor_id: agent.id,
          actor_type: 'agent',
          resource_type: 'intent_token',
          metadata: told.metadata,
          ip_address: '192.0.2.1',
          request_id: 'r',
        });
      });

      const notLive: Record<string, (agent: NewAgent) => Promise<unknown>> = {
        'a revoked key': (agent) => agents.revokeKey({ agentId: agent.id, keyId: agent.key.keyId }, aWrite()),
        'a revoked agent': (agent) => agents.revoke(agent.id, aWrite()),
        'an agent that changed since the policy was decided': (agent) =>
          agents.update(agent.id, { description: 'changed' }, aWrite()),
        'an expired key': (agent) =>
          rows(
            database,
            `update api_keys set expires_at = clock_timestamp() - interval '1 ms' where key_id = $1`,
            [agent.key.keyId],
          ),
      };
      for (const [what, end] of Object.entries(notLive)) {
        test(`${what} writes neither token nor event`, async () => {
          const agent = await storedAgent(database);
          await end(agent);
          const { record, event } = anIssue(agent);
          assert.equal(await createIntentTokenStore(database).issue(record, event), false);
          assert.deepEqual(await tokenOf(record.jti), []);
          assert.deepEqual(await eventsOf(record.jti), []);
        });
      }

      test('one agent’s id under another’s key writes neither token nor event', async () => {
        const agent = await storedAgent(database);
        const other = await storedAgent(database);
        const { record, event } = anIssue(agent, { keyId: other.key.keyId });
        assert.equal(await createIntentTokenStore(database).issue(record, event), false);
        assert.deepEqual(await tokenOf(record.jti), []);
        assert.deepEqual(await eventsOf(record.jti), []);
      });

      test('a second key of the agent goes on when the first is revoked', async () => {
        const agent = await storedAgent(database);
        const second = aKey();
        await agents.addKey(agent.id, second, aWrite());
        await agents.revokeKey({ agentId: agent.id, keyId: agent.key.keyId }, aWrite());
        const { record, event } = anIssue(agent, { keyId: second.keyId });
        assert.equal(await createIntentTokenStore(database).issue(record, event), true);
      });

      test('fifty concurrent issues leave fifty tokens with exactly one event each', async () => {
        const agent = await storedAgent(database);
        const store = createIntentTokenStore(database);
        const issues = Array.from({ length: 50 }, () => anIssue(agent));
        const outcomes = await Promise.all(issues.map(({ record, event }) => store.issue(record, event)));
        assert.deepEqual(outcomes, Array(50).fill(true));
        const [found] = await rows<{ tokens: number; events: number; once: number }>(
          database,
          `select count(*)::int as tokens, sum(n)::int as events, count(*) filter (where n = 1)::int as once
           from (select token.jti, count(event.id) as n from intent_tokens token
                 left join audit_events event on event.resource_id = token.jti::text
                 where token.agent_id = $1 group by token.jti) each_token`,
          [agent.id],
        );
        assert.deepEqual(found, { tokens: 50, events: 50, once: 50 });
      });

      test('in a group each member is judged by itself', async () => {
        const live = await storedAgent(database);
        const dead = await storedAgent(database);
        await agents.revoke(dead.id, aWrite());
        const store = createIntentTokenStore(database);
        const issues = Array.from({ length: 30 }, (_, index) => anIssue(index % 3 === 0 ? dead : live));
        const outcomes = await Promise.all(issues.map(({ record, event }) => store.issue(record, event)));
        assert.deepEqual(
          outcomes,
          issues.map((_, index) => index % 3 !== 0),
        );
        for (const [index, { record }] of issues.entries()) {
          assert.equal((await tokenOf(record.jti)).length, index % 3 === 0 ? 0 : 1);
          assert.equal((await eventsOf(record.jti)).length, index % 3 === 0 ? 0 : 1);
        }
      });

      test('a member that the database refuses fails alone', async () => {
        const agent = await storedAgent(database);
        const store = createIntentTokenStore(database);
        const first = anIssue(agent);
        await store.issue(first.record, first.event);
        const others = Array.from({ length: 10 }, () => anIssue(agent));
        const repeated = anIssue(agent, { jti: first.record.jti });
        const [, again, ...rest] = await Promise.allSettled([
          // The first goes alone; what arrives while it is under way forms one group.
          store.issue(...partsOf(anIssue(agent))),
          store.issue(...partsOf(repeated)),
          ...others.map((issue) => store.issue(...partsOf(issue))),
        ]);
        assert.equal(again?.status, 'rejected');
        assert.ok(rest.every((outcome) => outcome.status === 'fulfilled' && outcome.value));
        assert.equal((await eventsOf(first.record.jti)).length, 1);
      });
    });

    suite('audit trail', () => {
      test('concurrent refusals each leave one row', async () => {
        const trail = createAuditTrail(database);
        const resourceId = uuidv7();
        await Promise.all(
          Array.from({ length: 40 }, () => trail.append(anEvent({ eventType: 'auth.denied', resourceId }))),
        );
        assert.equal((await eventsOf(resourceId)).length, 40);
      });

      const FORBIDDEN = [
        "update audit_events set event_type = 'x'",
        'update audit_events set event_type = event_type where false',
        'delete from audit_events',
        'delete from audit_events where false',
        'truncate audit_events',
        "update audit_events_default set event_type = 'x'",
        'update audit_events_default set event_type = event_type where false',
        'delete from audit_events_default',
        'delete from audit_events_default where false',
        'truncate audit_events_default',
        'truncate intent_tokens, audit_events cascade',
        'with gone as (delete from audit_events returning id) select * from gone',
        `insert into audit_events_default select * from audit_events limit 1
         on conflict (created_at, id) do update set event_type = 'x'`,
        `merge into audit_events target using (select 1) source on true when matched then delete`,
      ];
      for (const statement of FORBIDDEN) {
        test(`refused and without effect: ${statement.replace(/\s+/g, ' ')}`, async () => {
          await createAuditTrail(database).append(anEvent());
          const before = await rows(
            database,
            'select md5(string_agg(event::text, $1 order by id)) as all_rows from audit_events event',
            ['|'],
          );
          await assert.rejects(rows(database, statement), (error) => {
            assert.equal(error instanceof WritError && error.code, 'AUDIT_UNAVAILABLE');
            assert.equal(sqlStateOf((error as Error).cause), '42501');
            return true;
          });
          const left = await rows(
            database,
            'select md5(string_agg(event::text, $1 order by id)) as all_rows from audit_events event',
            ['|'],
          );
          assert.deepEqual(left, before);
        });
      }

      test('a partition attached later refuses changes of its rows too', async (t) => {
        const own = await fresh(t);
        await rows(
          own,
          `create table audit_events_past partition of audit_events for values from ('2001-01-01') to ('2001-02-01')`,
        );
        await rows(
          own,
          `insert into audit_events (id, event_type, actor_id, actor_type, resource_type, resource_id, metadata, created_at)
           values ($1, 'x', 'x', 'system', 'x', 'x', '{}', '2001-01-02')`,
          [uuidv7()],
        );
        await assert.rejects(
          rows(own, 'delete from audit_events_past'),
          (error) => sqlStateOf((error as Error).cause) === '42501',
        );
        await assert.rejects(
          rows(own, `update audit_events_past set event_type = 'y'`),
          (error) => sqlStateOf((error as Error).cause) === '42501',
        );
      });
    });

    suite('transactions', () => {
      test('what throws leaves nothing behind', async () => {
        const event = anEvent();
        const agent = anAgent();
        const thrown = new Error('on purpose');
        await assert.rejects(
          database.transaction(async (session) => {
            await insertAuditEvents(session, [event]);
            await session.query(
              {
                name: 'test_insert_setting',
                effect: 'write',
                text: 'insert into settings (name, value) values ($1, $2)',
              },
              [agent.id, 'x'],
            );
            throw thrown;
          }),
          (error) => error === thrown,
        );
        assert.deepEqual(await eventsOf(event.resourceId), []);
        assert.equal((await readSettings(database)).has(agent.id), false);
      });

      test('a failed statement rolls back those before it, and the connection goes on', async () => {
        const name = uuidv7();
        for (let round = 0; round < 12; round += 1) {
          await assert.rejects(
            database.transaction(async (session) => {
              await addSetting(session, name, 'x');
              await session.query({ name: 'test_division', effect: 'read', text: 'select 1 / $1::int' }, [0]);
            }),
          );
        }
        assert.equal((await readSettings(database)).has(name), false);
      });

      test('a transaction is not seen from outside before its end, and is after it', async () => {
        const name = uuidv7();
        // The embedded database has one connection: it runs the reader after the transaction instead of beside it.
        const order: string[] = [];
        await database.transaction(async (session) => {
          await addSetting(session, name, 'x');
          order.push('written');
        });
        order.push((await readSettings(database)).get(name) ?? 'absent');
        assert.deepEqual(order, ['written', 'x']);
      });

      test('concurrent transactions do not mix', async () => {
        const names = Array.from({ length: 20 }, () => uuidv7());
        const outcomes = await Promise.allSettled(
          names.map((name, index) =>
            database.transaction(async (session) => {
              await addSetting(session, name, 'x');
              if (index % 2 === 0) throw new Error('rolled back');
            }),
          ),
        );
        assert.equal(outcomes.filter((outcome) => outcome.status === 'fulfilled').length, 10);
        const stored = await readSettings(database);
        assert.deepEqual(
          names.map((name) => stored.has(name)),
          names.map((_, index) => index % 2 === 1),
        );
      });
    });

    suite('provisioning', () => {
      test('an empty database lacks every migration, a migrated one none, and doing it again does nothing', async (t) => {
        const own = await backend.openEmpty(t);
        const empty = await readMigrationState(own);
        assert.ok(empty.pending >= 1);
        assert.equal(empty.unknown, 0);
        await own.exclusively((migrate) => migrate());
        assert.deepEqual(await readMigrationState(own), { pending: 0, unknown: 0 });
        await own.exclusively((migrate) => migrate());
        assert.deepEqual(await readMigrationState(own), { pending: 0, unknown: 0 });
      });

      test('a migration that this build does not know is told apart', async (t) => {
        const own = await fresh(t);
        await rows(
          own,
          `insert into public.schema_migrations (hash, created_at) values ('of the future', 0)`,
        );
        assert.deepEqual(await readMigrationState(own), { pending: 0, unknown: 1 });
      });

      test('settings: adding keeps what is stored, setting replaces it', async (t) => {
        const own = await fresh(t);
        await addSetting(own, 'issuer_url', 'one');
        await addSetting(own, 'issuer_url', 'two');
        assert.deepEqual([...(await readSettings(own))], [['issuer_url', 'one']]);
        await setSetting(own, 'issuer_url', 'three');
        await setSetting(own, 'token_audience', 'writ');
        assert.deepEqual(
          [...(await readSettings(own))].sort(),
          [
            ['issuer_url', 'three'],
            ['token_audience', 'writ'],
          ].sort(),
        );
      });

      test('the first active signing key stays the only active one', async (t) => {
        const own = await fresh(t);
        const key = (kid: string) => ({
          kid,
          publicKey: new Uint8Array(32),
          wrappedPrivateKey: new Uint8Array([0, 255, 7]),
          kekId: 'kek',
        });
        await Promise.all(
          Array.from({ length: 10 }, (_, index) => addFirstSigningKey(own, key(`kid ${index}`))),
        );
        const [only, ...others] = await readSigningKeys(own);
        assert.deepEqual(others, []);
        assert.equal(only?.state, 'active');
        assert.deepEqual([...(only?.wrappedPrivateKey ?? [])], [0, 255, 7]);
        await assert.rejects(
          rows(
            own,
            `insert into signing_keys (kid, public_key, wrapped_private_key, kek_id, state) values ('x', '', '', 'x', 'active')`,
          ),
          (error) => sqlStateOf(error) === '23505',
        );
      });

      test('the first check value of the key-encryption key stays', async (t) => {
        const own = await fresh(t);
        assert.equal(await readKekCheck(own), undefined);
        await writeKekCheck(own, { kekId: 'one', checkValue: new Uint8Array([1]) });
        await writeKekCheck(own, { kekId: 'two', checkValue: new Uint8Array([2]) });
        const check = await readKekCheck(own);
        assert.deepEqual([check?.kekId, ...(check?.checkValue ?? [])], ['one', 1]);
      });

      test('a revoked administrator still counts as one that has been', async (t) => {
        const own = await fresh(t);
        assert.equal(await hasEverHadAdmin(own), false);
        await storedAgent(own, { role: 'approver' });
        assert.equal(await hasEverHadAdmin(own), false);
        const admin = await storedAgent(own, { role: 'admin' });
        await createAgentStore(own).revoke(admin.id, aWrite());
        assert.equal(await hasEverHadAdmin(own), true);
      });

      test('the heartbeat is one row however often it beats, and tells the database’s time', async (t) => {
        const own = await fresh(t);
        await Promise.all([proveWritable(own), proveWritable(own), proveWritable(own)]);
        assert.equal((await rows(own, 'select at from heartbeat')).length, 1);
        const before = Date.now();
        const told = await readDatabaseTime(own);
        assert.ok(told > before - 5_000 && told < Date.now() + 5_000, `${told}, after ${before}`);
      });

      test('exclusive work does not overlap, and its failure lets the next one in', async (t) => {
        const own = await fresh(t);
        let inside = 0;
        let most = 0;
        const work = async (fails: boolean) => {
          inside += 1;
          most = Math.max(most, inside);
          await addSetting(own, uuidv7(), 'x');
          inside -= 1;
          if (fails) throw new Error('on purpose');
        };
        const outcomes = await Promise.allSettled(
          [true, false, true, false].map((fails) => own.exclusively(() => work(fails))),
        );
        assert.deepEqual(
          outcomes.map((outcome) => outcome.status),
          ['rejected', 'fulfilled', 'rejected', 'fulfilled'],
        );
        // The embedded database has one process already: its lock file sees to that.
        if (own.kind === 'postgres') assert.equal(most, 1);
      });

      test('server facts name the version and what of durability is off', async () => {
        const facts = await readServerFacts(database);
        assert.ok(facts.versionNumber >= 150_000);
        // The embedded database says so itself: it is for one person.
        assert.equal(facts.unsafeSettings.includes('fsync'), backend.kind === 'embedded');
      });
    });

    suite('errors', () => {
      const CANARY = 'parameter-canary-7f3a';
      test('a storage error that callers may see carries no driver message and no parameter', async (t) => {
        const own = await fresh(t);
        const busy = async (sqlState: string) =>
          rows(
            own,
            `do $body$ begin raise exception '${CANARY} %', 'said by the driver' using errcode = '${sqlState}'; end $body$`,
          );
        for (const sqlState of ['40001', '40P01', '55P03', '53300', '57014', '25006', '57P03', '08006']) {
          await assert.rejects(busy(sqlState), (error) => {
            assert.ok(error instanceof WritError, `${sqlState} is translated`);
            const { message, publicMessage, detail, details, members } = error;
            const told = JSON.stringify({ message, publicMessage, detail, details, members });
            assert.doesNotMatch(told, /canary|said by the driver/);
            return true;
          });
        }
      });

      test('drizzle’s wrapper is looked through', async (t) => {
        const own = await fresh(t);
        await rows(
          own,
          `create function refuse() returns trigger language plpgsql as $body$
           begin raise exception 'driver message' using errcode = '53300'; end $body$`,
        );
        await rows(
          own,
          'create trigger refuse before insert on settings for each row execute function refuse()',
        );
        await assert.rejects(addSetting(own, CANARY, CANARY), (error) => {
          assert.ok(error instanceof WritError);
          assert.equal(error.code, 'UNAVAILABLE');
          assert.doesNotMatch(
            `${error.message} ${error.detail} ${JSON.stringify(error.details)}`,
            /canary|driver message/,
          );
          return true;
        });
      });
    });
  });
}

const partsOf = ({ record, event }: ReturnType<typeof anIssue>) => [record, event] as const;

function sqlStateOf(error: unknown): string | undefined {
  for (let current = error; current instanceof Error; current = current.cause) {
    const code = (current as { code?: unknown }).code;
    if (typeof code === 'string') return code;
  }
  return undefined;
}
