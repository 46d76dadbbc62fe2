/** Keys by address: cached, refreshed seldom, shared between concurrent verifications, and never used once stale. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fetchedKeys } from '../../src/verify/jwks-source.ts';
import { VerificationError } from '../../src/verify/verification-error.ts';
import { aSigner, type TestSigner } from './signed-tokens.ts';

const URL_OF_KEYS = 'https://writ.example/.well-known/jwks.json';
const [one, two] = [aSigner(), aSigner()];

/** A source over a server whose answers, and clocks, are the test's. */
function aSource() {
  const state = { monotonicMs: 1000, wallMs: 5_000_000, downloads: 0, answer: async () => jwksOf(one) };
  const find = fetchedKeys({
    url: URL_OF_KEYS,
    download: (url) => {
      assert.equal(url, URL_OF_KEYS);
      state.downloads += 1;
      return state.answer();
    },
    now: () => ({ monotonicMs: state.monotonicMs, wallMs: state.wallMs }),
  });
  const pass = (seconds: number): void => {
    state.monotonicMs += seconds * 1000;
    state.wallMs += seconds * 1000;
  };
  const finds = async (signer: TestSigner): Promise<boolean> => (await find(signer.kid))?.kid === signer.kid;
  const fails = (signer: TestSigner): Promise<void> =>
    assert.rejects(find(signer.kid), (error) => {
      assert.ok(error instanceof VerificationError);
      assert.equal(error.code, 'KEYS_UNAVAILABLE');
      return true;
    });
  return { state, pass, finds, fails };
}

const jwksOf = (...signers: readonly TestSigner[]): string =>
  JSON.stringify({ keys: signers.map(({ jwk }) => jwk) });
const outage = async (): Promise<string> => {
  throw new Error('connection refused');
};

test('keys are fetched once and used for five minutes', async () => {
  const { state, pass, finds } = aSource();
  assert.equal(state.downloads, 0, 'not before they are needed');
  for (let second = 0; second < 300; second += 50) {
    assert.ok(await finds(one));
    pass(50);
  }
  assert.equal(state.downloads, 1);
  assert.ok(await finds(one));
  assert.equal(state.downloads, 2);
});

test('concurrent verifications cause one fetch', async () => {
  const { state, finds } = aSource();
  const found = await Promise.all(
    Array.from({ length: 50 }, (_, index) => finds(index % 2 === 0 ? one : two)),
  );
  assert.deepEqual(
    found,
    Array.from({ length: 50 }, (_, index) => index % 2 === 0),
  );
  assert.equal(state.downloads, 1);
});

test('those that come while a fetch is under way wait for it', async () => {
  const { state, finds } = aSource();
  let arrive: (text: string) => void = () => assert.fail();
  state.answer = () =>
    new Promise((resolve) => {
      arrive = resolve;
    });
  const first = finds(one);
  await Promise.resolve();
  const second = finds(two);
  arrive(jwksOf(one, two));
  assert.deepEqual(await Promise.all([first, second]), [true, true]);
  assert.equal(state.downloads, 1);
});

test('a known key is served while a fetch for an unknown one is under way', async () => {
  const { state, pass, finds } = aSource();
  await finds(one);
  pass(30);
  state.answer = () => new Promise(() => {});
  const unknown = finds(two);
  assert.ok(await finds(one));
  assert.equal(state.downloads, 2);
  assert.equal(await Promise.race([unknown, Promise.resolve('still waiting')]), 'still waiting');
});

test('an unknown kid causes a fetch, and a new key is found by it', async () => {
  const { state, pass, finds } = aSource();
  await finds(one);
  pass(30);
  state.answer = async () => jwksOf(one, two);
  assert.ok(await finds(two));
  assert.ok(await finds(one));
  assert.equal(state.downloads, 2);
});

test('unknown kids cause at most one fetch in 30 s', async () => {
  const { state, pass, finds } = aSource();
  await finds(one);
  for (let second = 0; second < 30; second += 1) {
    assert.equal(await finds(two), false);
    pass(1);
  }
  assert.equal(state.downloads, 1);
  for (let second = 30; second < 300; second += 1) {
    assert.equal(await finds(aSigner()), false);
    pass(1);
  }
  assert.equal(state.downloads, 10);
});

test('a key that is no longer published is refused once the set is fetched again', async () => {
  const { state, pass, finds } = aSource();
  await finds(one);
  state.answer = async () => jwksOf(two);
  pass(299);
  assert.ok(await finds(one));
  pass(1);
  assert.equal(await finds(one), false);
});

test('stale keys are never used: during an outage every verification fails', async () => {
  const { state, pass, finds, fails } = aSource();
  await finds(one);
  state.answer = outage;
  pass(299);
  assert.ok(await finds(one), 'fresh ones serve through an outage');
  for (let second = 0; second < 120; second += 1) {
    pass(1);
    await fails(one);
  }
  state.answer = async () => jwksOf(one);
  pass(3);
  assert.ok(await finds(one));
});

test('during an outage there is one attempt in three seconds, whatever is asked', async () => {
  const { state, pass, fails } = aSource();
  state.answer = outage;
  for (let tenth = 0; tenth < 300; tenth += 1) {
    await fails(tenth % 2 === 0 ? one : two);
    pass(0.1);
  }
  assert.ok(state.downloads >= 9 && state.downloads <= 11, String(state.downloads));
});

test('an unknown kid during an outage is not said to be unknown, and known ones are served', async () => {
  const { state, pass, finds, fails } = aSource();
  await finds(one);
  state.answer = outage;
  pass(30);
  await fails(two);
  await fails(two);
  assert.ok(await finds(one));
  assert.equal(state.downloads, 2);
});

test('a machine that slept does not use the keys that it slept over, whichever clock stood still', async () => {
  for (const clock of ['monotonicMs', 'wallMs'] as const) {
    const { state, finds, fails } = aSource();
    await finds(one);
    state.answer = outage;
    state[clock] += 300_000;
    await fails(one);
  }
});

test('a clock that is set back does not make keys last longer', async () => {
  const { state, finds, fails } = aSource();
  await finds(one);
  state.answer = outage;
  state.wallMs -= 86_400_000;
  assert.ok(await finds(one));
  state.monotonicMs += 300_000;
  await fails(one);
});

test('a clock that has no time lets no key be used', async () => {
  const { state, finds, fails } = aSource();
  await finds(one);
  state.wallMs = Number.NaN;
  await fails(one);
});

const NO_KEY_SETS: Readonly<Record<string, string>> = {
  'no JSON': '<!doctype html>',
  nothing: '',
  null: 'null',
  'a list': `[${JSON.stringify(one.jwk)}]`,
  'no keys': '{}',
  'keys that are no list': '{"keys":{}}',
  'too many keys': JSON.stringify({ keys: Array.from({ length: 65 }, () => one.jwk) }),
};
for (const [name, text] of Object.entries(NO_KEY_SETS)) {
  test(`an answer that is no key set replaces none: ${name}`, async () => {
    const { state, pass, finds, fails } = aSource();
    await finds(one);
    state.answer = async () => text;
    pass(30);
    await fails(two);
    assert.ok(await finds(one));
    pass(270);
    await fails(one);
  });
}

test('an answer without usable keys is one: then no kid is known', async () => {
  const { state, finds } = aSource();
  state.answer = async () => '{"keys":[{"kty":"EC"},null,1]}';
  assert.equal(await finds(one), false);
});
