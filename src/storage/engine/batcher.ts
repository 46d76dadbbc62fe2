/**
 * Grouped writes: what arrives while a statement is in flight forms the next one, so that one commit carries many
 * members. There is no timer. A member is answered only after the commit that holds its row. The statement of a group
 * says which members it wrote; nearly always it is all of them, which is one row and not one for each.
 */

import { WritError } from '../../errors.ts';
import type { Session, Statement } from './database.ts';
import { sqlStateOf } from './storage-errors.ts';

export interface Batcher<Member, Outcome> {
  /**
   * Resolves with this member's own outcome after the commit. Rejects with `BUSY` when the queue is full, with
   * `OUTCOME_UNKNOWN` when the connection broke under way, else with the statement's error.
   */
  submit(member: Member): Promise<Outcome>;
}

export interface BatcherOptions<Member, Outcome> {
  /** Runs one statement over the members and returns one outcome for each, in their order. */
  readonly run: (members: readonly Member[]) => Promise<readonly Outcome[]>;
  /** Rows are written in the order of this key: batches that are not sorted deadlock with each other. */
  readonly orderKey: (member: Member) => string;
  /** Of members with the same key a group has one at most; the others are in the groups after it. */
  readonly oneAtATime?: (member: Member) => string;
  readonly maxGroup?: number;
  readonly maxWaiting?: number;
  /** Statements in flight at once. */
  readonly lanes?: number;
}

interface Entry<Member, Outcome> {
  readonly member: Member;
  readonly key: string;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
}

export function createBatcher<Member, Outcome>(
  options: BatcherOptions<Member, Outcome>,
): Batcher<Member, Outcome> {
  const { run, orderKey, oneAtATime, maxGroup = 256, maxWaiting = 2048, lanes = 1 } = options;
  const waiting: Entry<Member, Outcome>[] = [];
  let inFlight = 0;

  const flush = async (group: readonly Entry<Member, Outcome>[]): Promise<void> => {
    try {
      settle(group, await run(group.map((entry) => entry.member)));
    } catch (error) {
      if (group.length === 1 || !isOneMembersFault(error)) {
        for (const entry of group) entry.reject(error);
        return;
      }
      // One poisoned member fails the statement for all: each is run again by itself, once.
      for (const entry of group) {
        await run([entry.member]).then(
          (outcomes) => settle([entry], outcomes),
          (reason: unknown) => entry.reject(reason),
        );
      }
    }
  };

  const pump = (): void => {
    while (waiting.length > 0 && inFlight < lanes) {
      const taken =
        oneAtATime === undefined
          ? waiting.splice(0, maxGroup)
          : takeDistinct(waiting, maxGroup, ({ member }) => oneAtATime(member));
      const group = taken.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
      inFlight += 1;
      void flush(group).finally(() => {
        inFlight -= 1;
        pump();
      });
    }
  };

  return {
    submit: (member) => {
      if (waiting.length >= maxWaiting) {
        return Promise.reject(
          new WritError('BUSY', 'Too many writes are waiting; try again shortly.', { retryAfterSeconds: 1 }),
        );
      }
      return new Promise((resolve, reject) => {
        waiting.push({ member, key: orderKey(member), resolve, reject });
        pump();
      });
    },
  };
}

/** Takes the first of each key out of `waiting`, at most `limit` of them; the rest stay in their order. */
function takeDistinct<Item>(waiting: Item[], limit: number, keyOf: (item: Item) => string): Item[] {
  const keys = new Set<string>();
  const taken: Item[] = [];
  const left: Item[] = [];
  for (const item of waiting) {
    const key = keyOf(item);
    const isTaken = taken.length < limit && !keys.has(key);
    if (isTaken) keys.add(key);
    (isTaken ? taken : left).push(item);
  }
  waiting.splice(0, waiting.length, ...left);
  return taken;
}

function settle<Member, Outcome>(
  group: readonly Entry<Member, Outcome>[],
  outcomes: readonly Outcome[],
): void {
  group.forEach((entry, index) => {
    const outcome = outcomes[index];
    if (outcome === undefined) entry.reject(new Error('a grouped statement returned too few outcomes'));
    else entry.resolve(outcome);
  });
}

/** Data exceptions, integrity violations, deadlock, serialization failure, lock time-out: nothing was written. */
function isOneMembersFault(error: unknown): boolean {
  return /^(22|23|40P01|40001|55P03)/.test(sqlStateOf(error) ?? '');
}

/** Ends a statement whose `granted` has one row for each member that is written; `$2` is how many asked. */
export const selectApplied = (column: string): string =>
  `select case when count(*) < $2::int then coalesce(array_agg(${column}), '{}') end as granted from granted`;

/** Runs such a statement over the rows, sent as JSON. Resolves with whether the member of that name was written. */
export async function runGuardedBatch<Name>(
  session: Session,
  statement: Statement,
  rows: readonly object[],
): Promise<(name: Name) => boolean> {
  const [answer] = await session.query<{ granted: Name[] | null }>(statement, [
    JSON.stringify(rows),
    rows.length,
  ]);
  if (answer === undefined) throw new Error(`${statement.name} did not say what it wrote`);
  if (answer.granted === null) return () => true;
  const granted = new Set(answer.granted);
  return (name) => granted.has(name);
}
