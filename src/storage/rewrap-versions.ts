/** Versions of secrets whose data key is wrapped under another master key than the active one, or was made under one. */

import type { SealedValue } from '../use-cases/secrets/ports.ts';
import type { Session, Statement } from './engine/database.ts';
import type { Asked, FoundRow, Remake } from './rewrap-remake.ts';

/** SQL, of an alias of the table: not under the key `$2`; with `$4`, whatever it was made under. */
const IS_UNDER_ANOTHER = `(held.kek_id <> $2 or $4::boolean and held.made_under is distinct from $2)`;

const findStatement = ({ hold }: Asked): Statement => ({
  name: `versions_${hold ?? 'look'}_to_rewrap`.replace(' ', '_'),
  effect: hold === undefined ? 'read' : 'write',
  text: `
    select held.secret_id as "secretId", held.version, secret.path, held.kek_id as "kekId",
      held.wrapped_key as "wrappedKey", held.made_under as "madeUnder",
      case when $4::boolean then held.nonce end as nonce, case when $4::boolean then held.ciphertext end as ciphertext
    from secret_versions held join secrets secret on secret.id = held.secret_id
    where ${IS_UNDER_ANOTHER} and ($1::text[] is null
      or (held.secret_id, held.version) > (($1::text[])[1]::uuid, ($1::text[])[2]::int))
    order by held.secret_id, held.version
    limit $3 ${hold === undefined ? '' : `for no key update of held ${hold === 'wait' ? '' : hold}`}`,
});

interface OldVersion extends SealedValue {
  readonly secretId: string;
  readonly version: number;
  readonly path: string;
  readonly madeUnder: string | null;
}

export async function findVersions(
  session: Session,
  remake: Remake,
  asked: Asked,
): Promise<readonly FoundRow[]> {
  const rows = await session.query<OldVersion>(findStatement(asked), [
    asked.after ?? null,
    remake.activeKekId,
    asked.limit,
    remake.renew !== undefined,
  ]);
  return rows.map((row) => {
    const made = remade(row, remake);
    const why = made === undefined ? 'its key or its value does not open' : '';
    return { primaryKey: [row.secretId, String(row.version)], made, why };
  });
}

function remade(row: OldVersion, remake: Remake): readonly unknown[] | undefined {
  const { secretId, version, path } = row;
  const binding = { secretId, version, path };
  const { activeKekId } = remake;
  if (remake.renew === undefined) {
    const wrapped = remake.wrap(row, binding);
    return wrapped && [secretId, version, wrapped, activeKekId, row.madeUnder, null, null];
  }
  const renewed = remake.renew(row, binding);
  return (
    renewed && [
      secretId,
      version,
      renewed.wrappedKey,
      renewed.kekId,
      renewed.kekId,
      renewed.nonce,
      renewed.ciphertext,
    ]
  );
}

const WRITE: Statement = {
  name: 'rewrap_secret_versions',
  effect: 'write',
  text: `
    update secret_versions held set wrapped_key = made.wrapped_key, kek_id = made.kek_id, made_under = made.made_under,
      nonce = coalesce(made.nonce, held.nonce), ciphertext = coalesce(made.ciphertext, held.ciphertext)
    from unnest($1::uuid[], $2::int[], $3::bytea[], $4::text[], $5::text[], $6::bytea[], $7::bytea[])
      as made (secret_id, version, wrapped_key, kek_id, made_under, nonce, ciphertext)
    where held.secret_id = made.secret_id and held.version = made.version`,
};

export async function writeVersions(session: Session, made: readonly (readonly unknown[])[]): Promise<void> {
  const lists = Array.from({ length: 7 }, (_, index) => made.map((row) => row[index]));
  await session.query(WRITE, lists);
}
