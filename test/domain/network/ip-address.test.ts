/** Guarantees of addresses and address lists (contract section 5.3), against `vectors/cidr.json`. */

import assert from 'node:assert/strict';
import { BlockList } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import * as address from '../../../src/domain/network/ip-address.ts';
import { RARE_CASE_RUNS } from '../../support/effort.ts';
import vectors from '../../vectors/cidr.json' with { type: 'json' };
import { notTexts, untyped } from '../wrong-types.ts';

const { addressInBlocks, parseAddressBlock, parseAddressBlocks, parseClientAddress } = address;

/** From the text on, as a server reads a client's address. */
function addressAllowed(text: string, blocks: readonly address.AddressBlock[] | null): boolean {
  const parsed = parseClientAddress(text);
  return address.addressAllowed(parsed.ok ? parsed.address : undefined, blocks);
}

function blocksOf(list: string[]): readonly address.AddressBlock[] {
  const parsed = parseAddressBlocks(list);
  assert.ok(parsed.ok, String(list));
  return parsed.blocks;
}

function textOf(client: string): string | undefined {
  const parsed = parseClientAddress(client);
  return parsed.ok ? parsed.address.text : undefined;
}

const shown = (entry: string) => {
  const parsed = parseAddressBlock(entry);
  return parsed.ok ? `${parsed.block.network}/${parsed.block.prefix}` : undefined;
};

test('every entry vector is accepted or refused as listed', () => {
  assert.ok(vectors.entries.length >= 25);
  for (const row of vectors.entries) {
    const parsed = parseAddressBlock(row.entry);
    assert.equal(parsed.ok, row.accept, JSON.stringify(row.entry));
    assert.equal(parseAddressBlocks([row.entry]).ok, row.accept, JSON.stringify(row.entry));
    if (!parsed.ok) continue;
    const { family, network, prefix } = parsed.block;
    assert.deepEqual(
      { family, network, prefix },
      { family: row.family, network: row.network, prefix: row.prefix },
    );
  }
});

test('every match vector is decided as listed', () => {
  assert.ok(vectors.matches.length >= 20);
  for (const { allowed_ips, client, allow } of vectors.matches) {
    const blocks = allowed_ips === null ? null : blocksOf(allowed_ips);
    assert.equal(addressAllowed(client, blocks), allow, `${allowed_ips} on ${JSON.stringify(client)}`);
  }
});

test('a list has 1 to 64 entries, and a fault in it is pointed at', () => {
  assert.equal(address.MAX_ADDRESS_BLOCKS, vectors.max_entries);
  const full = Array.from({ length: 64 }, (_, index) => `10.0.0.${index}`);
  assert.equal(blocksOf(full).length, 64);
  const pointer = (list: unknown) => {
    const parsed = parseAddressBlocks(untyped(list));
    return parsed.ok ? 'accepted' : parsed.pointer;
  };
  for (const list of [
    [],
    [...full, '10.0.1.1'],
    '10.0.0.1',
    null,
    undefined,
    {},
    1,
    { 0: '10.0.0.1', length: 1 },
  ]) {
    assert.equal(pointer(list), '', JSON.stringify(list));
  }
  for (const entry of ['10.1.2.3/8', 'localhost', '', ...notTexts('10.0.0.1')]) {
    assert.equal(pointer(['10.0.0.1', entry]), '/1', String(entry));
  }
});

test('a prefix is a plain number within the family, and host bits are zero', () => {
  const refused = [
    '1.2.3.4/',
    '1.2.3.4/00',
    '1.2.3.4/032',
    '1.2.3.4/+32',
    '1.2.3.4/3 2',
    '1.2.3.4/32/32',
    '1.2.3.4/1e1',
    '/8',
    '/',
  ];
  refused.push(
    '1.2.3.4/31.0',
    '0.0.0.0/-0',
    '::/0128',
    '::/129',
    '::1/127',
    '2001:db8::1/64',
    '128.0.0.0/0',
    '10.0.0.1/31',
    '::/٣',
  );
  refused.push(
    '10.0.0.0/8%eth0',
    '::1%lo/128',
    '::ffff:11.0.0.0/103',
    '::ffff:0.0.0.0/95',
    '::ffff:10.0.0.1/127',
  );
  for (const entry of refused) assert.equal(shown(entry), undefined, entry);
  for (const [entry, expected] of [
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['::/0', '::/0'],
    ['128.0.0.0/1', '128.0.0.0/1'],
    ['10.0.0.1', '10.0.0.1/32'],
    ['2001:DB8::/33', '2001:db8::/33'],
  ]) {
    assert.equal(shown(entry ?? ''), expected);
  }
});

test('an IPv4-mapped block is that IPv4 block, however it is written', () => {
  for (const [entry, expected] of [
    ['::ffff:10.0.0.1', '10.0.0.1/32'],
    ['::FFFF:a00:1', '10.0.0.1/32'],
    ['0:0:0:0:0:ffff:10.0.0.0/104', '10.0.0.0/8'],
    ['::ffff:0:0/96', '0.0.0.0/0'],
  ] as const) {
    assert.equal(shown(entry), expected);
  }
});

test('attack: no IPv6 spelling of an IPv4 address gets past its family', () => {
  const everyIpv6 = blocksOf(['::/0']);
  const everyIpv4 = blocksOf(['0.0.0.0/0']);
  for (const client of ['10.0.0.1', '::ffff:10.0.0.1', '::ffff:a00:1', '0:0:0:0:0:FFFF:0a00:0001']) {
    assert.equal(addressAllowed(client, everyIpv6), false, client);
    assert.equal(addressAllowed(client, everyIpv4), true, client);
    assert.equal(textOf(client), '10.0.0.1');
  }
  // IPv4-compatible, 6to4, NAT64 and ISATAP-like addresses are IPv6 and nothing else.
  for (const client of [
    '::10.0.0.1',
    '2002:a00:1::',
    '64:ff9b::10.0.0.1',
    '::ffff:0:10.0.0.1',
    '::fffe:10.0.0.1',
  ]) {
    assert.equal(addressAllowed(client, everyIpv4), false, client);
    assert.equal(addressAllowed(client, everyIpv6), true, client);
  }
});

test('attack: a text that two readers take for different hosts is let in by no list', () => {
  const everyone = blocksOf(['0.0.0.0/0', '::/0']);
  const attacks = [
    '010.0.0.1',
    '0x0a.0.0.1',
    '10.1',
    '167772161',
    '10.0.0.1:80',
    '[::1]',
    '10.0.0.1,10.0.0.2',
    '',
    ' 10.0.0.1',
  ];
  attacks.push(
    '10.0.0.1\n',
    '10.0.0.1\0',
    '１０.0.0.1',
    '10.0.0.1/32',
    '10.0.0.1%eth0',
    '::1%',
    '::1%a b',
    '%eth0',
    '::1%a%b',
    '::1%é',
  );
  for (const client of attacks) assert.equal(addressAllowed(client, everyone), false, JSON.stringify(client));
  for (const value of notTexts('10.0.0.1')) assert.equal(addressAllowed(untyped(value), everyone), false);
  assert.equal(addressAllowed('10.0.0.1', []), false);
});

test('the zone of a client is dropped, whatever it names', () => {
  for (const zone of ['eth0', '1', 'br-1.2', 'a:b']) assert.equal(textOf(`fe80::1%${zone}`), 'fe80::1');
  assert.equal(textOf('::ffff:10.0.0.1%eth0'), '10.0.0.1');
});

test('an address is written in one way: as a URL writes it', () => {
  fc.assert(
    fc.property(fc.ipV6(), (text) => {
      const written = textOf(text);
      const host = new URL(`http://[${text}]/`).hostname.slice(1, -1);
      const mapped = /^::ffff:([0-9a-f]+):([0-9a-f]+)$/.exec(host);
      if (mapped === null) return assert.equal(written, host);
      const octets = [mapped[1], mapped[2]].flatMap((part) => [
        ...Buffer.from(part?.padStart(4, '0') ?? '', 'hex'),
      ]);
      return assert.equal(written, octets.join('.'));
    }),
    { numRuns: RARE_CASE_RUNS },
  );
});

test('a decision equals that of net.BlockList, within a family', () => {
  const near = (family: 4 | 6, bits: number) =>
    fc
      .tuple(
        fc.uint8Array({ minLength: bits / 8, maxLength: bits / 8 }),
        fc.nat({ max: bits }),
        fc.nat({ max: bits - 1 }),
      )
      .map(([octets, prefix, flipped]) => {
        const network = octets.map(
          (octet, index) => octet & ~(0xff >> Math.min(8, Math.max(0, prefix - index * 8))),
        );
        const client = octets.map((octet, index) =>
          index === flipped >> 3 ? octet ^ (0x80 >> (flipped & 7)) : octet,
        );
        return { family, prefix, network: write(network), client: write(client) };
      });
  const seen = { true: 0, false: 0 };
  fc.assert(
    fc.property(fc.oneof(near(4, 32), near(6, 128)), ({ family, prefix, network, client }) => {
      const reference = new BlockList();
      reference.addSubnet(network, prefix, `ipv${family}`);
      const expected = reference.check(client, `ipv${family}`);
      const parsed = parseClientAddress(client);
      assert.ok(parsed.ok);
      assert.equal(
        addressInBlocks(parsed.address, blocksOf([`${network}/${prefix}`])),
        expected,
        `${network}/${prefix} ${client}`,
      );
      seen[`${expected}`]++;
    }),
    { numRuns: RARE_CASE_RUNS },
  );
  assert.ok(Math.min(seen.true, seen.false) > RARE_CASE_RUNS / 10, JSON.stringify(seen));
});

function write(octets: Uint8Array): string {
  if (octets.length === 4) return octets.join('.');
  // A first group that is never 0 keeps these out of the IPv4-mapped block, where the reference reads otherwise.
  const hex = Buffer.from(octets).toString('hex').match(/.{4}/g) ?? [];
  return hex.join(':');
}
