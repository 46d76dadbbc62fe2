/** Guarantees that the name of a key of a service is what the service takes, or is refused: part of a path, or an ARN. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseKmsKey } from '../../../src/domain/crypto/kms-key.ts';

const ID = '1234abcd-12ab-34cd-56ef-1234567890ab';

test('a transit key is its mount and its name', () => {
  for (const [text, mount, key] of [
    ['vault:transit/keys/writ', 'transit', 'writ'],
    ['vault:team/a/transit/keys/writ-2', 'team/a/transit', 'writ-2'],
    ['vault:keys/keys/keys', 'keys', 'keys'],
    ['vault:t_1.x/keys/a.b', 't_1.x', 'a.b'],
  ] as const) {
    assert.deepEqual(parseKmsKey(text), { service: 'vault', mount, key, text });
  }
});

test('a key of AWS is an ARN, which has a region, an id or an alias', () => {
  for (const [keyId, region] of [
    [`arn:aws:kms:eu-central-1:111122223333:key/${ID}`, 'eu-central-1'],
    ['arn:aws:kms:eu-central-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab', 'eu-central-1'],
    ['arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/writ', 'us-gov-west-1'],
    [ID, undefined],
    ['alias/team/writ', undefined],
  ] as const) {
    assert.deepEqual(parseKmsKey(`aws:${keyId}`), { service: 'aws', keyId, region, text: `aws:${keyId}` });
  }
});

test('nothing else is one', () => {
  for (const text of [
    ...['', 'vault', 'vault:', 'aws:', 'file:x', 'transit/keys/writ', 'gcp:x', 'VAULT:transit/keys/writ'],
    ...['vault:writ', 'vault:keys/writ', 'vault:transit/writ', 'vault:transit/keys/', 'vault:/keys/writ'],
    ...[
      'vault:transit/keys/writ/x',
      'vault:transit//keys/writ',
      'vault:/transit/keys/writ',
      'vault:transit/keys/writ/',
    ],
    ...[
      'vault:../transit/keys/writ',
      'vault:transit/../keys/writ',
      'vault:transit/keys/..',
      'vault:./keys/x',
    ],
    ...[
      'vault:transit/keys/a b',
      'vault:transit/keys/a?b',
      'vault:transit/keys/a#b',
      'vault:transit/keys/a%2fb',
    ],
    ...['vault:transit/keys/writ\n', ' vault:transit/keys/writ', 'vault:transit/keys/größe'],
    ...['aws:alias/', 'aws:alias/a b', 'aws:key/x', `aws:arn:aws:s3:eu-central-1:111122223333:key/${ID}`],
    ...[`aws:arn:aws:kms:eu-central-1:1:key/${ID}`, `aws:arn:aws:kms::111122223333:key/${ID}`],
    ...[`aws:arn:aws:kms:EU:111122223333:key/${ID}`, `aws:${ID}\n`, `aws:${'a'.repeat(65)}`],
    `vault:transit/keys/${'a'.repeat(600)}`,
  ]) {
    assert.equal(parseKmsKey(text), undefined, JSON.stringify(text));
  }
});
