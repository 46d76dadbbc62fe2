/** The namespaces that some scopes may list: each of them once, in order, and no other name is shown. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { NamespaceCount } from '../../../src/use-cases/secrets/ports.ts';
import { namespacesWithin } from '../../../src/use-cases/secrets/visible-namespaces.ts';
import {
  allTexts,
  aScope,
  naiveMatches,
  SMALL_PATHS,
  SMALL_PATTERNS,
} from '../../domain/scopes/scope-universe.ts';
import { PROPERTY_RUNS } from '../../support/effort.ts';

interface Asked {
  readonly limit: number;
  readonly after: string | undefined;
}

/** A reader over these names, in their order, and what it was asked. */
function aReader(names: readonly string[]) {
  const sorted = [...names].sort();
  const asked: Asked[] = [];
  const listNamespaces = async ({ limit, after }: Asked): Promise<readonly NamespaceCount[]> => {
    asked.push({ limit, after });
    const rest = sorted.filter((name) => after === undefined || name > after);
    return rest.slice(0, limit).map((namespace) => ({ namespace, secretCount: namespace.length }));
  };
  return { reader: { listNamespaces }, asked };
}

async function allOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

async function listed(
  names: readonly string[],
  scopes: readonly string[],
  after?: string,
): Promise<string[]> {
  const found = await allOf(namespacesWithin(aReader(names).reader, scopes.map(aScope), after));
  return found.map(({ namespace }) => namespace);
}

const numbered = (count: number) =>
  Array.from({ length: count }, (_, index) => `n${String(index).padStart(6, '0')}`);

test('only namespaces that the scopes cover whole are shown', async () => {
  const names = ['a', 'a/b', 'a/b/c', 'ab', 'b', 'b/c', 'A'];
  for (const [scopes, expected] of [
    [['secrets:read:a/*'], ['a', 'a/b', 'a/b/c']],
    [['secrets:*:a/b/*'], ['a/b', 'a/b/c']],
    [['secrets:read:*'], ['A', 'a', 'a/b', 'a/b/c', 'ab', 'b', 'b/c']],
    [['secrets:read:*/*'], ['A', 'a', 'a/b', 'a/b/c', 'ab', 'b', 'b/c']],
    [['secrets:read:a*/*'], ['a', 'a/b', 'a/b/c', 'ab']],
    [['secrets:read:*/c/*'], ['b/c']],
    [
      ['secrets:read:b/*', 'secrets:read:a/b/*'],
      ['a/b', 'a/b/c', 'b', 'b/c'],
    ],
  ] as const) {
    assert.deepEqual(await listed(names, scopes), expected, String(scopes));
  }
});

test('no scope, another action or a part of a namespace shows no name', async () => {
  const names = ['a', 'a/b', 'b'];
  for (const scopes of [
    [],
    ['secrets:write:*'],
    ['secrets:delete:*', 'secrets:write:*'],
    ['namespaces:read'],
    ['secrets:read:a/k'],
    ['secrets:read:a/k*', 'secrets:read:a/*k'],
    ['secrets:read:A/*'],
    ['secrets:read:*/*/*/*'],
  ]) {
    assert.deepEqual(await listed(names, scopes), [], String(scopes));
  }
});

test('what the reader says of a namespace is passed on as it is', async () => {
  const { reader } = aReader(['ab', 'b']);
  const found = await allOf(namespacesWithin(reader, [aScope('secrets:read:a*/*')]));
  assert.deepEqual(found, [{ namespace: 'ab', secretCount: 2 }]);
});

test('on any names and scopes, those are shown below which one scope names every path', async () => {
  const names = allTexts(['a', 'b', 'ab'], 1, 2);
  const pattern = fc.oneof(
    fc.constantFrom('*', 'a/*', '*/b/*', 'a*/*', 'a/b/*'),
    fc.constantFrom(...SMALL_PATTERNS),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.subarray(names),
      fc.array(pattern, { maxLength: 3 }),
      fc.option(fc.constantFrom(...names), { nil: undefined }),
      async (some, patterns, after) => {
        const expected = some.filter((name) => {
          const below = SMALL_PATHS.filter((path) => path.startsWith(`${name}/`));
          return patterns.some((one) => below.every((path) => naiveMatches(one, path)));
        });
        const scopes = patterns.map((one) => `secrets:read:${one}`);
        assert.deepEqual(
          await listed(some, scopes, after),
          expected.filter((name) => after === undefined || name > after).sort(),
        );
      },
    ),
    { numRuns: PROPERTY_RUNS },
  );
});

test('all of them are looked at, however many, a thousand at a time, and none twice', async () => {
  for (const [count, questions] of [
    [0, 1],
    [1, 1],
    [999, 1],
    [1000, 2],
    [1001, 2],
    [2500, 3],
  ] as const) {
    const names = numbered(count);
    const { reader, asked } = aReader(names);
    const found = await allOf(namespacesWithin(reader, [aScope('secrets:read:*')]));
    assert.deepEqual(
      found.map(({ namespace }) => namespace),
      names,
    );
    const expected = Array.from({ length: questions }, (_, index) => ({
      limit: 1000,
      after: index === 0 ? undefined : names[index * 1000 - 1],
    }));
    assert.deepEqual(asked, expected);
  }
});

test('a namespace that may be listed is found behind thousands that may not', async () => {
  assert.deepEqual(await listed([...numbered(3000), 'zone'], ['secrets:read:zone/*']), ['zone']);
});

test('it begins behind the given name, which need not be there nor be listed', async () => {
  const names = ['a', 'b', 'c', 'd'];
  const scopes = ['secrets:read:a/*', 'secrets:read:c/*', 'secrets:read:d/*'];
  assert.deepEqual(await listed(names, scopes, 'a'), ['c', 'd']);
  assert.deepEqual(await listed(names, scopes, 'b'), ['c', 'd']);
  assert.deepEqual(await listed(names, scopes, 'bx'), ['c', 'd']);
  assert.deepEqual(await listed(names, scopes, 'd'), []);
});

test('who takes only some asks for no more of them', async () => {
  const { reader, asked } = aReader(numbered(2500));
  const taken: string[] = [];
  for await (const { namespace } of namespacesWithin(reader, [aScope('secrets:read:*')])) {
    taken.push(namespace);
    if (taken.length === 1000) break;
  }
  assert.deepEqual(taken, numbered(1000));
  assert.equal(asked.length, 1);
});

test('a reader that fails is heard, after what came before it', async () => {
  const fault = new Error('no database');
  const names = numbered(1000);
  let questions = 0;
  const reader = {
    listNamespaces: async () => {
      questions += 1;
      if (questions === 2) throw fault;
      return names.map((namespace) => ({ namespace, secretCount: 1 }));
    },
  };
  let seen = 0;
  const walk = async () => {
    for await (const _ of namespacesWithin(reader, [aScope('secrets:read:*')])) seen += 1;
  };
  await assert.rejects(walk, (error) => error === fault);
  assert.equal(seen, 1000);
});
