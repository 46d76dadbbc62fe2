/** Guarantees of a client's address (contract section 5.3), against `vectors/cidr.json`: nobody chooses their own. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import * as client from '../../../src/domain/network/client-address.ts';
import {
  type AddressBlock,
  parseAddressBlocks,
  parseClientAddress,
} from '../../../src/domain/network/ip-address.ts';
import { assertCostsUnder } from '../../support/duration.ts';
import { PROPERTY_RUNS } from '../../support/effort.ts';
import vectors from '../../vectors/cidr.json' with { type: 'json' };
import { notTexts, untyped } from '../wrong-types.ts';

/** The address as it is written. */
function clientAddress(request: client.ForwardedRequest) {
  const read = client.clientAddress(request);
  return read.ok ? { ok: true, address: read.address.text } : read;
}

function rateLimitKey(text: string): string {
  const parsed = parseClientAddress(text);
  return client.rateLimitKey(parsed.ok ? parsed.address : undefined);
}

function trusting(...list: string[]): readonly AddressBlock[] {
  if (list.length === 0) return [];
  const parsed = parseAddressBlocks(list);
  assert.ok(parsed.ok);
  return parsed.blocks;
}

const PROXY = '192.0.2.10';
const behindProxy = (forwardedFor: string | undefined, ...more: string[]) =>
  clientAddress({ peer: PROXY, forwardedFor, trustedProxies: trusting(`${PROXY}/32`, ...more) });

test('every forwarded vector names the client listed', () => {
  assert.ok(vectors.forwarded.length >= 6);
  for (const { trust_proxy, peer, xff, client: named } of vectors.forwarded) {
    if (peer === '-') {
      // A configuration that trusts everyone, or a number of hops, is no list of blocks.
      for (const value of ['true', '1', true, 1])
        assert.equal(parseAddressBlocks([value]).ok, false, trust_proxy);
      continue;
    }
    const trustedProxies = trust_proxy === '(unset)' ? [] : trusting(trust_proxy);
    const expected = named.startsWith('unparseable')
      ? { ok: false, seen: xff }
      : { ok: true, address: named };
    assert.deepEqual(clientAddress({ peer, forwardedFor: xff, trustedProxies }), expected, `${peer} ${xff}`);
  }
});

test('attack: what a client writes into X-Forwarded-For itself never names the client', () => {
  const spoof = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.constantFrom('', PROXY, '127.0.0.1', '::1', 'unknown', ' ', '"', 'for=1.2.3.4'),
  );
  fc.assert(
    fc.property(fc.array(spoof, { maxLength: 5 }), (spoofed) => {
      const answer = { ok: true, address: '198.51.100.7' };
      assert.deepEqual(behindProxy([...spoofed, '198.51.100.7'].join(', ')), answer);
      const direct = {
        peer: '198.51.100.7',
        forwardedFor: spoofed.join(','),
        trustedProxies: trusting(`${PROXY}/32`),
      };
      assert.deepEqual(clientAddress(direct), answer);
    }),
  );
});

test('through several proxies, the right-most address that none of them owns is the client', () => {
  assert.deepEqual(behindProxy('1.1.1.1, 8.8.8.8, 10.0.0.2, 10.0.0.3', '10.0.0.0/8'), {
    ok: true,
    address: '8.8.8.8',
  });
  assert.deepEqual(behindProxy('8.8.8.8,10.0.0.2'), { ok: true, address: '10.0.0.2' });
});

test('a trusted proxy is known in every spelling of its address, and no other address by a spelling like it', () => {
  for (const spelling of [PROXY, `::ffff:${PROXY}`, '::FFFF:c000:20a', '0:0:0:0:0:ffff:192.0.2.10']) {
    assert.deepEqual(behindProxy(`8.8.8.8, ${spelling}`), { ok: true, address: '8.8.8.8' }, spelling);
  }
  const linkLocal = trusting('fe80::1');
  const hop = { peer: 'fe80::1%eth0', forwardedFor: '8.8.8.8, fe80::1%eth1', trustedProxies: linkLocal };
  assert.deepEqual(clientAddress(hop), { ok: true, address: '8.8.8.8' });
  for (const [spelling, address] of [
    [`::${PROXY}`, '::c000:20a'],
    ['2002:c000:20a::', '2002:c000:20a::'],
    ['192.0.2.100', '192.0.2.100'],
  ] as const) {
    assert.deepEqual(behindProxy(`8.8.8.8, ${spelling}`), { ok: true, address }, spelling);
  }
  for (const spelling of ['0300.0.2.10', '192.0.522', '3221225994', `${PROXY}%eth0`, `${PROXY}:443`]) {
    assert.deepEqual(behindProxy(`8.8.8.8, ${spelling}`), { ok: false, seen: spelling });
  }
});

test('any header is read from the right: the first entry that is not trusted answers, be it an address or none', () => {
  const proxies = ['10.0.0.1', '10.9.9.9', PROXY];
  const clients = ['8.8.8.8', '2001:db8::1', '192.0.2.11'];
  const entry = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...proxies) },
    { weight: 1, arbitrary: fc.constantFrom(...clients) },
    { weight: 1, arbitrary: fc.constantFrom('', 'unknown', '010.0.0.1', '10.0.0.1:80') },
  );
  fc.assert(
    fc.property(fc.array(entry, { minLength: 1, maxLength: 6 }), (entries) => {
      const [last = '', ...others] = entries.toReversed();
      const first = [last, ...others].find((text) => !proxies.includes(text)) ?? last;
      const isAddress = [...proxies, ...clients].includes(first);
      const expected = isAddress ? { ok: true, address: first } : { ok: false, seen: first };
      assert.deepEqual(behindProxy(entries.join(','), '10.0.0.0/8'), expected);
    }),
    { numRuns: PROPERTY_RUNS },
  );
});

test('if every entry is trusted, the right-most is the client', () => {
  assert.deepEqual(behindProxy('10.0.0.1, 10.0.0.2', '10.0.0.0/8'), { ok: true, address: '10.0.0.2' });
});

test('a trusted peer without the header is the client itself', () => {
  assert.deepEqual(behindProxy(undefined), { ok: true, address: PROXY });
});

test('an entry that is no address is refused and named, not skipped', () => {
  for (const entry of [
    'unknown',
    '_hidden',
    '10.0.0.1:443',
    '[::1]',
    '010.0.0.1',
    '10.0.0.1/32',
    '"1.2.3.4"',
    'for=1.2.3.4',
  ]) {
    assert.deepEqual(behindProxy(`8.8.8.8, ${entry}`), { ok: false, seen: entry });
  }
  for (const header of ['', ' ', ',', '8.8.8.8,', '8.8.8.8, ,', '8.8.8.8,,192.0.2.10', `8.8.8.8,,${PROXY}`]) {
    assert.deepEqual(behindProxy(header), { ok: false, seen: '' }, JSON.stringify(header));
  }
});

test('blanks around an entry are dropped, no other white space is', () => {
  assert.deepEqual(behindProxy('1.1.1.1 ,\t 8.8.8.8\t '), { ok: true, address: '8.8.8.8' });
  for (const space of ['\u00a0', '\n', '\r', '\v', '\u2003', '\ufeff']) {
    assert.equal(behindProxy(`8.8.8.8${space}`).ok, false, JSON.stringify(space));
  }
});

test('the address is written in one way, without zone, and a mapped one as IPv4', () => {
  const direct = (peer: string) => clientAddress({ peer, forwardedFor: undefined, trustedProxies: [] });
  assert.deepEqual(direct('::ffff:10.0.0.1'), { ok: true, address: '10.0.0.1' });
  assert.deepEqual(direct('FE80:0::1%eth0'), { ok: true, address: 'fe80::1' });
  assert.deepEqual(behindProxy('2001:DB8:0::1'), { ok: true, address: '2001:db8::1' });
});

test('a trusted IPv4 proxy is trusted on an IPv6 socket too, and no other peer is', () => {
  const from = (peer: string) =>
    clientAddress({ peer, forwardedFor: '8.8.8.8', trustedProxies: trusting('10.0.0.0/8') });
  assert.deepEqual(from('::ffff:10.0.0.1'), { ok: true, address: '8.8.8.8' });
  assert.deepEqual(from('::10.0.0.1'), { ok: true, address: '::a00:1' });
  assert.deepEqual(from('2002:a00:1::'), { ok: true, address: '2002:a00:1::' });
});

test('a peer that cannot be read is refused', () => {
  for (const peer of ['', 'localhost', '010.0.0.1', '10.0.0.1:80', ...notTexts('10.0.0.1')]) {
    const answer = clientAddress({
      peer: untyped(peer),
      forwardedFor: '8.8.8.8',
      trustedProxies: trusting('0.0.0.0/0'),
    });
    assert.equal(answer.ok, false, String(peer));
  }
});

test('what is named in a refusal is short and printable', () => {
  const answer = behindProxy(`\u001b[31m<é>\0${'x'.repeat(5000)}`);
  assert.deepEqual(answer, { ok: false, seen: `?[31m<?>?${'x'.repeat(55)}` });
});

test('a header full of blanks or commas is decided at once', () => {
  const blanks = ' '.repeat(200_000);
  assertCostsUnder({ floors: 500 }, () => {
    for (const header of [`${blanks}x`, `x${blanks}x`, blanks, ','.repeat(200_000), '::1,'.repeat(50_000)]) {
      assert.equal(behindProxy(header).ok, false);
    }
  });
});

test('an IPv4 address is counted by itself, an IPv6 address by its /64', () => {
  assert.equal(rateLimitKey('10.0.0.1'), '10.0.0.1');
  assert.equal(rateLimitKey('::ffff:10.0.0.1'), '10.0.0.1');
  assert.equal(rateLimitKey('2001:db8:0:1:2:3:4:5'), '2001:db8:0:1::/64');
  assert.equal(rateLimitKey('2001:DB8:0:1::%eth0'), '2001:db8:0:1::/64');
  assert.notEqual(rateLimitKey('2001:db8:0:2::1'), rateLimitKey('2001:db8:0:1::1'));
  assert.notEqual(rateLimitKey('10.0.0.1'), rateLimitKey('10.0.0.2'));
});

test('any two addresses of one /64 are counted together, those of two are not', () => {
  const octets = fc.uint8Array({ minLength: 16, maxLength: 16 });
  const write = (bytes: Iterable<number>) =>
    (
      Buffer.from([...bytes])
        .toString('hex')
        .match(/.{4}/g) ?? []
    ).join(':');
  fc.assert(
    fc.property(octets, octets, fc.nat({ max: 63 }), (one, other, bit) => {
      const [site, host] = [[...one.subarray(0, 8)], other.subarray(8)];
      const elsewhere = site.map((octet, index) =>
        index === bit >> 3 ? octet ^ (0x80 >> (bit & 7)) : octet,
      );
      assert.equal(rateLimitKey(write(one)), rateLimitKey(write([...site, ...host])));
      assert.notEqual(rateLimitKey(write(one)), rateLimitKey(write([...elsewhere, ...host])));
    }),
  );
});

test('texts that are no address share one count, which is no address', () => {
  for (const text of ['', 'unknown', '10.1', '::1/64', ...notTexts('10.0.0.1')]) {
    assert.equal(rateLimitKey(untyped(text)), 'unreadable');
  }
  assert.equal(parseClientAddress(rateLimitKey('x')).ok, false);
});
