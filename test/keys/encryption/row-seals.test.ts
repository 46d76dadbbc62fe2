/** Seals of rows: the published vectors, what does not fit, and that what was found whole is not hashed again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WritError } from '../../../src/errors.ts';
import { createKeyEncryption } from '../../../src/keys/encryption/key-encryption.ts';
import { createMasterKeys } from '../../../src/keys/encryption/master-keys.ts';
import { createRowSeals } from '../../../src/keys/encryption/row-seals.ts';
import type { ForgedRow } from '../../../src/use-cases/ports.ts';
import vectors from '../../vectors/row-seals.json' with { type: 'json' };

const kek = createKeyEncryption(Buffer.from(vectors.master_key, 'hex'));

function aBench(key = kek) {
  const forged: ForgedRow[] = [];
  return {
    forged,
    seals: createRowSeals({ masterKeys: createMasterKeys([key]), onForged: (row) => forged.push(row) }),
  };
}

const aRow = (message: string, seal: Uint8Array | null) => ({ table: 'secrets', id: 'x', message, seal });

test('the published seals, and the key that they are made under', () => {
  assert.equal(Buffer.from(kek.deriveKey('writ row seal')).toString('hex'), vectors.key);
  const { seals, forged } = aBench();
  for (const { message, seal } of vectors.rows) {
    assert.equal(seals.of(message).toString('hex'), kek.kekId + seal);
    assert.equal(seals.fits(aRow(message, Buffer.from(kek.kekId + seal, 'hex'))), true);
  }
  assert.deepEqual(forged, []);
});

test('no other seal fits, is told of with what does not fit, and is an INTEGRITY_ERROR', () => {
  const { seals, forged } = aBench();
  const right = seals.of('message');
  const stranger = aBench(createKeyEncryption(new Uint8Array(32))).seals;
  for (const time of ['first', 'after the right one was remembered']) {
    for (const [seal, why] of [
      [null, 'it has no seal'],
      [new Uint8Array(), 'its seal does not fit'],
      [right.subarray(1), 'its seal does not fit'],
      [Buffer.concat([right, right]), 'its seal does not fit'],
      [Buffer.alloc(32), 'its seal does not fit'],
      [Buffer.alloc(40), 'its seal is of a master key that is not in use'],
      [Buffer.concat([right.subarray(0, 8), Buffer.alloc(32)]), 'its seal does not fit'],
      [seals.of('messagf'), 'its seal does not fit'],
      [stranger.of('message'), 'its seal is of a master key that is not in use'],
    ] as const) {
      assert.equal(seals.fits(aRow('message', seal)), false, time);
      assert.deepEqual(forged.pop(), { table: 'secrets', id: 'x', why }, time);
      assert.throws(
        () => seals.require(aRow('message', seal)),
        (error) =>
          error instanceof WritError && error.code === 'INTEGRITY_ERROR' && !/secrets/.test(error.message),
      );
    }
    assert.equal(seals.fits(aRow('message', right)), true);
    seals.require(aRow('message', right));
  }
});

test('a row that was found whole is told by its content, not by its seal', () => {
  const { seals } = aBench();
  const right = seals.of('message');
  assert.equal(seals.fits(aRow('message', right)), true);
  assert.equal(seals.fits(aRow('wider', right)), false);
});

test('what is forgotten is judged anew: the memory is bounded', () => {
  const { seals, forged } = aBench();
  for (let row = 0; row < 10_050; row += 1) {
    const message = `message ${row}`;
    assert.equal(seals.fits(aRow(message, seals.of(message))), true);
  }
  const long = 'x'.repeat(5000);
  for (const message of ['message 0', 'message 10049', long, long]) {
    assert.equal(seals.fits(aRow(message, seals.of(message))), true);
  }
  assert.deepEqual(forged, []);
});
