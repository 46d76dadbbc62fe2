/** Emergency stops in force, whose proof is wrapped under another master key than the active one. What ended needs none. */

import type { Session, Statement } from './engine/database.ts';
import { STOP_IS_IN_FORCE } from './engine/liveness-sql.ts';
import { columns, selectList } from './engine/table-columns.ts';
import type { Asked, FoundRow, Remake } from './rewrap-remake.ts';
import { emergencyStops } from './schema.ts';

type KeptStop = Parameters<Remake['resumeProof']>[0];

const findStatement = ({ hold }: Asked): Statement => ({
  name: `stops_${hold ?? 'look'}_to_rewrap`.replace(' ', '_'),
  effect: hold === undefined ? 'read' : 'write',
  text: `
    select ${selectList<KeptStop>(columns(emergencyStops, 'stop', ['id', 'resumeHash', 'wrappedProof', 'kekId']))}
    from emergency_stops stop
    where stop.kek_id <> $2 and ${STOP_IS_IN_FORCE} and ($1::text[] is null or stop.id > ($1::text[])[1]::uuid)
    order by stop.id limit $3 ${hold === undefined ? '' : `for no key update ${hold === 'wait' ? '' : hold}`}`,
});

export async function findStops(
  session: Session,
  remake: Remake,
  asked: Asked,
): Promise<readonly FoundRow[]> {
  const rows = await session.query<KeptStop>(findStatement(asked), [
    asked.after ?? null,
    remake.activeKekId,
    asked.limit,
  ]);
  return rows.map((row) => {
    const made = remake.resumeProof(row);
    return {
      primaryKey: [row.id],
      made: made && [row.id, made.wrappedProof, made.kekId],
      why: made === undefined ? 'its proof does not open' : '',
    };
  });
}

const WRITE: Statement = {
  name: 'rewrap_emergency_stops',
  effect: 'write',
  text: `
    update emergency_stops stop set wrapped_proof = made.wrapped_proof, kek_id = made.kek_id
    from unnest($1::uuid[], $2::bytea[], $3::text[]) as made (id, wrapped_proof, kek_id)
    where stop.id = made.id`,
};

export async function writeStops(session: Session, made: readonly (readonly unknown[])[]): Promise<void> {
  const lists = Array.from({ length: 3 }, (_, index) => made.map((row) => row[index]));
  await session.query(WRITE, lists);
}
