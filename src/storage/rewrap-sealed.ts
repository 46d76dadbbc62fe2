/** Rows that carry a seal under another master key than the active one, with the wraps and digests that they hold. */

import type { ApprovalRequest } from '../use-cases/approvals/ports.ts';
import { REQUEST_MEMBERS } from './approvals/approval-rows.ts';
import type { Session, Statement } from './engine/database.ts';
import { judgedRow, type SealedTable, sealList } from './engine/sealed-rows.ts';
import { columns, selectList } from './engine/table-columns.ts';
import type { Asked, FoundRow, Remake } from './rewrap-remake.ts';
import { approvals, signingKeys } from './schema.ts';
import { comparedKey, isLive, primaryKeyList, primaryKeyOf } from './unfit-rows.ts';

/** SQL, of an alias of the table: something of the row is not under the key `$2`. */
export function isUnderAnother(name: SealedTable, row: string): string {
  const seal = `${row}.seal is not null and substring(${row}.seal from 1 for 8) <> decode($2::text, 'hex')`;
  if (name === 'approvals')
    return `(${row}.seal is not null and left(${row}.request_digest, 16) <> $2 or ${seal})`;
  if (name === 'signing_keys') return `(${row}.kek_id <> $2 or ${seal})`;
  return `(${seal})`;
}

/** What is read beside that which is sealed. */
const BESIDE: Partial<Record<SealedTable, string>> = {
  approvals: `, ${selectList(columns(approvals, 'old', REQUEST_MEMBERS))}`,
  signing_keys: `, ${selectList(columns(signingKeys, 'old', ['kid', 'wrappedPrivateKey', 'kekId']))}`,
};

const findStatement = (name: SealedTable, { after, hold }: Asked): Statement => ({
  name: `${after === undefined ? 'first' : 'next'}_${hold ?? 'look'}_to_rewrap_${name}`.replace(' ', '_'),
  effect: hold === undefined ? 'read' : 'write',
  text: `
    select ${sealList(name, 'old')}, ${primaryKeyList(name, 'old')} as "primaryKey", old.ctid::text as place,
      (${isLive(name, 'old')}) as "isLive"
      ${BESIDE[name] ?? ''}
    from ${name} old
    where ${isUnderAnother(name, 'old')}
      and ${after === undefined ? '$1::text[] is null' : comparedKey(name, 'old', '>')}
    order by ${primaryKeyOf(name)
      .map((column) => `old.${column.name}`)
      .join(', ')}
    limit $3 ${hold === undefined ? '' : `for no key update ${hold === 'wait' ? '' : hold}`}`,
});

type OldRow = {
  readonly primaryKey: readonly string[];
  readonly place: string;
  /** It may still grant something. */
  readonly isLive: boolean;
} & Readonly<Record<string, unknown>>;

export async function findSealed(
  session: Session,
  name: SealedTable,
  remake: Remake,
  asked: Asked,
): Promise<readonly FoundRow[]> {
  const rows = await session.query<OldRow>(findStatement(name, asked), [
    asked.after ?? null,
    remake.activeKekId,
    asked.limit,
  ]);
  return rows.map((row) => ({ primaryKey: row.primaryKey, ...judge(name, row, remake) }));
}

/** A row that does not fit its seal is not sealed anew, whatever else fits. */
function judge(name: SealedTable, row: OldRow, remake: Remake): Pick<FoundRow, 'made' | 'why'> {
  const why = remake.seals.whyNot(judgedRow(name, row));
  // What has ended needs no seal, and without one it is nothing that is left.
  if (why !== undefined && !row.isLive) return { made: unsealed(name, row), why: '' };
  if (why !== undefined) return { made: undefined, why };
  const sealHexOf = (changed: object): string =>
    remake.seals.hexOf(judgedRow(name, { ...row, ...changed }).message);
  if (name === 'approvals') {
    const approval = row as unknown as ApprovalRequest & { readonly requestDigest: string };
    const digest = remake.digest(approval);
    // From before seals, when approvals were sealed as they were: it stays refused by its digest.
    const kept = digest ?? approval.requestDigest;
    const made = [row.place, sealHexOf({ 'approvals.requestDigest': kept }), kept];
    return { made, why: digest === undefined ? 'its digest does not fit' : '' };
  }
  if (name === 'signing_keys') {
    const key = row as unknown as Parameters<Remake['signingKey']>[0];
    const wrapped = remake.signingKey(key);
    if (wrapped === undefined) return { made: undefined, why: 'its private half does not open' };
    const { wrappedPrivateKey, kekId } = wrapped;
    const wrappedHex = Buffer.from(wrappedPrivateKey).toString('hex');
    const seal = sealHexOf({ 'signing_keys.wrappedPrivateKey': wrappedHex, 'signing_keys.kekId': kekId });
    return { made: [row.place, seal, wrappedHex, kekId], why: '' };
  }
  return { made: [row.place, sealHexOf({})], why: '' };
}

const unsealed = (name: SealedTable, row: OldRow): readonly unknown[] => [
  row.place,
  null,
  ...(name === 'approvals' ? [row['requestDigest']] : []),
  ...(name === 'signing_keys' ? [null, null] : []),
];

/** What is written beside the seal, from the members of a list that is sent. */
const ALSO: Partial<Record<SealedTable, readonly string[]>> = {
  approvals: ['request_digest = made.third'],
  signing_keys: [`wrapped_private_key = decode(made.third, 'hex')`, 'kek_id = made.fourth'],
};
const MEMBERS = ['place', 'seal_hex', 'third', 'fourth'];

/** By their places, which do not move while the rows are held. */
const writeStatement = (name: SealedTable): Statement => {
  const members = MEMBERS.slice(0, 2 + (ALSO[name]?.length ?? 0));
  return {
    name: `rewrap_${name}`,
    effect: 'write',
    text: `
    update ${name} row set ${[`seal = decode(made.seal_hex, 'hex')`, ...(ALSO[name] ?? [])].join(', ')}
    from unnest(${members.map((_, index) => `$${index + 1}::text[]`).join(', ')}) as made (${members.join(', ')})
    where row.ctid = made.place::tid`,
  };
};

export async function writeSealed(
  session: Session,
  name: SealedTable,
  made: readonly (readonly unknown[])[],
): Promise<void> {
  const count = 2 + (ALSO[name]?.length ?? 0);
  const lists = Array.from({ length: count }, (_, index) => made.map((row) => row[index]));
  await session.query(writeStatement(name), lists);
}
