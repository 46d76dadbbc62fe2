/** What an approval names is read as it was written, and what nobody wrote opens nothing. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  formatBoundSecret,
  highestTierOf,
  parseBoundSecret,
} from '../../../src/domain/secrets/bound-secrets.ts';

const SECRET = {
  id: '0190c0de-0000-7000-8000-00000000000a',
  path: 'prod/db/PASSWORD',
  tier: 'critical',
} as const;

test('what is bound is read as it was written', () => {
  const text = formatBoundSecret(SECRET);
  assert.equal(text, 'critical 0190c0de-0000-7000-8000-00000000000a prod/db/PASSWORD');
  assert.deepEqual(parseBoundSecret(text), SECRET);
});

test('what is not of that form is none', () => {
  const { id, path } = SECRET;
  for (const text of [
    '',
    'critical',
    `critical ${id}`,
    `critical ${id} `,
    `Critical ${id} ${path}`,
    `any ${id} ${path}`,
    ` critical ${id} ${path}`,
    `critical ${id} ${path} `,
    `critical ${id} ${path} more`,
    `critical ${id.slice(1)} ${path}`,
    `critical ${id} PASSWORD`,
    `critical ${id} prod//PASSWORD`,
  ]) {
    assert.equal(parseBoundSecret(text), undefined, text);
  }
});

test('the highest tier is that of the highest, and standard of none', () => {
  assert.equal(highestTierOf([]), 'standard');
  assert.equal(highestTierOf([{ tier: 'sensitive' }]), 'sensitive');
  assert.equal(
    highestTierOf([{ tier: 'sensitive' }, { tier: 'critical' }, { tier: 'sensitive' }]),
    'critical',
  );
});
