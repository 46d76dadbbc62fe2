/**
 * What "live" means is written once: no statement outside `liveness-sql.ts` compares a time that ends something. A
 * second spelling could forget one of the conditions, and would let a dead key act.
 */

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

const STORAGE = 'src/storage';
const DEFINITIONS = 'engine/liveness-sql.ts';

const TIME = '(?:revoked|expires|denied|claimed|effective)_at';
const MEMBER = '(?:revoked|expires|denied|claimed|effective)At';
/** SQL and drizzle; an assignment (`expires_at = …`) is none. */
const SPELLINGS = new RegExp(
  [
    String.raw`\b${TIME}\b(?: ?(?:::\w+|[+-] ?\w+(?:\([^)]*\))?(?: ?'[^']*')?))* ?(?:\bis\b|[<>]|\bbetween\b)`,
    String.raw`[<>]=? ?(?:\w+\.)?${TIME}\b`,
    String.raw`\b(?:greatest|least|coalesce)\([^;\x60]{0,60}?\b${TIME}\b`,
    String.raw`\b(?:isNull|isNotNull|lt|lte|gt|gte|between)\( ?\w+\.${MEMBER}\b`,
  ].join('|'),
  'g',
);

/** What is found and is not a question of liveness. */
const EXCEPTIONS: readonly { readonly file: string; readonly text: string; readonly why: string }[] = [
  {
    file: 'schema.ts',
    text: 'revoked_at is',
    why: 'the predicate of an index names columns without a table',
  },
  { file: 'schema.ts', text: 'expires_at is', why: 'which rows an index holds' },
  {
    file: 'intent-tokens/delegation-store.ts',
    text: 'expires_at >',
    why: 'a child ends with its parent, whenever that is',
  },
  { file: 'sweep.ts', text: 'expires_at <', why: 'what ended before the retention, not what has ended' },
  {
    file: 'sweep.ts',
    text: 'greatest( denied_at',
    why: 'the same: when an approval was closed',
  },
  {
    file: 'sweep.ts',
    text: 'coalesce(effective_at',
    why: 'the same',
  },
];

/** A statement may be broken anywhere, so lines are joined; comments are left out, and `=>` compares nothing. */
function spellingsIn(source: string): readonly string[] {
  const code = source.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '').replaceAll('=>', ' ');
  return code.replace(/\s+/g, ' ').match(SPELLINGS) ?? [];
}

test('no file of storage spells out what is live', async () => {
  const found: string[] = [];
  const unused = new Set(EXCEPTIONS);
  for (const file of (await readdir(STORAGE, { recursive: true })).filter((name) => name.endsWith('.ts'))) {
    if (file === DEFINITIONS) continue;
    for (const text of spellingsIn(await readFile(join(STORAGE, file), 'utf8'))) {
      const exception = EXCEPTIONS.find((known) => known.file === file && known.text === text);
      if (exception === undefined) found.push(`${file}: ${text}`);
      else unused.delete(exception);
    }
  }
  assert.deepEqual(found, []);
  assert.deepEqual([...unused], [], 'an exception that nothing needs any more');
});

/** Who acts is read by `fromLiveActor`; one that judges the two rows apart reads them itself. */
const READS_KEY_AND_AGENT: readonly string[] = [
  DEFINITIONS,
  'principals/api-key-store.ts',
  // Nobody acts: people are told of keys that end.
  'principals/key-ends.ts',
];

test('no other statement joins a key with its agent to find who acts', async () => {
  const files = (await readdir(STORAGE, { recursive: true })).filter((name) => name.endsWith('.ts'));
  const found = [];
  for (const file of files) {
    const code = (await readFile(join(STORAGE, file), 'utf8')).replace(/\s+/g, ' ');
    if (/api_keys key join agents agent on agent\.id = key\.agent_id/.test(code)) found.push(file);
  }
  assert.deepEqual(found.sort(), [...READS_KEY_AND_AGENT].sort());
});

test('each way of spelling it out is found', () => {
  for (const planted of [
    'where key.revoked_at is null',
    'where agent.revoked_at\n  is not null',
    'and (key.expires_at is null or key.expires_at > clock_timestamp())',
    'and clock_timestamp() < token.expires_at',
    'coalesce(expires_at <= clock_timestamp(), false) as expired',
    "coalesce(key.expires_at, 'infinity') > now()",
    "token.expires_at - interval '5 s' > now()",
    'approval.effective_at + make_interval(secs => 5) <= clock_timestamp()',
    'where(and(eq(agents.id, id), isNull(agents.revokedAt)))',
    'gt(apiKeys.expiresAt, now)',
  ]) {
    assert.notEqual(spellingsIn(planted).length, 0, planted);
  }
});

test('a time that is only read or written is not', () => {
  for (const plain of [
    'set revoked_at = clock_timestamp()',
    'select token.created_at, token.expires_at, token.revoked_at',
    'id, token_hash, created_at, expires_at from unnest($1::uuid[])',
    'expires_at = excluded.expires_at',
  ]) {
    assert.deepEqual(spellingsIn(plain), []);
  }
});
