import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WritError } from '../../../src/errors.ts';
import { createBatcher } from '../../../src/storage/engine/batcher.ts';
import {
  ConnectionLostError,
  StorageError,
  translateStorageError,
} from '../../../src/storage/engine/storage-errors.ts';

type Outcome = string;

/** A statement that runs until the test lets it go, and remembers which members each run had. */
function heldStatement() {
  const groups: string[][] = [];
  const held: { resolve: (outcomes: Outcome[]) => void; reject: (error: unknown) => void }[] = [];
  return {
    groups,
    run: (members: readonly string[]): Promise<Outcome[]> => {
      groups.push([...members]);
      return new Promise((resolve, reject) => held.push({ resolve, reject }));
    },
    /** Ends the oldest run that has not ended. */
    async end(outcomes: Outcome[]): Promise<void> {
      held.shift()?.resolve(outcomes);
      await settled();
    },
    async fail(error: unknown): Promise<void> {
      held.shift()?.reject(error);
      await settled();
    },
  };
}

/** All that follows from promises that are settled has happened. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const driverError = (code: string): Error => Object.assign(new Error('of the driver'), { code });
const sqlError = (code: string): Error => new StorageError(code, { cause: driverError(code) });
const orderKey = (member: string): string => member;

test('a member that finds nothing in flight runs at once, alone', async () => {
  const statement = heldStatement();
  const queue = createBatcher({ run: statement.run, orderKey });
  const answer = queue.submit('a');
  assert.deepEqual(statement.groups, [['a']]);
  await statement.end(['done']);
  assert.equal(await answer, 'done');
});

test('what arrives while a statement is in flight forms the next one, in the order of its keys', async () => {
  const statement = heldStatement();
  const queue = createBatcher({ run: statement.run, orderKey });
  const answers = ['m', 'z', 'a', 'k'].map((member) => queue.submit(member));
  assert.deepEqual(statement.groups, [['m']]);
  await statement.end(['M']);
  assert.deepEqual(statement.groups, [['m'], ['a', 'k', 'z']]);
  await statement.end(['A', 'K', 'Z']);
  assert.deepEqual(await Promise.all(answers), ['M', 'Z', 'A', 'K']);
});

test('a member is not answered before its statement has ended', async () => {
  const statement = heldStatement();
  const queue = createBatcher({ run: statement.run, orderKey });
  let answered = false;
  const answer = queue.submit('a').then(() => {
    answered = true;
  });
  await settled();
  assert.equal(answered, false);
  await statement.end(['done']);
  await answer;
});

test('of members with the same key a group has one, and the others follow in the order of arrival', async () => {
  const statement = heldStatement();
  const oneAtATime = (member: string): string => member.charAt(0);
  const queue = createBatcher({ run: statement.run, orderKey, oneAtATime });
  const answers = ['a1', 'b1', 'a2', 'a3', 'b2', 'c1'].map((member) => queue.submit(member));
  const expected = [['a1'], ['a2', 'b1', 'c1'], ['a3', 'b2']];
  for (const [ended, group] of expected.entries()) {
    assert.deepEqual(statement.groups, expected.slice(0, ended + 1));
    await statement.end(group.map((member) => member.toUpperCase()));
  }
  assert.deepEqual(await Promise.all(answers), ['A1', 'B1', 'A2', 'A3', 'B2', 'C1']);
});

test('a group of members one at a time has at most 256 of them as well', async () => {
  const statement = heldStatement();
  const queue = createBatcher({ run: statement.run, orderKey, oneAtATime: (member: string) => member });
  const members = Array.from({ length: 300 }, (_, index) => String(index).padStart(4, '0'));
  const answers = ['first', ...members].map((member) => queue.submit(member));
  await statement.end(['first']);
  assert.equal(statement.groups[1]?.length, 256);
  await statement.end(members.slice(0, 256));
  assert.deepEqual(statement.groups[2], members.slice(256));
  await statement.end(members.slice(256));
  assert.equal((await Promise.all(answers)).length, 301);
});

test('a group has at most 256 members, and the rest follows in the order of arrival', async () => {
  const statement = heldStatement();
  const queue = createBatcher({ run: statement.run, orderKey });
  const members = Array.from({ length: 600 }, (_, index) => String(index).padStart(4, '0'));
  const answers = [queue.submit('first'), ...members.map((member) => queue.submit(member))];
  await statement.end(['first']);
  assert.deepEqual(statement.groups[1], members.slice(0, 256));
  await statement.end(members.slice(0, 256));
  assert.deepEqual(statement.groups[2], members.slice(256, 512));
  await statement.end(members.slice(256, 512));
  assert.deepEqual(statement.groups[3], members.slice(512));
  await statement.end(members.slice(512));
  assert.deepEqual(await Promise.all(answers), ['first', ...members]);
});

test('at most as many statements run at once as there are lanes', async () => {
  const statement = heldStatement();
  const queue = createBatcher({ run: statement.run, orderKey, lanes: 2 });
  const answers = ['a', 'b', 'c', 'd'].map((member) => queue.submit(member));
  assert.deepEqual(statement.groups, [['a'], ['b']]);
  await statement.end(['A']);
  assert.deepEqual(statement.groups, [['a'], ['b'], ['c', 'd']]);
  await statement.end(['B']);
  await statement.end(['C', 'D']);
  assert.deepEqual(await Promise.all(answers), ['A', 'B', 'C', 'D']);
});

test('a full queue refuses with BUSY and a time to come back, and takes members again afterwards', async () => {
  const statement = heldStatement();
  const queue = createBatcher({ run: statement.run, orderKey });
  const answers = Array.from({ length: 2049 }, (_, index) => queue.submit(String(index)));
  await assert.rejects(queue.submit('too many'), (error) => {
    assert.ok(error instanceof WritError);
    assert.equal(error.code, 'BUSY');
    assert.ok((error.retryAfterSeconds ?? 0) >= 1);
    return true;
  });
  await statement.end(['0']);
  const late = queue.submit('late');
  for (let group = 1; statement.groups[group] !== undefined; group += 1) {
    await statement.end(statement.groups[group] ?? []);
  }
  assert.equal(await late, 'late');
  assert.equal((await Promise.all(answers)).length, 2049);
  assert.ok(!statement.groups.flat().includes('too many'));
});

for (const code of ['22P02', '22021', '23505', '23503', '40P01', '40001', '55P03']) {
  test(`a member that fails with ${code} fails alone, and the others are written`, async () => {
    const runs: string[][] = [];
    const fault = sqlError(code);
    const queue = createBatcher<string, string>({
      orderKey,
      run: async (members) => {
        runs.push([...members]);
        await settled();
        if (members.includes('poison')) throw fault;
        return members.map((member) => member.toUpperCase());
      },
    });
    const outcomes = await Promise.allSettled(
      ['first', 'b', 'poison', 'a'].map((member) => queue.submit(member)),
    );
    assert.deepEqual(outcomes, [
      { status: 'fulfilled', value: 'FIRST' },
      { status: 'fulfilled', value: 'B' },
      { status: 'rejected', reason: fault },
      { status: 'fulfilled', value: 'A' },
    ]);
    assert.deepEqual(runs, [['first'], ['a', 'b', 'poison'], ['a'], ['b'], ['poison']]);
  });
}

test('the same holds for the error that storage makes of it', async () => {
  for (const code of ['40001', '40P01', '55P03']) {
    let runs = 0;
    const queue = createBatcher<string, string>({
      orderKey,
      run: async (members) => {
        runs += 1;
        await settled();
        if (members.includes('poison')) throw translateStorageError(driverError(code), 'write');
        return [...members];
      },
    });
    const outcomes = await Promise.allSettled(['first', 'a', 'poison'].map((m) => queue.submit(m)));
    assert.deepEqual(
      outcomes.map((outcome) => outcome.status),
      ['fulfilled', 'fulfilled', 'rejected'],
      code,
    );
    assert.equal(runs, 4);
  }
});

test('a member that fails by itself is not run again', async () => {
  let runs = 0;
  const queue = createBatcher<string, string>({
    orderKey,
    run: async () => {
      runs += 1;
      throw sqlError('23505');
    },
  });
  await assert.rejects(queue.submit('a'));
  assert.equal(runs, 1);
});

test('a connection lost under way is OUTCOME_UNKNOWN for every member, and nothing is run again', async () => {
  const statement = heldStatement();
  const queue = createBatcher({ run: statement.run, orderKey });
  const answers = ['a', 'b', 'c'].map((member) => queue.submit(member));
  const all = Promise.allSettled(answers);
  await statement.end(['A']);
  const lost = translateStorageError(new ConnectionLostError(), 'write');
  await statement.fail(lost);
  const [, ...rest] = await all;
  for (const outcome of rest) {
    assert.equal(outcome.status, 'rejected');
    assert.ok(outcome.reason instanceof WritError);
    assert.equal(outcome.reason.code, 'OUTCOME_UNKNOWN');
  }
  assert.deepEqual(statement.groups, [['a'], ['b', 'c']]);
});

test('a failed group does not stop the queue', async () => {
  const statement = heldStatement();
  const queue = createBatcher({ run: statement.run, orderKey });
  const first = queue.submit('a');
  const second = queue.submit('b');
  const refused = assert.rejects(first, /refused a statement/);
  await statement.fail(sqlError('57014'));
  await refused;
  assert.deepEqual(statement.groups, [['a'], ['b']]);
  await statement.end(['B']);
  assert.equal(await second, 'B');
});

test('a statement that returns too few outcomes grants nothing to those it left out', async () => {
  const statement = heldStatement();
  const queue = createBatcher({ run: statement.run, orderKey });
  const all = Promise.allSettled(['x', 'a', 'b'].map((member) => queue.submit(member)));
  await statement.end(['X']);
  await statement.end(['A']);
  const [, a, b] = await all;
  assert.deepEqual(a, { status: 'fulfilled', value: 'A' });
  assert.equal(b?.status, 'rejected');
});

test('a run that throws before it returns a promise rejects its members', async () => {
  const queue = createBatcher<string, string>({
    orderKey,
    run: () => {
      throw new TypeError('a bug');
    },
  });
  await assert.rejects(queue.submit('a'), /a bug/);
  await assert.rejects(queue.submit('b'), /a bug/);
});
