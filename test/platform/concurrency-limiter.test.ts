/** The gate in front of bcrypt: so many at once, so many waiting, so many of one origin, known keys in front. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBoundedWork } from '../../src/platform/concurrency-limiter.ts';
import { settled } from '../support/deferred.ts';

/** Work that ends when it is told to, and a record of what was started. */
function bench(limits: { atOnce: number; waiting: number; waitingPerOrigin: number }) {
  const gate = createBoundedWork(limits);
  const started: string[] = [];
  const endings = new Map<string, { resolve: (value: string) => void; reject: (error: Error) => void }>();
  let atOnce = 0;
  let most = 0;
  const run = (name: string, task: { origin?: string; preferred?: boolean } = {}) =>
    gate.run({
      origin: task.origin ?? name,
      preferred: task.preferred ?? false,
      work: () => {
        started.push(name);
        atOnce += 1;
        most = Math.max(most, atOnce);
        const ended = new Promise<string>((resolve, reject) => endings.set(name, { resolve, reject }));
        return ended.finally(() => {
          atOnce -= 1;
          endings.delete(name);
        });
      },
    });
  return { run, started, endings, mostAtOnce: () => most };
}

async function finishAll({ endings }: ReturnType<typeof bench>): Promise<void> {
  while (endings.size > 0) {
    for (const [name, { resolve }] of endings) resolve(name);
    await settled();
  }
}

test('no more than so many run at once, and all that waited run in their order', async () => {
  const { run, started, endings, mostAtOnce } = bench({ atOnce: 2, waiting: 32, waitingPerOrigin: 4 });
  const names = ['a', 'b', 'c', 'd', 'e'];
  const results = names.map((name) => run(name));
  await settled();
  assert.deepEqual(started, ['a', 'b']);
  endings.get('b')?.resolve('b');
  await settled();
  assert.deepEqual(started, ['a', 'b', 'c']);
  await finishAll({ run, started, endings, mostAtOnce });
  assert.deepEqual(await Promise.all(results), names);
  assert.equal(mostAtOnce(), 2);
});

test('who finds no room to wait is told at once', async () => {
  const all = bench({ atOnce: 1, waiting: 2, waitingPerOrigin: 4 });
  const kept = ['a', 'b', 'c'].map((name) => all.run(name));
  assert.equal(await all.run('d'), 'busy');
  await finishAll(all);
  assert.deepEqual(await Promise.all(kept), ['a', 'b', 'c']);
  assert.deepEqual(all.started, ['a', 'b', 'c']);
});

test('one origin takes no more than its places, known keys included', async () => {
  const all = bench({ atOnce: 1, waiting: 32, waitingPerOrigin: 2 });
  const kept = ['a', 'b', 'c'].map((name) => all.run(name, { origin: 'x' }));
  assert.equal(await all.run('d', { origin: 'x' }), 'busy');
  assert.equal(await all.run('e', { origin: 'x', preferred: true }), 'busy');
  const other = all.run('f', { origin: 'y' });
  await finishAll(all);
  assert.deepEqual(await Promise.all([...kept, other]), ['a', 'b', 'c', 'f']);
});

test('a place is free again once its work is done', async () => {
  const all = bench({ atOnce: 1, waiting: 1, waitingPerOrigin: 1 });
  for (const round of ['1', '2', '3']) {
    const [first, second] = [all.run(`a${round}`, { origin: 'x' }), all.run(`b${round}`, { origin: 'x' })];
    assert.equal(await all.run(`c${round}`, { origin: 'x' }), 'busy');
    await settled();
    await finishAll(all);
    assert.deepEqual(await Promise.all([first, second]), [`a${round}`, `b${round}`]);
  }
});

test('known keys go first, in their own order', async () => {
  const all = bench({ atOnce: 1, waiting: 32, waitingPerOrigin: 4 });
  const results = [
    all.run('running'),
    all.run('unknown 1'),
    all.run('unknown 2'),
    all.run('known 1', { preferred: true }),
    all.run('known 2', { preferred: true }),
  ];
  await settled();
  await finishAll(all);
  await Promise.all(results);
  assert.deepEqual(all.started, ['running', 'known 1', 'known 2', 'unknown 1', 'unknown 2']);
});

test('a known key takes the last place of an unknown one, never of another known one', async () => {
  const all = bench({ atOnce: 1, waiting: 2, waitingPerOrigin: 4 });
  const running = all.run('running');
  const unknown = [all.run('unknown 1'), all.run('unknown 2')];
  const known = [all.run('known 1', { preferred: true }), all.run('known 2', { preferred: true })];
  assert.deepEqual(await Promise.all(unknown), ['busy', 'busy']);
  assert.equal(await all.run('known 3', { preferred: true }), 'busy');
  await settled();
  await finishAll(all);
  assert.deepEqual(await Promise.all([running, ...known]), ['running', 'known 1', 'known 2']);
});

test('work that fails gives its place to the next and rejects with its own error', async () => {
  const all = bench({ atOnce: 1, waiting: 4, waitingPerOrigin: 4 });
  const first = all.run('a');
  const second = all.run('b');
  await settled();
  all.endings.get('a')?.reject(new Error('broken'));
  await assert.rejects(first, /broken/);
  await settled();
  await finishAll(all);
  assert.equal(await second, 'b');
});

test('work that throws before it starts to wait gives its place back as well', async () => {
  const gate = createBoundedWork({ atOnce: 1, waiting: 0, waitingPerOrigin: 0 });
  const broken = {
    origin: 'x',
    preferred: false,
    work: () => {
      throw new Error('at once');
    },
  };
  await assert.rejects(gate.run(broken), /at once/);
  assert.equal(await gate.run({ ...broken, work: async () => 'fine' }), 'fine');
});
