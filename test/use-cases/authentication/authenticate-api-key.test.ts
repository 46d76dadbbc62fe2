/**
 * Who is calling? Unknown and wrong look and cost the same; a key that is remembered costs nothing, for at most a
 * minute; what is remembered is never taken as proof that the key still lives.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { WritError } from '../../../src/errors.ts';
import { generateApiKey } from '../../../src/keys/credentials/api-key-hash.ts';
import { createProcessFingerprint } from '../../../src/keys/credentials/fingerprint.ts';
import { createTtlCache } from '../../../src/platform/ttl-cache.ts';
import { createMemories } from '../../../src/storage/engine/memories.ts';
import type { Denial } from '../../../src/use-cases/audit/denial-log.ts';
import type { RequestContext } from '../../../src/use-cases/audit/ports.ts';
import {
  type CachedKey,
  createAuthenticator,
} from '../../../src/use-cases/authentication/authenticate-api-key.ts';
import type { NotedUse } from '../../../src/use-cases/authentication/key-uses.ts';
import type { StoredKey } from '../../../src/use-cases/authentication/ports.ts';
import { deferred, settled } from '../../support/deferred.ts';

const context: RequestContext = { requestId: 'r', ipAddress: '192.0.2.1' };
const from = { origin: '192.0.2.1', context };

function aStoredKey(keyId: string, changes: Partial<StoredKey> = {}): StoredKey {
  return {
    caller: {
      keyId,
      keyPrefix: `ak_live_${keyId}`,
      keyExpiresAt: null,
      principal: {
        id: 'agent-1',
        name: 'one',
        role: 'agent',
        policy: null,
        effectiveScopes: [],
        revision: 1,
      },
    },
    hash: `hash of ${keyId}`,
    revoked: false,
    expired: false,
    stopped: false,
    livesMs: null,
    isWhole: true,
    ...changes,
  };
}

/** Everything that is asked of the outside, on record; `compare` finds out what the test says. */
function aBench(
  options: {
    compare?: () => Promise<boolean | 'busy'>;
    record?: () => Promise<void>;
    pause?: () => Promise<void>;
  } = {},
) {
  const clock = { ms: 0 };
  const keyCache = createTtlCache<CachedKey>({
    memories: createMemories(),
    name: 'API keys',
    maxEntries: 100,
    maxAgeMs: 60_000,
    monotonicMs: () => clock.ms,
  });
  const cached: unknown[] = [];
  const stored = new Map<string, StoredKey>();
  const looked: string[] = [];
  const uses = new Map<string, NotedUse>();
  const compared: { keyText: string; hash: string | undefined; origin: string; preferred: boolean }[] = [];
  const recorded: Denial[] = [];
  const authenticator = createAuthenticator({
    store: {
      findKey: async (keyId) => {
        looked.push(keyId);
        return stored.get(keyId);
      },
    },
    fingerprint: createProcessFingerprint(),
    keyCache: {
      ...keyCache,
      set: (...entry) => {
        cached.push(entry);
        keyCache.set(...entry);
      },
    },
    compare: async (task) => {
      compared.push(task);
      return options.compare === undefined ? task.hash !== undefined : options.compare();
    },
    verifiedLately: createTtlCache<true>({
      memories: createMemories(),
      name: 'API keys verified lately',
      maxEntries: 100,
      maxAgeMs: 3_600_000,
      monotonicMs: () => clock.ms,
    }),
    pause: options.pause ?? (async () => {}),
    uses,
    now: () => new Date(clock.ms),
    denialLog: {
      record: async (refusal) => {
        await options.record?.();
        recorded.push(refusal);
      },
      flush: async () => {},
    },
  });
  const aKey = (changes: Partial<StoredKey> = {}) => {
    const { text, keyId } = generateApiKey();
    stored.set(keyId, aStoredKey(keyId, changes));
    return { text, keyId };
  };
  return { authenticator, clock, stored, looked, uses, compared, recorded, cached, aKey };
}

const refusedWith = (code: string) => (error: unknown) => error instanceof WritError && error.code === code;

test('a key that is right gives its caller, and is then known without any work', async () => {
  const { authenticator, aKey, looked, compared, uses, stored, clock } = aBench();
  const { text, keyId } = aKey();
  assert.equal(authenticator.cached(text, context), undefined);
  const caller = await authenticator.verify(text, from);
  const { fingerprint, ...rest } = caller;
  assert.deepEqual(rest, stored.get(keyId)?.caller);
  assert.ok(!fingerprint.includes(text.slice(24, 64)));
  assert.deepEqual(authenticator.cached(text, context), { caller });
  assert.deepEqual([looked.length, compared.length], [1, 1]);
  clock.ms = 7;
  authenticator.cached(text, { requestId: 'r', ipAddress: '192.0.2.9' });
  const { at, ipAddress } = uses.get(keyId) ?? {};
  assert.deepEqual([uses.size, at, ipAddress], [1, new Date(7), '192.0.2.9']);
});

test('what is learnt of a key is known for a minute and no longer', async () => {
  const { authenticator, clock, aKey } = aBench();
  const good = aKey();
  const expired = aKey({ expired: true });
  await authenticator.verify(good.text, from);
  await assert.rejects(authenticator.verify(expired.text, from));
  for (const [ms, known] of [
    [59_999, true],
    [60_000, false],
  ] as const) {
    clock.ms = ms;
    assert.equal(authenticator.cached(good.text, context) !== undefined, known, `${ms} ms`);
    assert.equal(authenticator.cached(expired.text, context) !== undefined, known, `${ms} ms`);
  }
});

test('confirming does not make it be known any longer', async () => {
  const { authenticator, clock, aKey } = aBench();
  const { text } = aKey();
  const caller = await authenticator.verify(text, from);
  clock.ms = 59_999;
  await authenticator.confirm(caller, from.context);
  clock.ms = 60_000;
  assert.equal(authenticator.cached(text, context), undefined);
});

test('what is cached of a key, be it good or refused, does not hold the key', async () => {
  const { authenticator, aKey, cached } = aBench();
  const [good, revoked] = [aKey(), aKey({ revoked: true })];
  await authenticator.verify(good.text, from);
  await assert.rejects(authenticator.verify(revoked.text, from));
  assert.equal(cached.length, 2);
  const held = inspect(cached, { depth: null, showHidden: true });
  assert.ok(held.includes(good.keyId) && held.includes(revoked.keyId), 'and would be found');
  for (const { text } of [good, revoked]) assert.ok(!held.includes(text.slice(24)));
});

test('requests at once with one key cost one look-up and one compare', async () => {
  const verdict = deferred<boolean>();
  const { authenticator, aKey, looked, compared } = aBench({ compare: () => verdict.promise });
  const { text } = aKey();
  const waiting = Array.from({ length: 50 }, () => authenticator.verify(text, from));
  await settled();
  verdict.resolve(true);
  const callers = await Promise.all(waiting);
  assert.deepEqual([looked.length, compared.length], [1, 1]);
  assert.equal(new Set(callers).size, 1);
});

test('a check that failed for want of room or of the database is not shared with later requests', async () => {
  const answers: (() => Promise<boolean | 'busy'>)[] = [
    async () => 'busy',
    async () => {
      throw new WritError('UNAVAILABLE', 'x');
    },
    async () => true,
  ];
  const { authenticator, aKey } = aBench({ compare: () => answers.shift()?.() ?? Promise.resolve(false) });
  const { text } = aKey();
  await assert.rejects(authenticator.verify(text, from), refusedWith('BUSY'));
  assert.equal(authenticator.cached(text, context), undefined, 'busy is no verdict');
  await assert.rejects(authenticator.verify(text, from), refusedWith('UNAVAILABLE'));
  assert.equal(authenticator.cached(text, context), undefined);
  assert.ok(await authenticator.verify(text, from));
});

test('no room is BUSY with a time after which to try again', async () => {
  const { authenticator, aKey, recorded } = aBench({ compare: async () => 'busy' });
  await assert.rejects(authenticator.verify(aKey().text, from), (error) => {
    assert.ok(error instanceof WritError);
    assert.deepEqual([error.code, error.retryAfterSeconds], ['BUSY', 1]);
    return true;
  });
  assert.deepEqual(recorded, []);
});

test('an unknown id costs one compare, with the same words as a wrong secret', async () => {
  const { authenticator, aKey, compared } = aBench({ compare: async () => false });
  const messages = new Set<string>();
  for (const { text } of [generateApiKey(), aKey()]) {
    await assert.rejects(authenticator.verify(text, from), (error) => {
      assert.ok(refusedWith('AUTH_INVALID_KEY')(error));
      messages.add((error as WritError).publicMessage);
      return true;
    });
  }
  assert.equal(messages.size, 1);
  assert.deepEqual(
    compared.map(({ hash, preferred }) => [hash === undefined, preferred]),
    [
      [true, false],
      [false, false],
    ],
  );
});

test('what was right lately waits in front: the whole key, and not what has its id', async () => {
  const { authenticator, aKey, stored, clock, compared } = aBench();
  const { text, keyId } = aKey();
  const known = generateApiKey();
  await authenticator.verify(text, from);
  clock.ms = 60_000;
  await authenticator.verify(text, from);
  // Another secret of the same id, as the database would know it, and an id of its own.
  const hash = stored.get(keyId)?.hash;
  stored.set(known.keyId, aStoredKey(known.keyId, { hash: hash ?? '' }));
  await authenticator.verify(known.text, from);
  await assert.rejects(authenticator.verify(generateApiKey().text, from));
  clock.ms = 60_000 + 3_600_000;
  await authenticator.verify(text, from);
  assert.deepEqual(
    compared.map(({ preferred }) => preferred),
    [false, true, false, false, false],
  );
});

test('every refusal waits alike, whether an event is written meanwhile or not', async () => {
  for (const isKnown of [true, false]) {
    const [pause, written] = [deferred(), deferred()];
    const { authenticator, aKey, recorded } = aBench({
      compare: async () => false,
      record: () => written.promise,
      pause: () => pause.promise,
    });
    const { text } = isKnown ? aKey() : generateApiKey();
    let isAnswered = false;
    const refused = assert
      .rejects(authenticator.verify(text, from), refusedWith('AUTH_INVALID_KEY'))
      .then(() => {
        isAnswered = true;
      });
    await settled();
    assert.equal(isAnswered, false);
    written.resolve();
    await settled();
    assert.deepEqual([isAnswered, recorded.length], [false, isKnown ? 1 : 0]);
    pause.resolve();
    await refused;
    // From memory as well: a minute of counting may end there.
    const remembered = authenticator.cached(text, context);
    assert.ok(remembered !== undefined && 'refused' in remembered);
    await assert.rejects(authenticator.deny(remembered, context), refusedWith('AUTH_INVALID_KEY'));
    assert.equal(recorded.length, isKnown ? 2 : 0);
  }
});

test('an event that is not written when the pause is over holds the refusal up', async () => {
  const written = deferred();
  const { authenticator, aKey } = aBench({ compare: async () => false, record: () => written.promise });
  let isAnswered = false;
  const refused = authenticator.verify(aKey().text, from).catch((error: unknown) => {
    isAnswered = true;
    throw error;
  });
  await settled();
  assert.equal(isAnswered, false);
  written.reject(new WritError('UNAVAILABLE', 'x'));
  await assert.rejects(refused, refusedWith('UNAVAILABLE'));
});

test('an unknown id is unknown whatever the compare says', async () => {
  const { authenticator } = aBench({ compare: async () => true });
  await assert.rejects(authenticator.verify(generateApiKey().text, from), refusedWith('AUTH_INVALID_KEY'));
});

test('what has not the form of a key costs neither look-up nor compare', async () => {
  const pause = async () => assert.fail('there is no id to hide');
  const { authenticator, looked, compared } = aBench({ pause });
  const { text } = generateApiKey();
  for (const malformed of [
    '',
    'x',
    `${text} `,
    text.toUpperCase(),
    text.slice(0, 71),
    `ast_tok_${'A'.repeat(43)}`,
  ]) {
    const known = authenticator.cached(malformed, context);
    assert.deepEqual(known, { refused: 'AUTH_INVALID_KEY' });
    await assert.rejects(
      authenticator.deny(known as { refused: 'AUTH_INVALID_KEY' }, context),
      refusedWith('AUTH_INVALID_KEY'),
    );
    await assert.rejects(authenticator.verify(malformed, from), refusedWith('AUTH_INVALID_KEY'));
  }
  assert.deepEqual([looked, compared], [[], []]);
});

test('a refused key is refused from memory, and each refusal is handed to the trail', async () => {
  const { authenticator, aKey, compared, recorded } = aBench();
  const { text, keyId } = aKey({ revoked: true });
  await assert.rejects(authenticator.verify(text, from), refusedWith('AUTH_INVALID_KEY'));
  const remembered = authenticator.cached(text, context);
  assert.ok(remembered !== undefined && 'refused' in remembered);
  await assert.rejects(authenticator.deny(remembered, context), refusedWith('AUTH_INVALID_KEY'));
  assert.equal(compared.length, 1);
  assert.equal(recorded.length, 2);
  for (const refusal of recorded) {
    assert.deepEqual(refusal, {
      type: 'auth.denied',
      code: 'AUTH_INVALID_KEY',
      actor: { id: 'agent-1', role: 'agent' },
      credentialId: keyId,
      resource: { type: 'api_key', id: keyId },
      context,
    });
  }
});

test('revoked and expired are told apart, and revoked wins', async () => {
  for (const [changes, code] of [
    [{ expired: true }, 'AUTH_EXPIRED_KEY'],
    [{ revoked: true }, 'AUTH_INVALID_KEY'],
    [{ revoked: true, expired: true }, 'AUTH_INVALID_KEY'],
  ] as const) {
    const { authenticator, aKey } = aBench();
    await assert.rejects(authenticator.verify(aKey(changes).text, from), refusedWith(code));
  }
});

test('a wrong secret does not learn that its key is expired, and is nobody on record', async () => {
  const { authenticator, aKey, recorded } = aBench({ compare: async () => false });
  await assert.rejects(
    authenticator.verify(aKey({ expired: true }).text, from),
    refusedWith('AUTH_INVALID_KEY'),
  );
  assert.deepEqual(recorded[0]?.actor, { id: 'anonymous', role: 'anonymous' });
});

test('an unknown id is not on record: it is no credential of ours', async () => {
  const { authenticator, recorded } = aBench();
  await assert.rejects(authenticator.verify(generateApiKey().text, from));
  assert.deepEqual(recorded, []);
});

test('a refusal that cannot be put on record is answered as that fault', async () => {
  const { authenticator, aKey } = aBench({
    record: async () => {
      throw new WritError('UNAVAILABLE', 'x');
    },
  });
  await assert.rejects(authenticator.verify(aKey({ revoked: true }).text, from), refusedWith('UNAVAILABLE'));
});

test('confirming reads the live row: what died since is refused, what changed is new', async () => {
  const { authenticator, aKey, stored } = aBench();
  const { text, keyId } = aKey();
  const caller = await authenticator.verify(text, from);
  const before = stored.get(keyId);
  assert.ok(before);
  const changed = {
    ...before,
    caller: { ...before.caller, principal: { ...before.caller.principal, revision: 2 } },
  };
  stored.set(keyId, changed);
  const fresh = await authenticator.confirm(caller, from.context);
  assert.equal(fresh.principal.revision, 2);
  assert.equal(fresh.fingerprint, caller.fingerprint);
  assert.deepEqual(authenticator.cached(text, context), { caller: fresh }, 'and that is what is known now');
  for (const [row, code] of [
    [{ ...changed, revoked: true }, 'AUTH_INVALID_KEY'],
    [{ ...changed, expired: true }, 'AUTH_EXPIRED_KEY'],
    [{ ...changed, expired: true, revoked: true }, 'AUTH_INVALID_KEY'],
  ] as const) {
    stored.set(keyId, row);
    await assert.rejects(authenticator.confirm(caller, from.context), refusedWith(code));
  }
  stored.delete(keyId);
  await assert.rejects(authenticator.confirm(caller, from.context), refusedWith('AUTH_INVALID_KEY'));
});
