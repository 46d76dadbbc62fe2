/** Guarantees of every key management service: what Writ relies on where it has a root key wrapped. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { KmsError, type RootKeyKms } from '../../../src/keys/kms/root-key-kms.ts';

export interface KmsUnderTest {
  readonly kms: RootKeyKms;
  /** Another key of the same service. */
  readonly other: RootKeyKms;
  /** Wrapped under the key of `kms`, as by somebody else who may use it: in another context, or in none. */
  wrapElsewhere(plaintext: Uint8Array, context: 'another' | 'none'): Promise<Uint8Array>;
  /** In the context of Writ. */
  wrapAsWrit(plaintext: Uint8Array): Promise<Uint8Array>;
  /** What no error may hold. */
  readonly secrets: readonly string[];
  /** Nothing answers any more. */
  stop(): Promise<void>;
}

const NOT_BY_THIS_KEY = (keyName: string) => `${keyName} does not open the root key that the database keeps.`;

/** `open` makes a service of its own for each test. */
export function testRootKeyKms(
  name: string,
  open: (t: TestContext) => Promise<KmsUnderTest>,
  skip: string | false = false,
): void {
  const guarantee = (what: string, work: (under: KmsUnderTest, root: Buffer) => Promise<void>) =>
    test(`${name}: ${what}`, { skip }, async (t) => work(await open(t), randomBytes(32)));

  guarantee('what is wrapped opens again, as often as it is asked', async ({ kms }, root) => {
    const wrapped = await kms.wrap(root);
    assert.deepEqual(Buffer.from(await kms.unwrap(wrapped)), root);
    assert.deepEqual(Buffer.from(await kms.unwrap(Uint8Array.from(wrapped))), root);
    assert.ok(wrapped.length < 2000, `${wrapped.length} bytes`);
  });

  guarantee('what is wrapped does not show the root key, and differs each time', async ({ kms }, root) => {
    const wrapped = Buffer.from(await kms.wrap(root));
    for (const encoding of ['latin1', 'hex', 'base64', 'base64url'] as const) {
      assert.ok(!wrapped.toString('latin1').includes(root.toString(encoding)), encoding);
    }
    assert.ok(!wrapped.equals(await kms.wrap(root)));
  });

  guarantee('another key does not open it, and says so', async ({ kms, other }, root) => {
    const wrapped = await kms.wrap(root);
    await refuses(other.unwrap(wrapped), 'other-key', NOT_BY_THIS_KEY(other.keyName));
    assert.deepEqual(Buffer.from(await kms.unwrap(wrapped)), root);
  });

  guarantee('a changed byte does not open', async ({ kms }, root) => {
    const wrapped = Buffer.from(await kms.wrap(root));
    for (const at of [wrapped.length - 12, wrapped.length - 30]) {
      const changed = Buffer.from(wrapped);
      // Both are of base64, and differ in a bit that counts.
      changed[at] = changed[at] === 0x41 ? 0x7a : 0x41;
      await refuses(kms.unwrap(changed), 'other-key', NOT_BY_THIS_KEY(kms.keyName));
    }
    await refuses(kms.unwrap(wrapped.subarray(0, 20)), 'other-key', NOT_BY_THIS_KEY(kms.keyName));
  });

  guarantee('what another service has wrapped is not sent to this one', async ({ kms }, root) => {
    for (const foreign of [
      Buffer.alloc(0),
      root,
      Buffer.from('kms2:abc'),
      Buffer.from('vault:v1:'),
      Buffer.from('aws'),
    ]) {
      await refuses(kms.unwrap(foreign), 'other-key', NOT_BY_THIS_KEY(kms.keyName));
    }
  });

  guarantee(
    'what somebody else had wrapped under the same key is no root key of Writ',
    async (under, root) => {
      for (const context of ['another', 'none'] as const) {
        const wrapped = await under.wrapElsewhere(root, context);
        await refuses(under.kms.unwrap(wrapped), 'other-key', NOT_BY_THIS_KEY(under.kms.keyName));
      }
    },
  );

  guarantee('what opens to anything but 32 bytes is no root key', async (under) => {
    for (const bytes of [16, 31, 33]) {
      const wrapped = await under.wrapAsWrit(randomBytes(bytes));
      await refuses(
        under.kms.unwrap(wrapped),
        'other-key',
        `${under.kms.keyName} opens what is wrapped, and it is no root key of Writ.`,
      );
    }
  });

  guarantee('a service that is gone is a failure in one sentence without a secret', async (under, root) => {
    const wrapped = await under.kms.wrap(root);
    await under.stop();
    for (const ask of [() => under.kms.unwrap(wrapped), () => under.kms.wrap(root)]) {
      const error = await refuses(ask(), 'failed');
      assert.match(error.sentence, /does not answer \(\w+\)/);
      const said = `${error.sentence} ${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`;
      const hidden = [...under.secrets, root.toString('hex'), root.toString('base64')];
      for (const secret of hidden) assert.ok(!said.includes(secret), said);
    }
  });
}

/** The error, after looking that it tells what it should and nothing that the service said. */
export async function refuses(
  asked: Promise<unknown>,
  kind: KmsError['kind'],
  sentence?: string | RegExp,
): Promise<KmsError> {
  const error: unknown = await asked.then(
    () => assert.fail('it was not refused'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof KmsError, String(error));
  assert.equal(error.kind, kind, error.sentence);
  if (typeof sentence === 'string') assert.equal(error.sentence, sentence);
  if (sentence instanceof RegExp) assert.match(error.sentence, sentence);
  assert.equal(error.cause, undefined);
  assert.match(error.sentence, /^[^\n]{20,400}\.?$/);
  return error;
}
