/** The signing thread: what it gives is what `node:crypto` gives here, each to whoever asked for it. */

import assert from 'node:assert/strict';
import { createSecretKey, sign } from 'node:crypto';
import { test } from 'node:test';
import { createSigningThread } from '../../../src/keys/signing/signing-thread.ts';
import { anEd25519Key } from '../../support/ed25519-keys.ts';

const [one, other] = [anEd25519Key().privateKey, anEd25519Key().privateKey];
const here = (key: typeof one, message: string): string =>
  sign(null, Buffer.from(message), key).toString('base64url');
/** No key that signs: the thread ends with an error, as it would by any fault of its own. */
const noSigningKey = createSecretKey(Buffer.alloc(32));

test('of many at once under two keys, each gets the signature over its own message', async (t) => {
  const thread = createSigningThread();
  t.after(() => thread.close());
  const asked = Array.from({ length: 200 }, (_, index) => ({
    key: index % 7 === 0 ? other : one,
    message: `message ${index}`,
  }));
  const signatures = await Promise.all(asked.map(({ key, message }) => thread.sign(key, message)));
  assert.deepEqual(
    signatures,
    asked.map(({ key, message }) => here(key, message)),
  );
});

test('one that arrives while others are signed is signed next', async (t) => {
  const thread = createSigningThread();
  t.after(() => thread.close());
  const first = thread.sign(one, 'first');
  const second = first.then(() => thread.sign(one, 'second'));
  const meanwhile = thread.sign(other, 'meanwhile');
  assert.deepEqual(await Promise.all([first, second, meanwhile]), [
    here(one, 'first'),
    here(one, 'second'),
    here(other, 'meanwhile'),
  ]);
});

test('when the thread dies, all that waited are refused, and the next is signed', async (t) => {
  const thread = createSigningThread();
  t.after(() => thread.close());
  await thread.sign(one, 'it runs');
  const lost = await Promise.allSettled([
    thread.sign(noSigningKey, 'a fault'),
    thread.sign(one, 'behind it'),
  ]);
  assert.deepEqual(
    lost.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  assert.equal(await thread.sign(one, 'after it'), here(one, 'after it'));
});

test('closing refuses what waits, and may come twice or before anything was signed', async () => {
  const unused = createSigningThread();
  await unused.close();
  const thread = createSigningThread();
  const waiting = thread.sign(one, 'too late');
  const refused = assert.rejects(waiting, /closed/);
  await thread.close();
  await thread.close();
  await refused;
});
