/** Every member of an event comes from who acted, from where the request came, or from what was done. */

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { auditEvent, SYSTEM } from '../../../src/use-cases/audit/build-audit-event.ts';

const what = {
  id: 'event-1',
  type: 'token.issued',
  resource: { type: 'scoped_token', id: 'token-1' },
  metadata: { key_id: 'key-1' },
} as const;

test('nothing of an actor but its id and its role is put on record', () => {
  const principal = { id: 'agent-1', role: 'agent', name: 'a name', revision: 3 } as const;
  const event = auditEvent(principal, { requestId: 'request-1', ipAddress: '192.0.2.1' }, what);
  assert.deepEqual(event, {
    id: 'event-1',
    eventType: 'token.issued',
    actorId: 'agent-1',
    actorType: 'agent',
    resourceType: 'scoped_token',
    resourceId: 'token-1',
    metadata: { key_id: 'key-1' },
    ipAddress: '192.0.2.1',
    requestId: 'request-1',
  });
});

test('what no request asked for has neither an address nor a request', () => {
  const event = auditEvent(SYSTEM, { requestId: null, ipAddress: null }, what);
  assert.deepEqual([event.actorId, event.actorType], ['system', 'system']);
  assert.deepEqual([event.ipAddress, event.requestId], [null, null]);
});

test('no other file of src builds an event', async () => {
  const found: string[] = [];
  for (const file of (await readdir('src', { recursive: true })).filter((name) => name.endsWith('.ts'))) {
    if (/\bactorType: (?!ActorType|text\()/.test(await readFile(join('src', file), 'utf8'))) found.push(file);
  }
  assert.deepEqual(found, ['use-cases/audit/build-audit-event.ts']);
});
