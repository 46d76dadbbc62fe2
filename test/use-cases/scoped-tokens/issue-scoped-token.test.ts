/**
 * Who gets which scoped token (contract section 5.1): nothing that its principal does not hold as its row is now, no
 * token before an approval that it takes, and none for whoever has ended meanwhile.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateScopedToken } from '../../../src/keys/credentials/scoped-token-secret.ts';
import { createIssueScopedToken } from '../../../src/use-cases/scoped-tokens/issue-scoped-token.ts';
import type { IssueScopedTokenCommand } from '../../../src/use-cases/scoped-tokens/ports.ts';
import { aWrite } from '../../storage/builders.ts';
import { keyIsDead } from '../../storage/five-stores.ts';
import { assertDenied, CONTEXT, useCasesInMemory } from '../../support/use-cases-in-memory.ts';

const READ = 'secrets:read:team/*';

function aBench() {
  const { stores, shared, join } = useCasesInMemory();
  const opened: string[][] = [];
  const issueTo = createIssueScopedToken({
    ...shared,
    store: stores.tokens,
    generate: generateScopedToken,
    requestApproval: async ({ command }) => {
      opened.push([...command.scopes]);
      return { id: 'apr_opened', expiresAt: new Date() };
    },
  });
  const asking = (changes: Partial<IssueScopedTokenCommand>): IssueScopedTokenCommand => ({
    scopes: [READ],
    scopesMember: 'scopes',
    ttlSeconds: 3600,
    requireApproval: false,
    description: null,
    maxUses: null,
    allowedIps: null,
    ...changes,
  });
  const ask = (to: Parameters<typeof issueTo>[1], ...scopes: string[]) =>
    issueTo(asking({ scopes }), to, CONTEXT);
  const tokensOf = async (agentId: string) =>
    stores.tokens.list({ agentId, state: undefined, limit: 1000, before: undefined });
  return { stores, shared, join, opened, issueTo, asking, ask, tokensOf };
}

const HELD = {
  agent: [READ, 'secrets:write:app/x/*'],
  writer: ['secrets:write:team/*', 'secrets:delete:team/*'],
  nobody: null,
} as const;

const NOT_HELD: readonly (readonly [keyof typeof HELD, readonly string[], place: number])[] = [
  ...[
    'secrets:read:*',
    'secrets:*:*',
    'secrets:read:*/*',
    'secrets:read:*/k',
    'secrets:read:team*/k',
    'secrets:read:tea*/*',
    'secrets:*:team/*',
    'secrets:write:team/k',
    'secrets:delete:team/k',
    'secrets:read:Team/k',
    'secrets:read:team2/k',
    'secrets:read:app/x/k',
    'secrets:write:app/*',
    'secrets:write:app/x',
  ].flatMap(
    (scope) =>
      [
        ['agent', [scope], 0],
        ['agent', [READ, scope], 1],
      ] as const,
  ),
  ...[READ, 'read:secrets', 'namespaces:read', 'secrets:*:team/k'].map(
    (scope) => ['writer', [scope], 0] as const,
  ),
  ...[READ, 'read:secrets', 'write:secrets', 'namespaces:read', 'secrets:read:*'].map(
    (scope) => ['nobody', [scope], 0] as const,
  ),
];

test('what the caller does not hold is denied at its place, whatever its spelling suggests', async () => {
  const { join, ask, tokensOf, opened } = aBench();
  for (const [who, allowedScopes] of Object.entries(HELD)) {
    const { agent, caller } = await join({ allowedScopes });
    for (const [holder, scopes, place] of NOT_HELD) {
      if (holder !== who) continue;
      await assertDenied(ask(caller, ...scopes), 'SCOPE_DENIED', `${who} ${scopes}`, `/scopes/${place}`);
    }
    assert.deepEqual(await tokensOf(agent.id), []);
  }
  assert.deepEqual(opened, []);
});

test('what does not parse is refused before what is not held', async () => {
  const { join, ask } = aBench();
  const { caller } = await join({ allowedScopes: [READ] });
  const asked = ask(caller, 'secrets:read:other/*', 'nonsense');
  await assertDenied(asked, 'INVALID_SCOPE', 'the second', '/scopes/1');
});

test('a refusal is on record, once however often it comes, and another scope is the same kind', async () => {
  const { join, ask, stores } = aBench();
  const { agent, caller } = await join({ allowedScopes: [READ] });
  for (const scope of ['secrets:write:team/k', 'secrets:write:team/k', 'secrets:delete:team/k']) {
    await assertDenied(ask(caller, scope), 'SCOPE_DENIED');
  }
  const denied = stores.events.filter(({ eventType }) => eventType === 'token.denied');
  assert.deepEqual(
    denied.map(({ actorId, resourceId, metadata }) => [actorId, resourceId, metadata]),
    [[agent.id, agent.id, { code: 'SCOPE_DENIED', credential: agent.key.keyId }]],
  );
});

test('a token is issued where nothing guarded is named, and an approval opened where something is', async () => {
  const { join, ask, issueTo, asking, opened, tokensOf, stores } = aBench();
  const [standard, sensitive, critical] = [
    await stores.keepSecret('standard'),
    await stores.keepSecret('sensitive'),
    await stores.keepSecret('critical'),
  ];
  const read = (path: string): string => `secrets:read:${path}`;
  const { agent, caller } = await join({ allowedScopes: ['secrets:*:*'] });
  const atOnce = [
    [read(standard)],
    [read('nobody/knows')],
    // A scope with `*` opens standard secrets alone, so it names none of the guarded.
    [read(`${sensitive.split('/')[0]}/*`)],
    ['secrets:*:*'],
  ];
  for (const scopes of atOnce) assert.ok('text' in (await ask(caller, ...scopes)), String(scopes));
  assert.deepEqual(opened, []);
  const first = [
    [read(sensitive)],
    [read(critical)],
    [`secrets:write:${critical}`],
    [`secrets:delete:${sensitive}`],
    [read(standard), read(sensitive)],
    ['secrets:*:*', read(critical)],
  ];
  for (const scopes of first) assert.ok('opened' in (await ask(caller, ...scopes)), String(scopes));
  const wished = await issueTo(asking({ scopes: [read(standard)], requireApproval: true }), caller, CONTEXT);
  assert.ok('opened' in wished);
  assert.deepEqual(opened, [...first, [read(standard)]]);
  assert.equal((await tokensOf(agent.id)).length, atOnce.length);
});

test('whoever may not open a secret does not learn its tier, and opens no approval of it', async () => {
  const { join, ask, issueTo, asking, stores, opened } = aBench();
  const { caller } = await join({ allowedScopes: [READ] });
  const paths = [await stores.keepSecret('critical'), await stores.keepSecret('standard'), 'nobody/knows'];
  const words = new Set<string>();
  for (const path of paths) {
    const denied = await assertDenied(ask(caller, `secrets:delete:${path}`), 'SCOPE_DENIED');
    const { publicMessage, detail, details, members, retryAfterSeconds } = denied;
    words.add(JSON.stringify([publicMessage, detail, details, members, retryAfterSeconds]));
  }
  assert.equal(words.size, 1, [...words].join('\n'));
  const wish = asking({ scopes: ['secrets:read:other/*'], requireApproval: true });
  await assertDenied(issueTo(wish, caller, CONTEXT), 'SCOPE_DENIED');
  assert.deepEqual(opened, []);
});

test('what its principal was allowed meanwhile is granted, what it was denied is not, whatever is cached', async () => {
  const { join, ask, stores } = aBench();
  const { agent, caller } = await join({ allowedScopes: [READ] });
  const change = (allowedScopes: string[]) => stores.agents.update(agent.id, { allowedScopes }, aWrite());
  await change([READ, 'secrets:write:team/*']);
  assert.ok('text' in (await ask(caller, 'secrets:write:team/k')), 'widened');
  await change(['secrets:write:team/*']);
  await assertDenied(ask(caller, READ), 'SCOPE_DENIED', 'narrowed');
});

for (const what of ['its agent is revoked', 'the key is revoked', 'the key has expired']) {
  test(`nothing is issued, opened or told of scopes when ${what}`, async () => {
    const { join, ask, issueTo, asking, stores, tokensOf } = aBench();
    const { agent, caller } = await join({ allowedScopes: [READ] });
    await keyIsDead(stores)[what]?.(agent);
    const code = what === 'the key has expired' ? 'AUTH_EXPIRED_KEY' : 'AUTH_INVALID_KEY';
    await assertDenied(ask(caller, READ), code);
    await assertDenied(ask(caller, 'secrets:write:other/*'), code, 'before its scopes are judged');
    await assertDenied(issueTo(asking({ scopes: ['nonsense'] }), caller, CONTEXT), code);
    assert.deepEqual(await tokensOf(agent.id), []);
  });
}
