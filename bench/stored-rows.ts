/**
 * Fills Writ's tables without asking the server: as many tokens and secrets as wanted, of which those that will be
 * asked for lie evenly among the rest. Only those can be opened; the rest are as large, and filler.
 */

import { generateScopedToken } from '../src/keys/credentials/scoped-token-secret.ts';
import { createKeyEncryption } from '../src/keys/encryption/key-encryption.ts';
import { createMasterKeys } from '../src/keys/encryption/master-keys.ts';
import { createSecretCipher } from '../src/keys/encryption/secret-cipher.ts';
import { atLeastOne } from './contestants.ts';
import { type Execute, withClient } from './database.ts';
import type { Target } from './load.ts';
import { askForScopedToken, askForSecret, IN_TURN, MAX_USES, SCOPE, SECRET_VALUE } from './paths.ts';
import type { Writ } from './writ.ts';

const BATCH = 100_000;

export interface StoredRows {
  /** Limited ones; one without limit comes on top. */
  readonly tokens: number;
  readonly secrets: number;
}

export interface StoredTargets {
  readonly scoped: Target;
  readonly read: Target;
  readonly limited: Target;
}

/** Returns with fresh statistics, and with nothing left to write behind. */
export async function storeRows(
  writ: Writ,
  { tokens, secrets }: StoredRows,
  say: (text: string) => void,
): Promise<StoredTargets> {
  const inTurn = Math.min(IN_TURN, tokens, secrets);
  const secretsAsked = spread(inTurn, secrets);
  const unlimited = { ...generateScopedToken(), position: 0, maxUses: null };
  const limited = spread(inTurn, tokens).map((at) => ({
    ...generateScopedToken(),
    position: at + 1,
    maxUses: MAX_USES,
  }));
  await withClient(writ.databaseUrl, async (execute) => {
    await storeSecrets(execute, writ, secrets, secretsAsked);
    for (let first = 0; first <= tokens; first += BATCH) {
      await storeTokens(execute, writ, {
        first,
        last: Math.min(first + BATCH - 1, tokens),
        used: [unlimited, ...limited],
      });
      if (tokens > BATCH) say(`${writ.name}: ${Math.min(first + BATCH, tokens)} tokens stored`);
    }
    await execute('vacuum (analyze)');
    // Not every user of another's database may.
    await execute('checkpoint').catch(() => undefined);
  });
  const { origin } = writ.server;
  const readBy = (token: (at: number) => string | undefined): Target => ({
    origin,
    asks: atLeastOne(secretsAsked.map((index, at) => askForSecret(token(at) ?? '', index))),
  });
  return {
    scoped: { origin, asks: [askForScopedToken(writ.agent.apiKey)] },
    read: readBy(() => unlimited.text),
    limited: readBy((at) => limited[at]?.text),
  };
}

/** `count` whole numbers below `end`, evenly apart. */
function spread(count: number, end: number): number[] {
  return Array.from({ length: count }, (_, index) => Math.floor((index * end) / count));
}

/** A UUIDv7 of the past, in the order of `n`. */
const ID = (kind: '8000' | '8001') => `('018f0000-0000-7000-${kind}-' || lpad(to_hex(n), 12, '0'))::uuid`;
const idOfSecret = (n: number): string => `018f0000-0000-7000-8001-${n.toString(16).padStart(12, '0')}`;

interface Batch {
  readonly first: number;
  readonly last: number;
  readonly used: readonly {
    readonly position: number;
    readonly hashHex: string;
    readonly maxUses: number | null;
  }[];
}

async function storeTokens(execute: Execute, { agent }: Writ, { first, last, used }: Batch): Promise<void> {
  await execute(
    `insert into scoped_tokens (id, token_hash, agent_id, key_id, scopes, max_uses, created_at, expires_at)
    select ${ID('8000')}, coalesce(decode(used.token_hash, 'hex'), sha256(convert_to('filler ' || n, 'UTF8'))), $1, $2, $3,
      case when used.n is null then $4 else used.max_uses end,
      clock_timestamp(), clock_timestamp() + interval '1 day'
    from generate_series($5::int, $6::int) as n
    left join unnest($7::int[], $8::text[], $9::int[]) as used (n, token_hash, max_uses) using (n)
    order by n`,
    [
      agent.id,
      agent.keyId,
      [SCOPE],
      MAX_USES,
      first,
      last,
      used.map(({ position }) => position),
      used.map(({ hashHex }) => hashHex),
      used.map(({ maxUses }) => maxUses),
    ],
  );
}

async function storeSecrets(
  execute: Execute,
  { masterKey }: Writ,
  count: number,
  asked: readonly number[],
): Promise<void> {
  const cipher = createSecretCipher(createMasterKeys([createKeyEncryption(masterKey)]));
  const sealed = asked.map((n) =>
    cipher.seal(Buffer.from(SECRET_VALUE), { secretId: idOfSecret(n), path: `prod/k${n}`, version: 1 }),
  );
  const [example] = sealed;
  await execute(
    `insert into secrets (id, path, namespace, key, secret_type, access_tier, tags)
    select ${ID('8001')}, 'prod/k' || n, 'prod', 'k' || n, 'custom', 'standard', '{}'
    from generate_series(0, $1::int - 1) as n order by n`,
    [count],
  );
  await execute(
    `insert into secret_versions (secret_id, version, wrapped_key, kek_id, nonce, ciphertext)
    select ${ID('8001')}, 1, coalesce(sealed.wrapped_key, $1), $2, coalesce(sealed.nonce, $3),
      coalesce(sealed.ciphertext, $4)
    from generate_series(0, $5::int - 1) as n
    left join unnest($6::int[], $7::bytea[], $8::bytea[], $9::bytea[])
      as sealed (n, wrapped_key, nonce, ciphertext) using (n)
    order by n`,
    [
      example?.wrappedKey,
      example?.kekId,
      example?.nonce,
      example?.ciphertext,
      count,
      asked,
      sealed.map(({ wrappedKey }) => wrappedKey),
      sealed.map(({ nonce }) => nonce),
      sealed.map(({ ciphertext }) => ciphertext),
    ],
  );
  await execute(`insert into namespaces (namespace, secret_count) values ('prod', $1)`, [count]);
}
