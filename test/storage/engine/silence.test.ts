/** A database that says nothing is found out, and one that is slow, or refuses, is not. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { watchSilence } from '../../../src/storage/engine/silence.ts';
import { until } from '../../support/issuing.ts';

function watching(t: { after(work: () => void): void }, probe: () => Promise<void>) {
  const state = { isAsked: true, bytes: 0, givenUp: 0 };
  const silence = watchSilence({
    isAsked: () => state.isAsked,
    heardBytes: () => state.bytes,
    probe,
    giveUp: () => {
      state.givenUp += 1;
    },
  });
  // Its own timer keeps no process.
  const keeping = setInterval(() => {}, 1000);
  t.after(() => {
    clearInterval(keeping);
    silence.close();
  });
  return { state, silence };
}

const pass = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const unheard = () => Promise.reject(new Error('nothing is heard'));

test('who waits is given up where no query is answered and no probe, until one is', async (t) => {
  let isBack = false;
  const { state, silence } = watching(t, () => (isBack ? Promise.resolve() : unheard()));
  await until('it is found silent', async () => silence.isSilent);
  assert.ok(state.givenUp > 0);
  state.isAsked = false;
  await pass(600);
  assert.equal(silence.isSilent, true, 'nobody asks, and still nothing is heard');
  isBack = true;
  await until('it is heard again', async () => !silence.isSilent);
});

test('a statement that takes long is no silence while a probe is answered', async (t) => {
  let probes = 0;
  const { state, silence } = watching(t, async () => {
    probes += 1;
  });
  await pass(1800);
  assert.ok(probes > 0);
  assert.deepEqual([silence.isSilent, state.givenUp], [false, 0]);
});

test('nothing is probed while others are answered, nor while nobody asks', async (t) => {
  let probes = 0;
  const { state } = watching(t, async () => {
    probes += 1;
  });
  state.isAsked = false;
  await pass(1500);
  state.isAsked = true;
  for (let index = 0; index < 15; index += 1) {
    await pass(100);
    state.bytes += 1;
  }
  assert.equal(probes, 0);
});

test('an answer that comes during the probe counts', async (t) => {
  const { state, silence } = watching(t, () => {
    state.bytes += 1;
    return unheard();
  });
  await pass(1800);
  assert.deepEqual([silence.isSilent, state.givenUp], [false, 0]);
});
