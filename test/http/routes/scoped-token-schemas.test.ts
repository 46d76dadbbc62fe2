/** Members of a request for a scoped token (contract section 5.1): every vector with its code, and what is pointed at. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TtlMembers } from '../../../src/domain/formats/ttl.ts';
import { WritError } from '../../../src/errors.ts';
import { requireAddressList } from '../../../src/http/routes/scoped-token-restrictions.ts';
import { ttlSecondsOf } from '../../../src/http/routes/scoped-token-schemas.ts';
import cidr from '../../vectors/cidr.json' with { type: 'json' };
import vectors from '../../vectors/scopes.json' with { type: 'json' };

/** The result, else the code and the member pointed at. */
function outcome(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof WritError)) throw error;
    return `${error.code} ${error.details?.['pointer']}`;
  }
}

test('every address entry vector is accepted, or INVALID_IP_ALLOWLIST at its place', () => {
  for (const { entry, accept, error } of cidr.entries) {
    const [alone, third] = [[entry], ['10.0.0.1', '::/0', entry]];
    const refused = (at: string) => (accept ? undefined : `${error} ${at}`);
    assert.equal(
      outcome(() => requireAddressList(alone, '/allowed_ips')),
      refused('/allowed_ips/0'),
      entry,
    );
    assert.equal(
      outcome(() => requireAddressList(third, '/ip_allowlist')),
      refused('/ip_allowlist/2'),
      entry,
    );
  }
});

test('a list of none or of more than 64 is INVALID_IP_ALLOWLIST as a whole', () => {
  const full = Array.from({ length: cidr.max_entries }, (_, index) => `10.0.0.${index}`);
  assert.equal(
    outcome(() => requireAddressList(full, '/allowed_ips')),
    undefined,
  );
  for (const list of [[], [...full, '10.0.1.1']]) {
    assert.equal(
      outcome(() => requireAddressList(list, '/allowed_ips')),
      'INVALID_IP_ALLOWLIST /allowed_ips',
    );
  }
});

test('every ttl vector is the seconds or the code listed, at the spelling that was used', () => {
  for (const { body, seconds, error } of vectors.ttl) {
    const at = 'ttl' in body ? '/ttl' : '/ttl_seconds';
    const members = body as TtlMembers;
    assert.equal(
      outcome(() => ttlSecondsOf(members)),
      seconds ?? `${error} ${at}`,
      JSON.stringify(body),
    );
  }
});

test('two spellings of a lifetime that differ are VALIDATION_ERROR, whichever is right', () => {
  for (const members of [
    { ttl: '15m', ttl_seconds: 901 },
    { ttl: 600, ttl_seconds: 601 },
    { ttl: 1, ttl_seconds: 600 },
  ]) {
    assert.equal(
      outcome(() => ttlSecondsOf(members)),
      'VALIDATION_ERROR /ttl',
    );
  }
});
