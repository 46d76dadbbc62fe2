/** Guarantees that each lock file names packages and their hashes, and no address that only one network can reach. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readText } from '../support/markdown.ts';

type Entry = Record<string, unknown>;

for (const folder of ['', 'bench/']) {
  const lock = JSON.parse(readText(`${folder}package-lock.json`)) as { packages: Record<string, Entry> };
  const manifest = JSON.parse(readText(`${folder}package.json`)) as Entry;

  test(`${folder}package-lock.json carries no addresses`, () => {
    assert.ok(Object.keys(lock.packages).length > 50);
    assert.deepEqual(addressesIn(lock.packages), []);
  });

  test(`every package of ${folder}package-lock.json has a hash`, () => {
    const without = Object.entries(lock.packages).filter(
      ([path, entry]) => path !== '' && typeof entry['integrity'] !== 'string' && entry['inBundle'] !== true,
    );
    assert.deepEqual(
      without.map(([path]) => path),
      [],
    );
  });

  test(`${folder}package-lock.json belongs to its manifest, whose versions are exact`, () => {
    const root = lock.packages[''] ?? {};
    for (const kind of ['dependencies', 'devDependencies']) {
      assert.deepEqual(root[kind], manifest[kind]);
      for (const [name, version] of Object.entries((manifest[kind] ?? {}) as Record<string, string>)) {
        assert.match(version, /^\d+\.\d+\.\d+(-[\w.]+)?$/, name);
      }
    }
  });
}

test('what only the benchmark uses is not installed with everything else', () => {
  const { dependencies } = JSON.parse(readText('bench/package.json')) as { dependencies: object };
  const { dependencies: ours, devDependencies } = JSON.parse(readText('package.json')) as Entry;
  const twice = Object.keys(dependencies).filter(
    (name) => name in { ...(ours ?? {}), ...(devDependencies ?? {}) },
  );
  assert.deepEqual(twice, []);
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

/** Where somebody takes donations is no address to fetch from. */
function addressesIn(packages: Record<string, Entry>): string[] {
  return Object.entries(packages).flatMap(([path, { funding: _, ...entry }]) =>
    'resolved' in entry || JSON.stringify(entry).includes('://') ? [path] : [],
  );
}
