/** Guarantees that the lock file names packages and their hashes, and no address that only one network can reach. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readText } from '../support/markdown.ts';

type Entry = Record<string, unknown>;
const lock = JSON.parse(readText('package-lock.json')) as { packages: Record<string, Entry> };
const manifest = JSON.parse(readText('package.json')) as Entry;

test('the lock file carries no addresses', () => {
  assert.ok(Object.keys(lock.packages).length > 50);
  assert.deepEqual(addressesIn(lock.packages), []);
});

test('an address would be found', () => {
  const planted = {
    a: { resolved: 'https://registry.example/a.tgz' },
    b: { resolved: 'file:../b' },
    c: { dependencies: { d: 'git+ssh://git@host.example/d.git' } },
    e: { funding: { url: 'https://e.example' }, version: '1.0.0' },
  };
  assert.deepEqual(addressesIn(planted), ['a', 'b', 'c']);
});

test('every package of the lock file has a hash', () => {
  const without = Object.entries(lock.packages).filter(
    ([path, entry]) => path !== '' && typeof entry['integrity'] !== 'string' && entry['inBundle'] !== true,
  );
  assert.deepEqual(
    without.map(([path]) => path),
    [],
  );
});

test('the lock file belongs to the manifest, whose versions are exact', () => {
  const root = lock.packages[''] ?? {};
  for (const kind of ['dependencies', 'devDependencies']) {
    assert.deepEqual(root[kind], manifest[kind]);
    for (const [name, version] of Object.entries(manifest[kind] as Record<string, string>)) {
      assert.match(version, /^\d+\.\d+\.\d+(-[\w.]+)?$/, name);
    }
  }
});

/** Where somebody takes donations is no address to fetch from. */
function addressesIn(packages: Record<string, Entry>): string[] {
  return Object.entries(packages).flatMap(([path, { funding: _, ...entry }]) =>
    'resolved' in entry || JSON.stringify(entry).includes('://') ? [path] : [],
  );
}
