/**
 * `POST /v1/tokens` (contract section 5.1): `tokens.refuses`. Nothing that was asked is clamped, coerced, cut or left
 * out: it is refused with the code of its field, and nothing comes to be. What takes a human's approval gets no token
 * either: the approval is all that comes to be.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  assertRefused,
  buildTestApp,
  type CreatedAgent,
  type TestAnswer,
  type TestApp,
} from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import type { ApprovalView, OpenedView } from './approval-calls.ts';
import type { Tier } from './secret-calls.ts';
import { tokenClient } from './token-calls.ts';

const READ = 'secrets:read:team/*';
/** Directions, joiners, a soft hyphen, fillers, breaks of a line, a tag, a private character. */
const INVISIBLE = [
  ...['\u202e', '\u2066', '\u200f', '\u061c', '\u200b', '\u200d', '\ufeff', '\u00ad'],
  ...['\u3164', '\u115f', '\u2800', '\u034f', '\u2028', '\u2029', '\u{e0061}', '\ue000'],
].map((character) => `a${character}b`);

const countOf = async ({ sql }: TestApp, what: string): Promise<number> =>
  Number((await sql<{ count: string }>(`select count(*) from ${what}`))[0]?.count);

test('tokens.refuses', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { issue, store, events } = tokenClient(server);
  const agent = await server.createAgent({ allowed_scopes: [READ, 'secrets:write:app/x/*'] });
  const writer = await server.createAgent({
    allowed_scopes: ['secrets:write:team/*', 'secrets:delete:team/*'],
  });
  const nobody = await server.createAgent();
  await store('team/plain');
  for (const tier of ['sensitive', 'critical']) await store(`team/${tier}`, { access_tier: tier });

  /** Nothing of what `refusals` asks comes to be; what it says is what is on record. */
  const leavesNothing = async (refusals: () => Promise<void>): Promise<void> => {
    const count = () => countOf(server, 'scoped_tokens');
    const issued = () => countOf(server, "audit_events where event_type = 'token.issued'");
    const before = [await count(), await issued()];
    await refusals();
    assert.deepEqual([await count(), await issued()], before);
  };

  const refusesEach = (
    code: string,
    status: number,
    bodies: readonly (readonly [body: unknown, pointer?: string])[],
    key = agent.key,
  ) =>
    leavesNothing(async () => {
      for (const [body, pointer] of bodies) {
        const expected = { status, code, ...(pointer === undefined ? {} : { details: { pointer } }) };
        assertRefused(await issue(key, body), expected, JSON.stringify(body).slice(0, 100));
      }
    });

  const withScope = (...scopes: readonly unknown[]) => ({ scopes });

  /** Each gets 202 without a token, and an approval of just that. `tier`: what it would open up to. */
  const opensEach = (
    by: CreatedAgent | 'admin',
    bodies: readonly (readonly [body: Readonly<Record<string, unknown>>, tier: Tier])[],
  ) =>
    leavesNothing(async () => {
      for (const [body, tier] of bodies) {
        const answer = await server.call<OpenedView>({
          method: 'POST',
          url: '/v1/tokens',
          key: by === 'admin' ? server.adminKey : by.key,
          json: body,
        });
        assert.equal(answer.status, 202, `${JSON.stringify(body)} ${answer.text}`);
        const { approval_id: id, expires_at, ...rest } = answer.body;
        assert.match(id, /^apr_[a-z2-7]{8}$/);
        assert.deepEqual(rest, {
          requires_approval: true,
          status: 'pending',
          poll: `/v1/approvals/agent/${id}`,
        });
        const seen = await server.call<ApprovalView>({
          method: 'GET',
          url: `/v1/approvals/${id}`,
          key: server.adminKey,
        });
        const { agent_name, status, access_tier, scopes } = seen.body;
        assert.deepEqual(
          { agent_name, status, access_tier, scopes, expires_at: seen.body.expires_at },
          {
            agent_name: by === 'admin' ? 'admin' : by.name,
            status: 'pending',
            access_tier: tier,
            scopes: body['scopes'] ?? [body['scope']],
            expires_at,
          },
        );
      }
    });

  await t.test('scopes that are none, too many, too long or of another form', async () => {
    const tooLong = `secrets:read:team${'/abcdefgh'.repeat(65)}`.slice(0, 601);
    await refusesEach('INVALID_SCOPE', 400, [
      [{}, '/scopes'],
      [{ scopes: null, scope: null }, '/scopes'],
      [withScope(), '/scopes'],
      [withScope(...Array.from({ length: 65 }, () => READ)), '/scopes'],
      [{ scopes: READ }, '/scopes'],
      [{ scope: [READ] }, '/scope'],
      [{ scopes: { 0: READ } }, '/scopes'],
      [withScope(null), '/scopes/0'],
      [withScope(READ, 7), '/scopes/1'],
      [withScope(READ, ''), '/scopes/1'],
      [withScope(tooLong), '/scopes/0'],
      [{ scope: `${READ} ${READ}` }, '/scope'],
      [{ scope: '' }, '/scope'],
      ...[
        '*',
        'read',
        'secrets',
        'secrets:read',
        'secrets:read:',
        'secrets:read:team',
        'secrets:list:team/*',
        'secrets:rotate:team/*',
        'Secrets:read:team/*',
        'secrets:READ:team/*',
        'secrets:read:team/**',
        'secrets:read:team/*a*',
        'secrets:read:team/',
        'secrets:read:/team',
        'secrets:read:team//k',
        'secrets:read:team/../k',
        'secrets:read:team/{a,b}',
        'secrets:read:team/!(a)',
        'secrets:read:team/[a]',
        'secrets:read:team/a?',
        'secrets:read:team/a%2Fb',
        'secrets:read:team/k:x',
        'secrets:read:team/k,secrets:write:team/k',
        ' secrets:read:team/k',
        'secrets:read:team/k ',
        'secrets:read:team/k\n',
        'secrets:read:tëam/k',
        'namespaces:*',
        'namespaces:write',
        'namespaces:read:*',
        'manage:agents',
        'delete:secrets',
        'READ:SECRETS',
      ].map((scope): [unknown, string] => [withScope(READ, scope), '/scopes/1']),
    ]);
  });

  await t.test('a lifetime of another form', async () => {
    await refusesEach('INVALID_TTL', 400, [
      ...[0, -1, -300, 300.5, 1e300, '900', '15m', '', true, [], [900], {}].map(
        (ttl_seconds): [unknown, string] => [{ ...withScope(READ), ttl_seconds }, '/ttl_seconds'],
      ),
      ...[
        0,
        -900,
        900.5,
        '0',
        '-15m',
        '015m',
        '15 m',
        ' 15m',
        '15m ',
        '15w',
        '1y',
        'm',
        '1_000',
        true,
        [],
        {},
      ].map((ttl): [unknown, string] => [{ ...withScope(READ), ttl }, '/ttl']),
      [{ ...withScope(READ), ttl: 900, ttl_seconds: 900.5 }],
      [{ ...withScope(READ), ttl: '1H', ttl_seconds: 3600 }],
    ]);
  });

  await t.test('a lifetime out of range is refused and never clamped', async () => {
    await refusesEach('TTL_OUT_OF_RANGE', 400, [
      ...[1, 60, 299, 86_401, 604_800, Number.MAX_SAFE_INTEGER].flatMap((seconds): [unknown, string][] => [
        [{ ...withScope(READ), ttl_seconds: seconds }, '/ttl_seconds'],
        [{ ...withScope(READ), ttl: seconds }, '/ttl'],
      ]),
      ...['1', '299', '4m', '1441m', '25h', '2d', '999999d'].map((ttl): [unknown, string] => [
        { ...withScope(READ), ttl },
        '/ttl',
      ]),
      [{ ...withScope(READ), ttl: '2d', ttl_seconds: 172_800 }],
    ]);
  });

  await t.test('a number of uses that is not a whole one from 1 to 1,000,000', async () => {
    const wrong = [0, -1, 1_000_001, 1e9, 1.5, 1e300, '1', '', true, false, [], [1], {}];
    await refusesEach(
      'INVALID_MAX_USES',
      400,
      wrong.map((max_uses) => [{ ...withScope(READ), max_uses }, '/max_uses']),
    );
  });

  await t.test('an address list that is empty, too long or holds what is no address', async () => {
    const lists = [
      [],
      Array.from({ length: 65 }, (_, index) => `192.0.2.${index}`),
      '192.0.2.1',
      {},
      7,
      true,
    ].flatMap((list): [unknown, string][] => [
      [{ ...withScope(READ), allowed_ips: list }, '/allowed_ips'],
      [{ ...withScope(READ), ip_allowlist: list }, '/ip_allowlist'],
    ]);
    const entries = [
      null,
      7,
      '',
      '*',
      'localhost',
      '192.0.2',
      '192.0.2.256',
      '192.000.2.1',
      '0300.0.2.1',
      '0x7f.0.0.1',
      '2130706433',
      '192.0.2.1/24',
      '192.0.2.0/33',
      '192.0.2.0/08',
      '192.0.2.0/',
      '192.0.2.0/+8',
      '192.0.2.0/24/24',
      ' 192.0.2.1',
      '192.0.2.1 ',
      '192.0.2.1,192.0.2.2',
      '192.0.2.1:80',
      '[2001:db8::1]',
      '2001:db8::1/64',
      '2001:db8::/129',
      'fe80::1%eth0',
      '::ffff:192.0.2.0/24',
      '2001:db8:::1',
    ].flatMap((entry): [unknown, string][] => [
      [{ ...withScope(READ), allowed_ips: ['192.0.2.1', entry] }, '/allowed_ips/1'],
      [{ ...withScope(READ), ip_allowlist: [entry] }, '/ip_allowlist/0'],
    ]);
    await refusesEach('INVALID_IP_ALLOWLIST', 400, [...lists, ...entries]);
  });

  await t.test('two spellings of one member that differ', async () => {
    await refusesEach('VALIDATION_ERROR', 400, [
      [{ scopes: [READ], scope: 'secrets:read:team/k' }],
      [{ scopes: [READ, READ], scope: READ }],
      [{ ...withScope(READ), ttl: '1h', ttl_seconds: 3601 }],
      [{ ...withScope(READ), ttl: 900, ttl_seconds: 901 }],
      [{ ...withScope(READ), allowed_ips: ['192.0.2.1'], ip_allowlist: ['192.0.2.2'] }],
      [{ ...withScope(READ), allowed_ips: ['192.0.2.1'], ip_allowlist: ['192.0.2.1', '192.0.2.2'] }],
    ]);
  });

  await t.test('a member that is not known, also what an answer or a client may suggest', async () => {
    const members = [
      'agent_id',
      'token',
      'token_id',
      'expires_at',
      'expires_in',
      'uses_remaining',
      'maxUses',
      'allowedIps',
      'ips',
      'access_tier',
      'tier',
      'requires_approval',
      'path',
      'namespace',
      'constructor',
    ];
    await refusesEach(
      'VALIDATION_ERROR',
      400,
      members.flatMap((name): [unknown, string][] => [
        [{ ...withScope(READ), [name]: 1 }, `/${name}`],
        [{ ...withScope(READ), [name]: null }, `/${name}`],
      ]),
    );
  });

  await t.test('a description that is no text, too long or holds control characters', async () => {
    const wrong = [
      7,
      true,
      [],
      {},
      'x'.repeat(501),
      '😀'.repeat(501),
      'a\u0000',
      '\n',
      'a\tb',
      '\u001b[2J',
      '\u007f',
    ];
    await refusesEach(
      'VALIDATION_ERROR',
      400,
      [...wrong, '\u0080', '\u009f', ...INVISIBLE].map((description) => [
        { ...withScope(READ), description },
        '/description',
      ]),
    );
  });

  await t.test('a require_approval that is not true or false', async () => {
    await refusesEach(
      'VALIDATION_ERROR',
      400,
      ['true', 'false', '', 0, 1, [], {}].map((require_approval) => [
        { ...withScope(READ), require_approval },
        '/require_approval',
      ]),
    );
  });

  // Which scopes those are is a table of the use case (test/use-cases/scoped-tokens/issue-scoped-token.test.ts).
  await t.test(
    'scopes that the caller does not hold, at their place, after what does not parse',
    async () => {
      await refusesEach('SCOPE_DENIED', 403, [
        [withScope('secrets:read:*'), '/scopes/0'],
        [withScope(READ, 'secrets:write:app/*'), '/scopes/1'],
        [{ scope: 'secrets:delete:team/k' }, '/scope'],
      ]);
      await refusesEach('SCOPE_DENIED', 403, [[withScope('read:secrets')]], writer.key);
      await refusesEach('SCOPE_DENIED', 403, [[withScope('namespaces:read')]], nobody.key);
      await refusesEach('INVALID_SCOPE', 400, [[withScope('secrets:read:other/*', 'nonsense'), '/scopes/1']]);
    },
  );

  await t.test('a token before a human’s approval, whoever asks: an approval is opened instead', async () => {
    const bodies = [
      // Its `*` matches both, and they set its tier; without the wish it would be issued at once.
      [{ ...withScope(READ), require_approval: true }, 'critical'],
      [{ ...withScope('secrets:read:team/plain'), require_approval: true }, 'standard'],
      [withScope('secrets:read:team/sensitive'), 'sensitive'],
      [withScope('secrets:read:team/critical'), 'critical'],
      [{ scope: 'secrets:read:team/critical' }, 'critical'],
      [withScope('secrets:read:team/plain', 'secrets:read:team/sensitive'), 'sensitive'],
      [withScope(READ, 'secrets:read:team/sensitive'), 'critical'],
    ] as const;
    await opensEach(agent, bodies);
    await opensEach('admin', bodies);
    await opensEach(
      writer,
      ['write', 'delete'].map((action) => [withScope(`secrets:${action}:team/critical`), 'critical']),
    );
  });

  await t.test('a secret that has expired keeps its tier, so naming it takes the same approval', async () => {
    await store('expired/k', { access_tier: 'sensitive', expires_at: '2001-01-01T00:00:00Z' });
    await opensEach('admin', [[withScope('secrets:write:expired/k'), 'sensitive']]);
  });

  await t.test('what takes an approval but is not held is refused, and opens none', async () => {
    const opened = () => countOf(server, 'approvals');
    const before = await opened();
    await refusesEach('SCOPE_DENIED', 403, [
      [{ ...withScope('secrets:read:other/*'), require_approval: true }, '/scopes/0'],
      [{ scope: 'secrets:read:other/*' }, '/scope'],
      [withScope('secrets:write:team/critical'), '/scopes/0'],
      [withScope('secrets:read:team/sensitive', 'secrets:delete:team/critical'), '/scopes/1'],
    ]);
    await refusesEach('INVALID_SCOPE', 400, [[{ ...withScope('nonsense'), require_approval: true }]]);
    await refusesEach('TTL_OUT_OF_RANGE', 400, [[{ ...withScope('secrets:read:team/critical'), ttl: 1 }]]);
    assert.equal(await opened(), before);
  });

  await t.test(
    'a denied request is on record, once however often it comes; a malformed one is not',
    async () => {
      const wanderer = await server.createAgent({ allowed_scopes: [READ] });
      const about = (): Promise<readonly unknown[]> => events('actor_id = $1', [wanderer.id]);
      await issue(wanderer.key, withScope('nonsense'));
      await issue(wanderer.key, { ...withScope(READ), ttl: 1 });
      assert.deepEqual(await about(), []);
      const denied = await issue(wanderer.key, withScope('secrets:write:team/k'));
      await issue(wanderer.key, withScope('secrets:write:team/k'));
      await issue(wanderer.key, withScope('secrets:delete:team/k'));
      const rows = await events('actor_id = $1', [wanderer.id]);
      assert.deepEqual(
        rows.map(({ id, ...row }) => row),
        [
          {
            event_type: 'token.denied',
            actor_id: wanderer.id,
            actor_type: 'agent',
            resource_type: 'agent',
            resource_id: wanderer.id,
            metadata: { code: 'SCOPE_DENIED', credential: wanderer.keyId },
            ip_address: '127.0.0.1',
            request_id: denied.headers['x-request-id'],
          },
        ],
      );
    },
  );

  await t.test(
    'what takes an approval is on record as asked for, every time, and not as denied',
    async () => {
      const asker = await server.createAgent({ allowed_scopes: [READ] });
      const answers = [
        await issue(asker.key, withScope('secrets:read:team/critical')),
        await issue(asker.key, withScope('secrets:read:team/critical')),
      ] as unknown as TestAnswer<OpenedView>[];
      const rows = await events('actor_id = $1', [asker.id]);
      assert.deepEqual(
        rows.map(({ event_type, resource_type, resource_id, request_id, metadata }) => ({
          event_type,
          resource_type,
          resource_id,
          request_id,
          scopes: metadata['scopes'],
          access_tier: metadata['access_tier'],
          key_id: metadata['key_id'],
        })),
        answers.map(({ body, headers }) => ({
          event_type: 'approval.requested',
          resource_type: 'approval',
          resource_id: body.approval_id,
          request_id: headers['x-request-id'],
          scopes: ['secrets:read:team/critical'],
          access_tier: 'critical',
          key_id: asker.keyId,
        })),
      );
    },
  );
});
