/** Signing keys in the database: each change is made once, when its time has come, with its events, or not at all. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import { NEXT_SECONDS, RETIRING_SECONDS } from '../../../src/domain/signing-keys/key-rotation.ts';
import type { Database } from '../../../src/storage/engine/database.ts';
import { createSigningKeyStore } from '../../../src/storage/signing-keys/signing-key-rotations.ts';
import { addFirstSigningKey, readSigningKeys } from '../../../src/storage/signing-keys/signing-key-store.ts';
import { createBuildNotice } from '../../../src/use-cases/notices/build-notice.ts';
import type { KeyChange } from '../../../src/use-cases/signing-keys/ports.ts';
import {
  createRotateSigningKeys,
  type RotateSigningKeys,
} from '../../../src/use-cases/signing-keys/rotate-signing-keys.ts';
import { openPatiently } from '../../support/patient-database.ts';
import { createTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { TEST_SEALS, useTestKek } from '../../support/test-seals.ts';
import { anEvent, anIssue, aSigningKey, storedAgent } from '../builders.ts';
import { storedIntent } from '../intent-tokens/use-builders.ts';
import { BACKENDS, rows } from '../opened.ts';

const aChange = (): KeyChange => ({ event: anEvent(), notice: undefined });

const storeOn = (database: Database) => createSigningKeyStore(database, TEST_SEALS);

const rotationOn = (database: Database, rotationDays = 90): RotateSigningKeys =>
  createRotateSigningKeys({
    store: storeOn(database),
    makeKey: () => aSigningKey(),
    newId: uuidv7,
    rotationDays,
    clock: { now: () => new Date() },
    buildNotice: createBuildNotice({ configured: true, newId: uuidv7 }),
    origin: { requestId: null, ipAddress: null },
  });

/** As if it had taken its state so much earlier. */
const age = (database: Database, kid: string, seconds: number) =>
  rows(
    database,
    'update signing_keys set state_since = state_since - make_interval(secs => $2) where kid = $1',
    [kid, seconds],
  );

async function statesOf(database: Database): Promise<Record<string, string>> {
  const keys = await storeOn(database).list();
  assert.deepEqual(
    keys.filter(({ why }) => why !== undefined),
    [],
    'each live row has a seal that fits',
  );
  return Object.fromEntries(keys.map(({ kid, state }) => [kid, state]));
}

const eventsOf = async (database: Database) =>
  (
    await rows<{ text: string }>(
      database,
      `select event_type || ' ' || resource_id as text from audit_events
       where resource_type = 'signing_key' order by xact, id`,
    )
  ).map(({ text }) => text);

async function twoReplicas(t: TestContext): Promise<readonly [Database, Database]> {
  const { url } = await createTestDatabase(t);
  const replicas = [await openPatiently(url, 2), await openPatiently(url, 2)] as const;
  t.after(() => Promise.all(replicas.map((replica) => replica.close())));
  return replicas;
}

async function withActive(database: Database): Promise<string> {
  await useTestKek(database);
  const first = aSigningKey();
  await addFirstSigningKey(database, first, TEST_SEALS);
  return first.kid;
}

for (const backend of BACKENDS) {
  test(`a whole life of a signing key on ${backend.name}`, { skip: backend.skip }, async (t) => {
    const database = await backend.openMigrated(t);
    const first = await withActive(database);
    const rotation = rotationOn(database);
    assert.deepEqual(await rotation.rotateWhatIsDue(), []);

    const made = await rotation.rotate();
    assert.equal(made.done, 'created');
    const { kid: next } = made;
    assert.deepEqual(await rotation.rotate(), { ...made, done: 'waiting' }, 'asked twice, made once');
    assert.deepEqual(await rotation.rotateWhatIsDue(), []);
    assert.equal(
      await storeOn(database).activate(next, () => aChange()),
      'unchanged',
      'its time has not come',
    );
    await age(database, next, NEXT_SECONDS - 5);
    assert.equal(await storeOn(database).activate(next, () => aChange()), 'unchanged');
    assert.deepEqual(await statesOf(database), { [first]: 'active', [next]: 'next' });

    await age(database, next, 5);
    const [activated] = await rotation.rotateWhatIsDue();
    assert.equal(activated?.done, 'activated');
    assert.deepEqual(await statesOf(database), { [first]: 'retiring', [next]: 'active' });

    assert.equal(await storeOn(database).retire(first, aChange()), false);
    await age(database, first, RETIRING_SECONDS);
    assert.equal(await storeOn(database).retire(next, aChange()), false, 'one that signs never retires');
    assert.deepEqual(await rotation.rotateWhatIsDue(), [{ done: 'retired', kid: first }]);
    assert.deepEqual(await statesOf(database), { [first]: 'retired', [next]: 'active' });
    assert.deepEqual(
      await rows(database, 'select wrapped_private_key, kek_id, seal from signing_keys where kid = $1', [
        first,
      ]),
      [{ wrapped_private_key: null, kek_id: null, seal: null }],
    );
    assert.deepEqual(await eventsOf(database), [
      `signing_key.created ${next}`,
      `signing_key.activated ${next}`,
      `signing_key.retired ${first}`,
    ]);
    assert.deepEqual(
      (
        await rows<{ payload: string }>(
          database,
          'select payload from webhook_outbox order by created_at, id',
        )
      ).map(({ payload }) => (({ type, data }) => ({ type, data }))(JSON.parse(payload))),
      [
        { type: 'signing_key.created', data: { kid: next, state: 'next' } },
        { type: 'signing_key.activated', data: { kid: next, retiring: first } },
        { type: 'signing_key.retired', data: { kid: first } },
      ],
    );
  });

  test(`what ends a leaked key on ${backend.name}`, { skip: backend.skip }, async (t) => {
    const database = await backend.openMigrated(t);
    const rotation = rotationOn(database);
    const first = await withActive(database);
    const { kid: next } = await rotation.rotate();
    const { freshKid, ended } = await rotation.endCompromised(undefined);
    assert.ok(freshKid !== null);
    assert.deepEqual(ended, [
      { kid: first, was: 'active' },
      { kid: next, was: 'next' },
    ]);
    assert.deepEqual(await statesOf(database), {
      [first]: 'compromised',
      [next]: 'compromised',
      [freshKid]: 'active',
    });
    for (const gone of [first, next, 'no kid']) {
      await assert.rejects(rotation.endCompromised(gone), { code: 'NOT_FOUND' });
    }
    // One that retires, named; the one that signs goes on.
    const { kid: second } = await rotation.rotate();
    await age(database, second, NEXT_SECONDS);
    await rotation.rotate();
    assert.deepEqual(await rotation.endCompromised(freshKid), {
      ended: [{ kid: freshKid, was: 'retiring' }],
      isReplaced: false,
      freshKid: null,
    });
    assert.equal((await statesOf(database))[second], 'active');
    assert.deepEqual(
      (await eventsOf(database)).filter((text) => text.includes(freshKid)),
      [
        `signing_key.created ${freshKid}`,
        `signing_key.activated ${freshKid}`,
        `signing_key.compromised ${freshKid}`,
      ],
    );
  });
}

test('the schedule makes the next key after its days, and none where a command does', {
  skip: postgresSkip,
}, async (t) => {
  const database = await openPatiently((await createTestDatabase(t)).url, 2);
  t.after(() => database.close());
  const first = await withActive(database);
  await age(database, first, 90 * 86_400 - 60);
  assert.deepEqual(await rotationOn(database).rotateWhatIsDue(), []);
  // Decided by a process whose days are over, judged by the statement.
  const early = { activeForDays: 90, ...aChange() };
  assert.equal(await storeOn(database).addNext(aSigningKey(), early), undefined);
  await age(database, first, 60);
  assert.deepEqual(await rotationOn(database, 0).rotateWhatIsDue(), []);
  assert.deepEqual(
    (await rotationOn(database).rotateWhatIsDue()).map(({ done }) => done),
    ['created'],
  );
});

test('a retiring key stays while a token that it signed lives', { skip: postgresSkip }, async (t) => {
  const database = await openPatiently((await createTestDatabase(t)).url, 2);
  t.after(() => database.close());
  const agent = await storedAgent(database);
  const { jti } = await storedIntent(database, agent);
  const rotation = rotationOn(database);
  const { kid: next } = await rotation.rotate();
  await age(database, next, NEXT_SECONDS);
  await rotation.rotate();
  const { kid } = anIssue(agent).record;
  await age(database, kid, RETIRING_SECONDS);
  assert.deepEqual(await rotation.rotateWhatIsDue(), []);
  assert.equal(await storeOn(database).retire(kid, aChange()), false);
  await rows(
    database,
    `update intent_tokens set expires_at = clock_timestamp() - interval '1 ms' where jti = $1`,
    [jti],
  );
  assert.deepEqual(await rotation.rotateWhatIsDue(), [{ done: 'retired', kid }]);
});

test('a row that is not what Writ wrote goes on to no other state, and is ended', {
  skip: postgresSkip,
}, async (t) => {
  const database = await openPatiently((await createTestDatabase(t)).url, 2);
  t.after(() => database.close());
  const first = await withActive(database);
  const rotation = rotationOn(database);
  const { kid: next } = await rotation.rotate();
  await age(database, next, NEXT_SECONDS);
  for (const forged of [first, next]) {
    const held = await rows<{ seal: Uint8Array }>(
      database,
      'update signing_keys set seal = seal || $2 where kid = $1 returning seal',
      [forged, Buffer.from([0])],
    );
    assert.equal(held.length, 1);
    if (forged === first) await assert.rejects(rotation.rotate(), { code: 'INTEGRITY_ERROR' });
    assert.deepEqual(await rotation.rotateWhatIsDue(), []);
    assert.equal(await storeOn(database).activate(next, () => aChange()), 'unfit');
    await rows(
      database,
      'update signing_keys set seal = substring(seal for length(seal) - 1) where kid = $1',
      [forged],
    );
  }
  await rows(database, `update signing_keys set seal = seal || '\\x00' where kid = $1`, [first]);
  const { freshKid } = await rotation.endCompromised(undefined);
  assert.deepEqual(
    (await readSigningKeys(database)).map(({ kid }) => kid),
    [freshKid],
  );
});

test('a row of somebody else that says it is next stands in the way of no key of Writ', {
  skip: postgresSkip,
}, async (t) => {
  const database = await openPatiently((await createTestDatabase(t)).url, 2);
  t.after(() => database.close());
  const first = await withActive(database);
  for (const rotate of ['by its days', 'asked'] as const) {
    const { kid, publicKey, wrappedPrivateKey, kekId } = aSigningKey();
    await rows(
      database,
      `insert into signing_keys (kid, public_key, wrapped_private_key, kek_id, state, state_since, seal)
       values ($1, $2, $3, $4, 'next', 'epoch', decode($4, 'hex'))`,
      [kid, Buffer.from(publicKey), Buffer.from(wrappedPrivateKey), kekId],
    );
    if (rotate === 'asked') assert.equal((await rotationOn(database).rotate()).done, 'created');
    else {
      await age(database, first, 90 * 86_400);
      assert.deepEqual(
        (await rotationOn(database).rotateWhatIsDue()).map(({ done }) => done),
        ['created'],
      );
    }
    const states = await statesOf(database);
    assert.deepEqual([states[kid], states[first]], ['compromised', 'active']);
    await rows(database, `delete from signing_keys where state = 'next'`);
  }
});

test('of many processes that rotate at once each step is made by one', { skip: postgresSkip }, async (t) => {
  const { url } = await createTestDatabase(t);
  const replicas = await Promise.all(Array.from({ length: 6 }, () => openPatiently(url, 2)));
  t.after(() => Promise.all(replicas.map((replica) => replica.close())));
  const [database] = replicas;
  assert.ok(database !== undefined);
  const first = await withActive(database);
  const everyone = async () => {
    const done = await Promise.all(replicas.map((replica) => rotationOn(replica).rotateWhatIsDue()));
    return done.flat().map((step) => step.done);
  };
  const signed = [first];
  for (let round = 0; round < 5; round += 1) {
    await age(database, signed.at(-1) ?? '', 90 * 86_400);
    assert.deepEqual(await everyone(), ['created'], `round ${round}`);
    const next = (await readSigningKeys(database)).find(({ state }) => state === 'next')?.kid ?? '';
    await age(database, next, NEXT_SECONDS);
    assert.deepEqual(await everyone(), ['activated'], `round ${round}`);
    await age(database, signed.at(-1) ?? '', RETIRING_SECONDS);
    assert.deepEqual(await everyone(), ['retired'], `round ${round}`);
    signed.push(next);
  }
  const states = await statesOf(database);
  assert.deepEqual(Object.values(states).sort(), ['active', ...Array(5).fill('retired')]);
  assert.equal((await eventsOf(database)).length, 15);
});

test('a rotation that meets the end of the key leaves one key that signs, and no leaked one', {
  skip: postgresSkip,
}, async (t) => {
  const [one, other] = await twoReplicas(t);
  await withActive(one);
  for (let round = 0; round < 12; round += 1) {
    const made = await rotationOn(one).rotate();
    await age(one, made.kid, NEXT_SECONDS);
    const before = await readSigningKeys(one);
    const active = before.find(({ state }) => state === 'active')?.kid ?? '';
    // Named, so that it is the same key whoever comes first.
    const [, ended] = await Promise.all([
      rotationOn(other).rotateWhatIsDue(),
      rotationOn(one).endCompromised(active),
    ]);
    assert.deepEqual(
      ended.ended.map(({ kid }) => kid),
      [active],
    );
    const states = await statesOf(one);
    assert.equal(states[active], 'compromised');
    assert.equal(Object.values(states).filter((state) => state === 'active').length, 1);
    // Where the end came first, the next one has still to take over.
    await rotationOn(one).rotateWhatIsDue();
    assert.equal((await statesOf(one))[made.kid], 'active');
  }
});

test('of two who end the key that signs at once, one does, and the fresh key stays', {
  skip: postgresSkip,
}, async (t) => {
  const [one, other] = await twoReplicas(t);
  await withActive(one);
  for (let round = 0; round < 8; round += 1) {
    const active = (await readSigningKeys(one)).find(({ state }) => state === 'active')?.kid;
    // Both are connected before either begins.
    await readSigningKeys(other);
    const done = await Promise.all(
      [one, other].map((replica) => rotationOn(replica).endCompromised(undefined)),
    );
    const ended = done.flatMap((each) => each.ended.map(({ kid }) => kid));
    assert.deepEqual(ended, [active]);
    const states = Object.values(await statesOf(one));
    assert.equal(states.filter((state) => state === 'active').length, 1);
    assert.equal(states.filter((state) => state === 'compromised').length, round + 1);
  }
});
