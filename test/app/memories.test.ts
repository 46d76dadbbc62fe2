/** All that a process remembers of rows is registered where it is dropped at once, and there is nothing beside it. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { buildTestApp } from '../support/app.ts';
import { readText } from '../support/markdown.ts';
import { postgresSkip } from '../support/postgres.ts';

const REMEMBERED = [
  'API keys',
  'API keys verified lately',
  'active master key',
  'costs of API keys',
  'offset of the clock',
  'owners of tokens',
  'readiness',
  'scopes and restrictions of tokens',
  'scopes of owners',
  'signatures',
  'signing keys',
  'what was read for a token',
];

/** What outlives a request in this process: how it is registered, or why it need not be. */
const KEPT: Readonly<Record<string, string>> = {
  'http/openapi/openapi-document.ts': 'for one answer',
  'http/server/create-server.ts': 'requests under way',
  'http/server/request-state.ts': 'clients by their address, under settings that do not change',
  'http/server/schema-compilers.ts': 'compiled schemas',
  'http/server/unread-answers.ts': 'connections of which something is unread',
  'keys/encryption/approval-mac.ts': 'a key of each master key',
  'keys/encryption/master-keys.ts': 'read again every second, and at another history',
  'keys/encryption/row-seals.ts': 'seals of texts: the same whatever the database holds',
  'keys/signing/key-ring.ts': 'registered',
  'keys/signing/remembered-signatures.ts': 'registered',
  'platform/metrics.ts': 'numbers that only grow, and nothing of a row',
  'platform/ttl-cache.ts': 'registered',
  'storage/engine/bounded-memo.ts': 'registered',
  'use-cases/audit/denial-log.ts': 'refusals that are counted: dropping them would lose them',
  'use-cases/audit/integrity-faults.ts': 'when a fault was told last',
  'use-cases/authentication/authenticate-api-key.ts': 'checks under way',
  'use-cases/authentication/key-uses.ts': 'uses that are not written yet',
  'use-cases/intent-tokens/idempotency-lock.ts': 'requests under way',
};

const KEEPS = /^ {2}(?:const|let) .* = new (?:Map|WeakMap|LRUCache)\b[^(]*\((?:\{ max[^)]*)?\);$/m;
/** They run in one process for one answer, or in another's. */
const ELSEWHERE = /^(verify|domain|commands)\//;

test('what a process remembers is dropped from one place', { skip: postgresSkip }, async (t) => {
  const { database } = await buildTestApp(t);
  assert.deepEqual(database.memories.names().toSorted(), REMEMBERED);
});

test('nothing else keeps what it learnt', () => {
  const files = readdirSync('src', { recursive: true, encoding: 'utf8' });
  const keeping = files.filter(
    (file) => file.endsWith('.ts') && !ELSEWHERE.test(file) && KEEPS.test(readText(`src/${file}`)),
  );
  assert.deepEqual(keeping.toSorted(), Object.keys(KEPT));
});
