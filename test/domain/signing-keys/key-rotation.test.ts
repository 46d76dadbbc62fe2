/** When a signing key goes on: a table of moments, a naive reference, and what holds however long it goes on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  decideKeySteps,
  JWKS_MAX_AGE_SECONDS,
  type KeyInRotation,
  type KeyStep,
  LEAVING_SECONDS,
  NEXT_SECONDS,
  RETIRING_SECONDS,
  type RotationQuestion,
} from '../../../src/domain/signing-keys/key-rotation.ts';
import { LIVE_SIGNING_KEY_STATES } from '../../../src/domain/signing-keys/signing-key-state.ts';

const NOW_MS = Date.parse('2030-06-01T00:00:00Z');
const DAY = 86_400;

type Aged = readonly [state: KeyInRotation['state'], forSeconds: number, hasLiveTokens?: boolean];

const aged = (keys: readonly Aged[]): KeyInRotation[] =>
  keys.map(([state, forSeconds, hasLiveTokens = false], index) => ({
    kid: `${state} ${index}`,
    state,
    sinceMs: NOW_MS - forSeconds * 1000,
    hasLiveTokens,
  }));

const written = (steps: readonly KeyStep[]): string[] =>
  steps.map((step) => (step.step === 'create' ? 'create' : `${step.step} ${step.kid}`));

const TABLE: readonly (readonly [
  what: string,
  keys: readonly Aged[],
  steps: readonly string[],
  asked?: Partial<RotationQuestion>,
])[] = [
  ['nothing is due of a young key', [['active', 0]], []],
  ['a key signs for its days', [['active', 90 * DAY - 1]], []],
  ['and then another one is made', [['active', 90 * DAY]], ['create']],
  ['never by itself where only a command does it', [['active', 900 * DAY]], [], { rotationDays: 0 }],
  ['somebody asks', [['active', 0]], ['create'], { isAsked: true }],
  [
    'somebody asks where only a command does it',
    [['active', 0]],
    ['create'],
    { isAsked: true, rotationDays: 0 },
  ],
  ['somebody asks where no key signs', [], ['create'], { isAsked: true }],
  ['no key signs: the start makes one', [], []],
  [
    'a next key waits',
    [
      ['active', DAY],
      ['next', NEXT_SECONDS - 1],
    ],
    [],
  ],
  [
    'a next key waits, whoever asks',
    [
      ['active', DAY],
      ['next', NEXT_SECONDS - 1],
    ],
    [],
    { isAsked: true },
  ],
  [
    'however old the one that signs is',
    [
      ['active', 900 * DAY],
      ['next', 0],
    ],
    [],
  ],
  [
    'its time has come',
    [
      ['active', DAY],
      ['next', NEXT_SECONDS],
    ],
    ['activate next 1'],
  ],
  [
    'also where only a command made it',
    [
      ['active', DAY],
      ['next', NEXT_SECONDS],
    ],
    ['activate next 1'],
    { rotationDays: 0 },
  ],
  ['also where none signs', [['next', NEXT_SECONDS]], ['activate next 0']],
  [
    'a retiring key stays',
    [
      ['retiring', RETIRING_SECONDS - 1],
      ['active', 0],
    ],
    [],
  ],
  [
    'and longer while a token of it lives',
    [
      ['retiring', 900 * DAY, true],
      ['active', 0],
    ],
    [],
  ],
  [
    'then it retires',
    [
      ['retiring', RETIRING_SECONDS],
      ['active', 0],
    ],
    ['retire retiring 0'],
  ],
  [
    'several things at once',
    [
      ['retiring', DAY],
      ['retiring', DAY, true],
      ['retiring', 2 * DAY],
      ['active', 90 * DAY],
      ['next', DAY],
    ],
    ['activate next 4', 'retire retiring 0', 'retire retiring 2'],
  ],
];

for (const [what, keys, steps, asked] of TABLE) {
  test(what, () => {
    const question = { keys: aged(keys), nowMs: NOW_MS, rotationDays: 90, isAsked: false, ...asked };
    assert.deepEqual(written(decideKeySteps(question)), steps);
  });
}

test('a key is published for longer than anybody keeps the JWKS, and stays 10 minutes after it last signed', () => {
  assert.ok(NEXT_SECONDS >= JWKS_MAX_AGE_SECONDS + 60);
  assert.equal(RETIRING_SECONDS, LEAVING_SECONDS + 600);
});

/** Each key by itself, in words. */
function reference({ keys, nowMs, rotationDays, isAsked }: RotationQuestion): string[] {
  const age = (key: KeyInRotation) => (nowMs - key.sinceMs) / 1000;
  const hasNext = keys.some((key) => key.state === 'next');
  const steps = keys.flatMap((key) => {
    if (key.state === 'next' && age(key) >= 360) return [`activate ${key.kid}`];
    if (key.state === 'retiring' && age(key) >= 610 && !key.hasLiveTokens) return [`retire ${key.kid}`];
    if (
      key.state === 'active' &&
      !hasNext &&
      !isAsked &&
      rotationDays !== 0 &&
      age(key) >= rotationDays * 24 * 3600
    )
      return ['create'];
    return [];
  });
  return isAsked && !hasNext ? ['create', ...steps] : steps;
}

test('it decides as a naive reading of the rules does', () => {
  const ages = fc.oneof(
    fc.integer({ min: -60, max: 400 * DAY }),
    fc.constantFrom(359, 360, 361, 609, 610, 611, DAY - 1, DAY, 90 * DAY - 1, 90 * DAY),
  );
  const key = fc.tuple(fc.constantFrom(...LIVE_SIGNING_KEY_STATES), ages, fc.boolean());
  // One active and one next key at most: the database lets no more be.
  const sets = fc
    .array(key, { maxLength: 6 })
    .map((list) =>
      list.filter(
        ([state], index) => state === 'retiring' || list.findIndex(([other]) => other === state) === index,
      ),
    );
  fc.assert(
    fc.property(sets, fc.constantFrom(0, 1, 90), fc.boolean(), (keys, rotationDays, isAsked) => {
      const question = { keys: aged(keys), nowMs: NOW_MS, rotationDays, isAsked };
      assert.deepEqual(written(decideKeySteps(question)).sort(), reference(question).sort());
    }),
  );
});

test('however the times fall, one key signs, after it was published for long enough, and none leaves too soon', () => {
  const waits = fc.array(
    fc.tuple(fc.integer({ min: 1, max: 3 * DAY }), fc.boolean(), fc.integer({ min: 1, max: DAY })),
    { minLength: 20, maxLength: 60 },
  );
  fc.assert(
    fc.property(waits, (turns) => {
      let now = NOW_MS;
      let made = 0;
      let keys: { kid: string; state: KeyInRotation['state']; since: number; lastExpiry: number }[] = [
        { kid: 'first', state: 'active', since: now, lastExpiry: 0 },
      ];
      for (const [waited, isAsked, validity] of turns) {
        now += waited * 1000;
        const seen = keys.map((key) => ({
          ...key,
          sinceMs: key.since,
          hasLiveTokens: key.lastExpiry > now,
        }));
        for (const step of decideKeySteps({ keys: seen, nowMs: now, rotationDays: 2, isAsked })) {
          if (step.step === 'create') {
            made += 1;
            keys.push({ kid: `made ${made}`, state: 'next', since: now, lastExpiry: 0 });
            continue;
          }
          const key = keys.find(({ kid }) => kid === step.kid) ?? assert.fail(step.kid);
          if (step.step === 'retire') {
            assert.ok(key.lastExpiry <= now && now - key.since >= 610_000, 'nobody needs it');
            keys = keys.filter((other) => other !== key);
            continue;
          }
          assert.ok(now - key.since >= 360_000, 'published before it signs');
          for (const left of keys.filter(({ state }) => state === 'active')) {
            Object.assign(left, { state: 'retiring', since: now });
          }
          Object.assign(key, { state: 'active', since: now });
        }
        assert.equal(keys.filter(({ state }) => state === 'active').length, 1);
        assert.ok(keys.filter(({ state }) => state === 'next').length <= 1);
        const active = keys.find(({ state }) => state === 'active') ?? assert.fail();
        active.lastExpiry = Math.max(active.lastExpiry, now + validity * 1000);
      }
    }),
  );
});
