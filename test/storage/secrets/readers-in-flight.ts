/**
 * Readers that ask without pause through every process while something changes. Each answer is kept with what was
 * known when its request started and when it came back, so that a test can say what was still allowed then.
 */
import assert from 'node:assert/strict';
import { READS_IN_FLIGHT } from '../../support/effort.ts';
import { until } from '../../support/issuing.ts';
import { type Asked, type Reply, type Site, tally } from './secret-books.ts';

const { readers: READERS, around: ENOUGH } = READS_IN_FLIGHT;

/** `asked`: the change is under way. `done`: it was acknowledged. */
type Moment = 'before' | 'asked' | 'done';

export interface Observed {
  readonly started: Moment;
  readonly ended: Moment;
  /** Which of the questions it was. */
  readonly question: number;
  readonly reply: Reply;
}

/** Asks the questions in turn, each through every process, while `change` happens and for some time after it. */
export async function readDuring(
  site: Site,
  questions: readonly Asked[],
  change: () => Promise<void>,
): Promise<readonly Observed[]> {
  const observed: Observed[] = [];
  const state: { moment: Moment } = { moment: 'before' };
  let inFlight = 0;
  let stopping = false;
  const work = async (reader: number): Promise<void> => {
    for (let turn = 0; !stopping; turn += 1) {
      const question = (reader + turn) % questions.length;
      const { moment: started } = state;
      inFlight += 1;
      const reply = await site.ask(questions[question] ?? assert.fail(), reader);
      inFlight -= 1;
      observed.push({ started, ended: state.moment, question, reply });
    }
  };
  const failed: unknown[] = [];
  const all = Array.from({ length: READERS }, (_, reader) =>
    work(reader).catch((error) => failed.push(error)),
  );
  const enough = (moment: Moment): boolean =>
    failed.length > 0 || observed.filter(({ started }) => started === moment).length >= ENOUGH;
  try {
    await until('readers are under way', () => enough('before') && inFlight >= READERS / 2);
    state.moment = 'asked';
    await change();
    state.moment = 'done';
    await until('readers have asked after the change', () => enough('done'));
  } finally {
    stopping = true;
    await Promise.all(all);
  }
  assert.deepEqual(failed, []);
  assert.ok(observed.some(({ started, ended }) => started !== 'done' && ended === 'done'));
  return observed;
}

export interface Expected {
  /** What an answer has to be where the change has not happened. */
  before(reply: Reply, question: number): boolean;
  after(reply: Reply, question: number): boolean;
  /** Of a request in flight only: a step between, or what else is documented. */
  between?(reply: Reply, question: number): boolean;
}

/**
 * Whoever starts after the acknowledgement sees the change, whoever ends before it was asked for does not, whoever is
 * in flight sees one or the other.
 */
export function assertChanged(observed: readonly Observed[], expected: Expected): void {
  const between = expected.between ?? (() => false);
  const wrong = observed.filter(({ started, ended, reply, question }) => {
    if (started === 'done') return !expected.after(reply, question);
    if (ended === 'before') return !expected.before(reply, question);
    return !(expected.before(reply, question) || expected.after(reply, question) || between(reply, question));
  });
  const told = wrong.map(
    ({ started, ended, question, reply }) => `${started}–${ended} ${question}: ${reply.text}`,
  );
  const all = tally(observed.map(({ reply }) => reply));
  assert.deepEqual(told.slice(0, 5), [], `${wrong.length} answers of ${JSON.stringify(all)}`);
}
