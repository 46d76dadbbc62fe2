/**
 * Canaries (contract section 6): every touch of one sets off an event and a notice, read or refused; to everybody but an
 * administrator it is a secret like any other.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SECRET } from '../../platform/webhook-receiver.ts';
import { assertRefused, openTestApp, type TestAnswer } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { resealRows } from '../../support/test-seals.ts';
import { type AuditRow, buildSecretCalls, type ListView } from './secret-calls.ts';

/** Nobody listens there: what is owed stays. */
const WEBHOOK = { APPROVAL_WEBHOOK_URL: 'http://127.0.0.1:9/', APPROVAL_WEBHOOK_SECRET: SECRET };
const FORBIDDEN = { status: 403, code: 'FORBIDDEN' };

interface OwedData {
  readonly path: string;
  readonly how: string;
  readonly code: string | null;
  readonly actor_id: string;
  readonly credential: string;
  readonly ip_address: string | null;
}

test('a canary', { skip: postgresSkip }, async (t) => {
  const calls = await buildSecretCalls(t, WEBHOOK);
  const { ask, aSecret, aToken, bind, expire, eventsOf, usesOf, sql, adminKey, call } = calls;
  const approver = await calls.createAgent({ role: 'approver' });

  const alarmsOf = async (effect: () => Promise<unknown>): Promise<readonly AuditRow[]> =>
    (await eventsOf(effect)).filter(({ event_type }) => event_type === 'secret.canary_touched');
  const owed = async (): Promise<readonly OwedData[]> =>
    (
      await sql<{ payload: string }>(
        `select payload from webhook_outbox where payload::json ->> 'type' = 'secret.canary_touched' order by created_at, id`,
      )
    ).map(({ payload }) => (JSON.parse(payload) as { data: OwedData }).data);
  const forgetNotices = () => sql('delete from webhook_outbox');

  await t.test(
    'at every touch an event says who, from where and how, in the words of what it was',
    async () => {
      await aSecret('nest/READ', { canary: true, value: 'sung' });
      await aSecret('nest/HIGH', { canary: true, access_tier: 'critical' });
      await aSecret('nest/PUT', { canary: true });
      await aSecret('nest/ROT', { canary: true });
      await aSecret('nest/DEL', { canary: true });
      await aSecret('nest/IMP', { canary: true });
      await aSecret('nest/OLD', { canary: true });
      await expire('nest/OLD');
      const agent = await calls.anAgent('secrets:*:nest/*');
      const narrow = await calls.anAgent('secrets:read:else/*');
      const halted = await calls.anAgent('secrets:*:nest/*');
      const stop = { json: { agent: halted.id, reason: 'stolen' } };
      assert.equal((await ask(adminKey, 'POST /v1/emergency/stop', stop)).status, 200);
      const token = await aToken({ by: agent.key, scopes: ['secrets:*:nest/*'] });
      const limited = await aToken({ by: agent.key, scopes: ['secrets:*:nest/*'], maxUses: 1 });
      const elsewhere = await aToken({ by: agent.key, scopes: ['secrets:*:nest/*'] });
      await sql(`update scoped_tokens set allowed_ips = '{192.0.2.9}' where id = $1`, [elsewhere.id]);
      await resealRows(sql, 'scoped_tokens', 'id = $1', [elsewhere.id]);
      const expired = await aToken({ by: agent.key, scopes: ['secrets:*:nest/*'] });
      await sql(`update scoped_tokens set expires_at = now() - interval '1 hour' where id = $1`, [
        expired.id,
      ]);
      await resealRows(sql, 'scoped_tokens', 'id = $1', [expired.id]);
      const revoked = await aToken({ by: agent.key, scopes: ['secrets:*:nest/*'] });
      assert.equal((await ask(adminKey, `DELETE /v1/tokens/${revoked.id}`)).status, 204);

      type Touch = readonly [
        as: string,
        line: string,
        asked: Parameters<typeof ask>[2],
        status: number,
        how: string,
        path: string,
        code?: string,
      ];
      const value = { json: { value: 'v' } };
      const touches: readonly Touch[] = [
        [token.token, 'GET /v1/secrets/nest/READ', {}, 200, 'secret.read', 'nest/READ'],
        [token.token, 'GET /v1/secrets/nest/READ', {}, 200, 'secret.read', 'nest/READ'],
        [token.token, 'GET /v1/secrets/nest/READ?version=1', {}, 200, 'secret.read', 'nest/READ'],
        [limited.token, 'GET /v1/secrets/nest/READ', {}, 200, 'secret.read', 'nest/READ'],
        [limited.token, 'GET /v1/secrets/nest/READ', {}, 401, 'token.denied', 'nest/READ', 'TOKEN_EXHAUSTED'],
        [agent.key, 'GET /v1/secrets/nest/READ', {}, 200, 'secret.read', 'nest/READ'],
        [adminKey, 'GET /v1/secrets/nest/READ', {}, 200, 'secret.read', 'nest/READ'],
        [
          token.token,
          'GET /v1/secrets/nest/READ?version=9',
          {},
          404,
          'token.denied',
          'nest/READ',
          'SECRET_NOT_FOUND',
        ],
        [narrow.key, 'GET /v1/secrets/nest/READ', {}, 403, 'secret.denied', 'nest/READ', 'SCOPE_DENIED'],
        [narrow.key, 'DELETE /v1/secrets/nest/PUT', {}, 403, 'secret.denied', 'nest/PUT', 'SCOPE_DENIED'],
        [approver.key, 'GET /v1/secrets/nest/READ', {}, 403, 'secret.denied', 'nest/READ', 'FORBIDDEN'],
        [
          elsewhere.token,
          'GET /v1/secrets/nest/READ',
          {},
          403,
          'token.denied',
          'nest/READ',
          'IP_NOT_ALLOWED',
        ],
        [expired.token, 'GET /v1/secrets/nest/READ', {}, 401, 'token.denied', 'nest/READ', 'TOKEN_EXPIRED'],
        [
          expired.token,
          'POST /v1/secrets/nest/ROT/rotate',
          {},
          401,
          'token.denied',
          'nest/ROT',
          'TOKEN_EXPIRED',
        ],
        [revoked.token, 'GET /v1/secrets/nest/READ', {}, 401, 'token.denied', 'nest/READ', 'TOKEN_REVOKED'],
        [agent.key, 'GET /v1/secrets/nest/HIGH', {}, 403, 'secret.denied', 'nest/HIGH', 'APPROVAL_REQUIRED'],
        [
          token.token,
          'PUT /v1/secrets/nest/HIGH',
          value,
          403,
          'token.denied',
          'nest/HIGH',
          'APPROVAL_REQUIRED',
        ],
        [agent.key, 'GET /v1/secrets/nest/OLD', {}, 404, 'secret.denied', 'nest/OLD', 'SECRET_NOT_FOUND'],
        [agent.key, 'PUT /v1/secrets/nest/PUT', value, 200, 'secret.updated', 'nest/PUT'],
        [
          agent.key,
          'PUT /v1/secrets/nest/PUT',
          { ...value, headers: { 'if-match': '9' } },
          409,
          'secret.denied',
          'nest/PUT',
          'VERSION_CONFLICT',
        ],
        [
          agent.key,
          'POST /v1/secrets',
          { json: { path: 'nest/PUT', value: 'v' } },
          409,
          'secret.denied',
          'nest/PUT',
          'ALREADY_EXISTS',
        ],
        [token.token, 'POST /v1/secrets/nest/ROT/rotate', {}, 200, 'secret.rotated', 'nest/ROT'],
        [
          agent.key,
          'POST /v1/secrets/import',
          { json: { namespace: 'nest', content: 'NEW=1\nIMP=2' } },
          200,
          'secret.imported',
          'nest/IMP',
        ],
        [
          agent.key,
          'POST /v1/secrets/import',
          { json: { namespace: 'nest', content: 'NEW=1\nHIGH=2' } },
          403,
          'secret.denied',
          'nest/HIGH',
          'APPROVAL_REQUIRED',
        ],
        [
          narrow.key,
          'POST /v1/secrets/import',
          { json: { namespace: 'nest', content: 'NEW=1\nIMP=2' } },
          403,
          'secret.denied',
          'nest/IMP',
          'SCOPE_DENIED',
        ],
        [halted.key, 'GET /v1/secrets/nest/READ', {}, 403, 'secret.denied', 'nest/READ', 'EMERGENCY_STOP'],
        [halted.key, 'DELETE /v1/secrets/nest/PUT', {}, 403, 'secret.denied', 'nest/PUT', 'EMERGENCY_STOP'],
        [token.token, 'DELETE /v1/secrets/nest/DEL', {}, 204, 'secret.deleted', 'nest/DEL'],
      ];
      const credentials = new Map([
        [token.token, token.id],
        [limited.token, limited.id],
        [elsewhere.token, elsewhere.id],
        [expired.token, expired.id],
        [revoked.token, revoked.id],
        [agent.key, agent.keyId],
        [narrow.key, narrow.keyId],
        [halted.key, halted.keyId],
        [approver.key, approver.keyId],
      ]);
      for (const [as, line, asked, status, how, path, code] of touches) {
        await forgetNotices();
        const what = `${line} as ${how} ${code}`;
        const alarms = await alarmsOf(async () => {
          const answer = await ask(as, line, asked);
          assert.equal(answer.status, status, `${what}: ${answer.text}`);
        });
        assert.deepEqual(
          alarms.map((alarm) => [
            alarm.resource_type,
            alarm.resource_id,
            alarm.metadata['how'],
            alarm.metadata['code'],
          ]),
          [['secret', path, how, code]],
          what,
        );
        const [alarm] = alarms;
        const [notice, ...others] = await owed();
        assert.deepEqual(others, [], what);
        assert.deepEqual(
          [notice?.path, notice?.how, notice?.code, notice?.actor_id, notice?.credential, notice?.ip_address],
          [path, how, code ?? null, alarm?.actor_id, alarm?.metadata['credential'], '127.0.0.1'],
          what,
        );
        if (as !== adminKey) assert.equal(alarm?.metadata['credential'], credentials.get(as), what);
      }
      assert.equal(await usesOf(limited), 1);
    },
  );

  await t.test(
    'alarms nobody by what names no canary: lists, other secrets, a faulty request, a stranger',
    async () => {
      await aSecret('calm/BIRD', { canary: true });
      await aSecret('calm/STONE');
      const agent = await calls.anAgent('secrets:*:calm/*', 'namespaces:read');
      const token = await aToken({ by: agent.key, scopes: ['secrets:*:calm/*'] });
      const alarms = await alarmsOf(async () => {
        for (const line of [
          'GET /v1/secrets/calm',
          'GET /v1/secrets?namespace=calm',
          'GET /v1/secrets?due=rotation',
          'GET /v1/namespaces',
          'GET /v1/secrets/calm/STONE',
          'GET /v1/secrets/calm/NOBODY',
          'GET /v1/secrets/calm/BIRD?limit=x',
          'GET /v1/secrets/calm/BIRD/',
        ]) {
          await ask(agent.key, line);
          await ask(token.token, line);
        }
        await ask(agent.key, 'PUT /v1/secrets/calm/BIRD', { json: { value: 1 } });
        await ask(undefined, 'GET /v1/secrets/calm/BIRD');
        await ask(`ast_tok_${'A'.repeat(43)}`, 'GET /v1/secrets/calm/BIRD');
        await ask(agent.key, 'POST /v1/secrets/import', { json: { namespace: 'calm', content: 'STONE=1' } });
      });
      assert.deepEqual(alarms, []);
    },
  );

  await t.test('is placed and seen by an administrator alone', async () => {
    const agent = await calls.anAgent('secrets:*:*');
    const token = await aToken({ by: agent.key });
    const ofAdmin = await aToken();
    await aSecret('seen/BIRD', { canary: true });
    await aSecret('seen/STONE');
    for (const as of [agent.key, token.token, ofAdmin.token]) {
      for (const canary of [true, false]) {
        for (const path of ['seen/BIRD', 'seen/STONE', 'seen/NEW']) {
          const put = await ask(as, `PUT /v1/secrets/${path}`, { json: { value: 'v', canary } });
          const post = await ask(as, 'POST /v1/secrets', { json: { path, value: 'v', canary } });
          assertRefused(put, FORBIDDEN, path);
          assertRefused(post, FORBIDDEN, path);
        }
      }
      const list = await ask<ListView>(as, 'GET /v1/secrets/seen');
      assert.doesNotMatch(list.text, /canary/);
    }
    const imported = { namespace: 'seen', content: 'A=1', canary: true };
    assertRefused(await ask(adminKey, 'POST /v1/secrets/import', { json: imported }), {
      status: 400,
      code: 'VALIDATION_ERROR',
    });
    const flags = async () =>
      (await ask<ListView>(adminKey, 'GET /v1/secrets/seen')).body.items.map(({ key, canary }) => [
        key,
        canary,
      ]);
    assert.deepEqual(await flags(), [
      ['BIRD', true],
      ['STONE', false],
    ]);
    // It stays over what others write, also under what is left out or null.
    await ask(agent.key, 'PUT /v1/secrets/seen/BIRD', { json: { value: 'v', canary: null } });
    await ask(agent.key, 'POST /v1/secrets/seen/BIRD/rotate');
    assert.equal((await aSecret('seen/BIRD')).canary, true);
    await expire('seen/BIRD');
    assert.equal((await ask(agent.key, 'PUT /v1/secrets/seen/BIRD', { json: { value: 'v' } })).status, 200);
    assert.equal((await ask(adminKey, 'GET /v1/secrets/seen/BIRD')).body.canary, true);
    const events = await eventsOf(async () => {
      assert.equal((await aSecret('seen/BIRD', { canary: false })).canary, false);
      assert.equal((await aSecret('seen/STONE', { canary: true })).canary, true);
      assert.equal((await aSecret('seen/STONE', { canary: true })).canary, true);
    });
    assert.deepEqual(
      events.map(({ event_type, resource_id, metadata }) => [event_type, resource_id, metadata['canary']]),
      [
        ['secret.updated', 'seen/BIRD', undefined],
        ['secret.canary_touched', 'seen/BIRD', undefined],
        ['secret.canary_changed', 'seen/BIRD', false],
        ['secret.updated', 'seen/STONE', undefined],
        ['secret.canary_changed', 'seen/STONE', true],
        ['secret.updated', 'seen/STONE', undefined],
        ['secret.canary_touched', 'seen/STONE', undefined],
      ],
    );
  });

  await t.test('answers everybody else as any other secret does', async () => {
    const agent = await calls.anAgent('secrets:*:twin/*');
    const narrow = await calls.anAgent('secrets:read:else/*');
    const token = await aToken({ by: agent.key, scopes: ['secrets:*:twin/*'] });
    const masked = ({ status, headers, text }: TestAnswer, key: string) => ({
      status,
      headers: Object.keys(headers).sort(),
      text: text
        .replaceAll(key, 'KEY')
        .replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'ID')
        .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME'),
    });
    for (const tier of ['standard', 'sensitive']) {
      await aSecret('twin/BIRD', { canary: true, access_tier: tier });
      await aSecret('twin/FISH', { access_tier: tier });
      for (const as of [agent.key, token.token, narrow.key, approver.key]) {
        for (const [line, asked] of [
          ['GET /v1/secrets/twin/KEY'],
          ['GET /v1/secrets/twin/KEY'],
          ['GET /v1/secrets/twin/KEY?version=7'],
          ['GET /v1/secrets/twin/KEY?limit=1'],
          ['PUT /v1/secrets/twin/KEY', { json: { value: 'v' } }],
          ['PUT /v1/secrets/twin/KEY', { json: { value: 'v', canary: true } }],
          ['PUT /v1/secrets/twin/KEY', { json: { value: 'v' }, headers: { 'if-match': '99' } }],
          ['POST /v1/secrets', { json: { path: 'twin/KEY', value: 'v' } }],
          ['POST /v1/secrets/twin/KEY/rotate', {}],
          ['POST /v1/secrets/import', { json: { namespace: 'twin', content: 'KEY=1' } }],
        ] as const) {
          const named = JSON.parse(JSON.stringify(asked ?? {}).replaceAll('KEY', 'BIRD')) as typeof asked;
          const plain = JSON.parse(JSON.stringify(asked ?? {}).replaceAll('KEY', 'FISH')) as typeof asked;
          const bird = await ask(as, line.replace('KEY', 'BIRD'), named);
          const fish = await ask(as, line.replace('KEY', 'FISH'), plain);
          assert.deepEqual(masked(bird, 'BIRD'), masked(fish, 'FISH'), line);
        }
      }
      const [bird, fish] = (await ask<ListView>(agent.key, 'GET /v1/secrets/twin')).body.items;
      assert.deepEqual(Object.keys(bird ?? {}), Object.keys(fish ?? {}));
    }
    // The trail that an approver reads has the one as the other; an administrator's has more.
    const typesOf = async (as: string, key: string): Promise<readonly string[]> => {
      const target = `GET /v1/audit?limit=200&resource_id=twin/${key}`;
      const page = await ask<{ events: AuditRow[]; total: number }>(as, target);
      assert.equal(page.body.total, page.body.events.length);
      return page.body.events.map(({ event_type }) => event_type);
    };
    assert.deepEqual(await typesOf(approver.key, 'BIRD'), await typesOf(approver.key, 'FISH'));
    assert.ok((await typesOf(adminKey, 'BIRD')).includes('secret.canary_touched'));
    assert.ok(!(await typesOf(adminKey, 'FISH')).includes('secret.canary_touched'));
    for (const [as, expected] of [
      [approver.key, false],
      [adminKey, true],
    ] as const) {
      for (const format of ['jsonl', 'csv']) {
        const { text } = await call({ method: 'GET', url: `/v1/audit/export?format=${format}`, key: as });
        assert.equal(/canary_touched|canary_changed/.test(text), expected, format);
      }
      for (const type of ['secret.canary_touched', 'secret.canary_changed']) {
        const { body } = await ask<{ total: number }>(as, `GET /v1/audit?event_type=${type}`);
        assert.equal(body.total > 0, expected, type);
      }
    }
  });

  await t.test(
    'a caller that touches it again and again has an event each time and owes one notice a minute',
    async () => {
      await aSecret('loud/BIRD', { canary: true });
      await aSecret('loud/WREN', { canary: true });
      const [one, other] = [await calls.anAgent('secrets:*:loud/*'), await calls.anAgent('secrets:*:loud/*')];
      const elsewhere = await openTestApp(t, calls.databaseUrl, WEBHOOK, {}, adminKey);
      const scopes = ['secrets:read:loud/*'];
      const tokens = [
        await aToken({ by: one.key, scopes }),
        await aToken({ by: one.key, scopes, maxUses: 1000 }),
      ];
      await forgetNotices();
      const before = Math.floor(Date.now() / 60_000);
      const alarms = await alarmsOf(() =>
        Promise.all(
          Array.from({ length: 120 }, (_, index) => {
            const key = [one.key, tokens[0]?.token, tokens[1]?.token][index % 3] ?? '';
            const app = index % 2 === 0 ? calls : elsewhere;
            const headers = key.startsWith('ast_')
              ? { authorization: `Bearer ${key}` }
              : { 'x-api-key': key };
            return app.call({ method: 'GET', url: '/v1/secrets/loud/BIRD', headers });
          }),
        ),
      );
      const minutes = Math.floor(Date.now() / 60_000) - before + 1;
      assert.equal(alarms.length, 120);
      const ofOne = (await owed()).length;
      assert.ok(ofOne >= 1 && ofOne <= minutes, `${ofOne} notices in ${minutes} minutes`);
      await ask(one.key, 'GET /v1/secrets/loud/WREN');
      await ask(other.key, 'GET /v1/secrets/loud/BIRD');
      assert.equal((await owed()).length, ofOne + 2, 'another canary and another caller owe their own');
    },
  );

  await t.test(
    'is told of refusals that are counted: the first at once, the others with their number',
    async () => {
      await aSecret('counted/BIRD', { canary: true });
      const narrow = await calls.anAgent('secrets:read:else/*');
      const alarms = await alarmsOf(async () => {
        for (let time = 0; time < 20; time += 1) await ask(narrow.key, 'GET /v1/secrets/counted/BIRD');
      });
      assert.equal(alarms.length, 1);
      // A stop writes what was counted.
      const last = await openTestApp(t, calls.databaseUrl, WEBHOOK, {}, adminKey);
      const more = await alarmsOf(async () => {
        for (let time = 0; time < 5; time += 1)
          await last.call({ method: 'GET', url: '/v1/secrets/counted/BIRD', key: narrow.key });
        await last.app.close();
      });
      assert.deepEqual(
        more.map(({ metadata }) => metadata['repeated']),
        [undefined, 4],
      );
    },
  );

  await t.test('without a use, an event or a notice nothing of it is given out', async () => {
    await aSecret('whole/BIRD', { canary: true, value: 'sung' });
    const agent = await calls.anAgent('secrets:*:whole/*', 'secrets:read:else/*');
    const limited = await aToken({ by: agent.key, scopes: ['secrets:read:whole/*'], maxUses: 5 });
    await sql(
      `create function no_alarm() returns trigger language plpgsql as $$
       begin if new.event_type = 'secret.canary_touched' then raise exception 'no alarm'; end if; return new; end $$`,
    );
    await sql(
      'create trigger no_alarm before insert on audit_events for each row execute function no_alarm()',
    );
    const refused = async (as: string, line: string, json?: unknown): Promise<void> => {
      const answer = await ask(as, line, json === undefined ? {} : { json });
      assert.ok(answer.status >= 500, `${line}: ${answer.status}`);
      assert.doesNotMatch(answer.text, /sung/);
    };
    await refused(limited.token, 'GET /v1/secrets/whole/BIRD');
    await refused(agent.key, 'GET /v1/secrets/whole/BIRD');
    await refused(agent.key, 'PUT /v1/secrets/whole/BIRD', { value: 'other' });
    await refused(approver.key, 'GET /v1/secrets/whole/BIRD');
    assert.equal(await usesOf(limited), 0);
    await sql('drop trigger no_alarm on audit_events');
    assert.equal((await ask(limited.token, 'GET /v1/secrets/whole/BIRD')).body.value, 'sung');
    assert.equal((await ask(agent.key, 'GET /v1/secrets/whole/BIRD')).body.version, 1);
  });

  await t.test(
    'of a token from an approval sets it off as well, and a row whose flag was cleared says so',
    async () => {
      await aSecret('high/BIRD', { canary: true, access_tier: 'critical', value: 'sung' });
      const agent = await calls.anAgent('secrets:*:high/*');
      const token = await aToken({ by: agent.key, scopes: ['secrets:read:high/*'] });
      await bind(token, 'critical');
      const alarms = await alarmsOf(() => ask(token.token, 'GET /v1/secrets/high/BIRD'));
      assert.deepEqual(
        alarms.map(({ metadata }) => metadata['how']),
        ['secret.read'],
      );
      await sql(`update secrets set canary = false where path = 'high/BIRD'`);
      const narrow = await calls.anAgent('secrets:read:else/*');
      for (const [as, status] of [
        [token.token, 500],
        [narrow.key, 403],
      ] as const) {
        const events = await eventsOf(async () => {
          assert.equal((await ask(as, 'GET /v1/secrets/high/BIRD')).status, status);
        });
        const failed = events.filter(({ event_type }) => event_type === 'integrity.failed');
        // Of equal reports within a minute the first is written.
        assert.equal(failed.length, status === 500 ? 1 : 0);
      }
    },
  );
});
