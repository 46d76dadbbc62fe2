/**
 * How signing keys go from state to state. Who changes the key that signs does it alone, so that of several processes one
 * makes a change and the others then find it made; times are judged in the statement that writes.
 */

import { and, asc, eq, inArray, or, sql } from 'drizzle-orm';
import { NEXT_SECONDS, RETIRING_SECONDS } from '../../domain/signing-keys/key-rotation.ts';
import { LIVE_SIGNING_KEY_STATES } from '../../domain/signing-keys/signing-key-state.ts';
import type { RowSeals } from '../../use-cases/ports.ts';
import type {
  CompromisedKeys,
  KeyChange,
  NewSigningKey,
  SigningKeyStore,
} from '../../use-cases/signing-keys/ports.ts';
import { insertAlarms, insertEventOf } from '../audit/audit-store.ts';
import type { Database, Session, Statement } from '../engine/database.ts';
import { SIGNER_HAS_LIVE_TOKENS } from '../engine/liveness-sql.ts';
import { sealedRow } from '../engine/sealed-rows.ts';
import { orUndone, Rollback } from '../engine/storage-errors.ts';
import { insertNoticesOf, sentNotices } from '../notices/owed-notices.ts';
import { signingKeys } from '../schema.ts';
import { isLiveRow, readSigningKeyRows, sealedKey } from './signing-key-store.ts';

const hasBeenFor = (row: string, seconds: number): string =>
  `${row}.state_since <= clock_timestamp() - interval '${seconds} s'`;

/** Of a key whose minutes are over; before that nobody asks. */
const TOKENS_OF_RETIRING: Statement = {
  name: 'signing_keys_with_live_tokens',
  effect: 'read',
  text: `
    select clock_timestamp() as now, array(
      select signer.kid from signing_keys signer
      where signer.state = 'retiring'
        and case when ${hasBeenFor('signer', RETIRING_SECONDS)} then ${SIGNER_HAS_LIVE_TOKENS} else true end
    ) as kids`,
};

/** Of two next keys the unique index lets one be. */
const ADD_NEXT: Statement = {
  name: 'add_next_signing_key',
  effect: 'write',
  text: `
    with made as (
      insert into signing_keys (kid, public_key, wrapped_private_key, kek_id, state, seal)
      select $1, decode($2, 'hex'), decode($3, 'hex'), $4, 'next', decode($5, 'hex')
      where $6::int is null or exists (
        select from signing_keys signer
        where signer.state = 'active' and signer.state_since <= clock_timestamp() - make_interval(days => $6::int)
      )
      on conflict do nothing
      returning created_at
    ), event as (
      ${insertEventOf('made', '$7')}
    ), notice as (
      ${insertNoticesOf('made', '$8')}
    )
    select created_at as "createdAt" from made`,
};

const RETIRE: Statement = {
  name: 'retire_signing_key',
  effect: 'write',
  text: `
    with ended as (
      update signing_keys signer
      set state = 'retired', state_since = clock_timestamp(), wrapped_private_key = null, kek_id = null, seal = null
      where signer.kid = $1 and signer.state = 'retiring' and ${hasBeenFor('signer', RETIRING_SECONDS)}
        and not ${SIGNER_HAS_LIVE_TOKENS}
      returning signer.kid
    ), event as (
      ${insertEventOf('ended', '$2')}
    ), notice as (
      ${insertNoticesOf('ended', '$3')}
    )
    select kid from ended`,
};

export function createSigningKeyStore(database: Database, seals: RowSeals): SigningKeyStore {
  return {
    list: async () =>
      (await readSigningKeyRows(database)).map((row) => ({
        kid: row.kid,
        state: row.state,
        createdAt: row.createdAt,
        since: row.stateSince,
        why: isLiveRow(row) ? seals.whyNot(sealedRow('signing_keys', row, row.seal)) : undefined,
      })),
    readRotation: async () => {
      const rows = (await readSigningKeyRows(database)).filter(isLiveRow);
      const [live] = await database.query<{ now: Date; kids: string[] }>(TOKENS_OF_RETIRING, []);
      if (live === undefined) throw new Error('the database did not tell its time');
      const whole = rows.filter((row) => seals.fits(sealedRow('signing_keys', row, row.seal)));
      const keys = whole.map(({ kid, state, stateSince }) => ({
        kid,
        state,
        sinceMs: stateSince.getTime(),
        hasLiveTokens: live.kids.includes(kid),
      }));
      const foreignNext = rows.find((row) => row.state === 'next' && !whole.includes(row))?.kid;
      return { keys, foreignNext, nowMs: live.now.getTime() };
    },
    addNext: async (key, { activeForDays, event, notice }) => {
      const row = sealedKey(key, 'next', seals);
      const [made] = await database.query<{ createdAt: Date }>(ADD_NEXT, [
        key.kid,
        hex(key.publicKey),
        hex(key.wrappedPrivateKey),
        key.kekId,
        hex(row.seal),
        activeForDays ?? null,
        JSON.stringify([event]),
        sentNotices([notice], seals),
      ]);
      return made;
    },
    activate: (kid, changeOf) =>
      orUndone('unchanged', () =>
        database.transaction((session) => activate(session, seals, { kid, changeOf })),
      ),
    retire: async (kid, { event, notice }) =>
      (await database.query(RETIRE, [kid, JSON.stringify([event]), sentNotices([notice], seals)])).length ===
      1,
    compromise: (which, fresh, changesOf) =>
      database.transaction((session) => compromise(session, seals, { which, fresh, changesOf })),
  };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const ALONE_KEY = 0x534b_4559; // "SKEY"
const ALONE: Statement = {
  name: 'change_signing_keys_alone',
  effect: 'write',
  text: 'select pg_advisory_xact_lock($1)',
};

/** A row that another transaction makes meanwhile cannot be held: of those that change the key that signs one goes after the other. */
async function changeAlone(session: Session): Promise<void> {
  await session.query(ALONE, [ALONE_KEY]);
}

/** Against who changes one row: a new wrap, or a person. */
const hold = (session: Session, which: ReturnType<typeof inArray> | undefined) =>
  session.orm('write', (orm) =>
    orm
      .select()
      .from(signingKeys)
      .where(which)
      .orderBy(asc(signingKeys.state), asc(signingKeys.kid))
      .for('update'),
  );

async function activate(
  session: Session,
  seals: RowSeals,
  { kid, changeOf }: { kid: string; changeOf: (retiringKid: string | null) => KeyChange },
): Promise<{ at: Date; retiringKid: string | null } | 'unchanged' | 'unfit'> {
  await changeAlone(session);
  const held = (await hold(session, or(eq(signingKeys.state, 'active'), eq(signingKeys.kid, kid)))).filter(
    isLiveRow,
  );
  const next = held.find((row) => row.kid === kid);
  const active = held.find((row) => row.kid !== kid);
  if (next?.state !== 'next') return 'unchanged';
  const isWhole = held.every((row) => seals.fits(sealedRow('signing_keys', row, row.seal)));
  if (!isWhole) return 'unfit';
  if (active !== undefined) await put(session, sealedKey(active, 'retiring', seals));
  const [activated] = await put(
    session,
    sealedKey(next, 'active', seals),
    hasBeenFor('signing_keys', NEXT_SECONDS),
  );
  // What has retired meanwhile signs again.
  if (activated === undefined) throw new Rollback();
  const retiringKid = active?.kid ?? null;
  await insertAlarms(session, [changeOf(retiringKid)], seals);
  return { at: activated.at, retiringKid };
}

const put = (session: Session, { kid, ...row }: ReturnType<typeof sealedKey>, condition = 'true') =>
  session.orm('write', (orm) =>
    orm
      .update(signingKeys)
      .set(row)
      .where(and(eq(signingKeys.kid, kid), sql.raw(condition)))
      .returning({ at: signingKeys.stateSince }),
  );

async function compromise(
  session: Session,
  seals: RowSeals,
  {
    which,
    fresh,
    changesOf,
  }: {
    which: Parameters<SigningKeyStore['compromise']>[0];
    fresh: NewSigningKey;
    changesOf: (ended: CompromisedKeys) => readonly KeyChange[];
  },
): Promise<CompromisedKeys | undefined> {
  await changeAlone(session);
  const live = await hold(session, inArray(signingKeys.state, LIVE_SIGNING_KEY_STATES));
  const active = live.find(({ state }) => state === 'active')?.kid;
  const seen = 'activeSeen' in which ? which.activeSeen : undefined;
  if (seen !== undefined && active !== undefined && active !== seen) return { ended: [], isReplaced: false };
  const meant = live.filter((row) => ('kid' in which ? row.kid === which.kid : row.state !== 'retiring'));
  if ('kid' in which && meant.length === 0) return undefined;
  const kids = meant.map((row) => row.kid);
  await session.orm('write', (orm) =>
    orm
      .update(signingKeys)
      .set({
        state: 'compromised',
        stateSince: sql`clock_timestamp()`,
        wrappedPrivateKey: null,
        kekId: null,
        seal: null,
      })
      .where(inArray(signingKeys.kid, kids)),
  );
  const isReplaced = !live.some((row) => row.state === 'active' && !kids.includes(row.kid));
  if (isReplaced) {
    await session.orm('write', (orm) => orm.insert(signingKeys).values(sealedKey(fresh, 'active', seals)));
  }
  const ended = { ended: meant.map((row) => ({ kid: row.kid, was: row.state })), isReplaced };
  await insertAlarms(session, changesOf(ended), seals);
  return ended;
}
