/**
 * How much a run does. `npm test` shows each guarantee once; `npm run test:all` repeats what depends on luck until what
 * is rare has most likely come up. Every number of rounds and runs in the tests stands here.
 */
import { SHORT_LIVED } from './runner/node-flags.ts';

const isFull = process.env['WRIT_TEST_EFFORT'] === 'full';

function choose<T>(short: T, full: T): T {
  return isFull ? full : short;
}

/** Of the processes that tests start. A full run starts them as people do. */
export const NODE_FLAGS = choose(SHORT_LIVED, []);

/** Of a property: fast-check's own default, and ten times that. */
export const PROPERTY_RUNS = choose(100, 1_000);
/** Where few random inputs are of the kind that matters, as among texts of an address grammar, and a run takes microseconds. */
export const RARE_CASE_RUNS = choose(1_000, 10_000);
/** Where random cases have to meet every cell of a decision table, the rarest of which is one in some 300. */
export const TABLE_RUNS = choose(5_000, 20_000);
/** Where a run signs, asks a database or goes through a hundred cases: milliseconds each. */
export const COSTLY_RUNS = choose(20, 100);

/** Of the characters of Unicode that are letters and signs, the ones of a table that are tried. */
export const LETTERS_APART = choose(16, 1);
/** Of every text of so many pieces, five or six of which there are: each piece more is as many times the work. */
export const PIECES_OF_A_TEXT = choose(5, 6);
/** Of the segments that make every path of two and three, those that make the ones of four. */
export const SEGMENTS_OF_LONG_PATHS = choose(2, 7);

/** Of one race: a guard that is missing loses nearly every round, one that is too weak loses some. */
export const RACE_ROUNDS = choose(1, 5);
/** Of an emergency stop that is raced with 64 clients on two processes: of everybody first, then of one agent. */
export const STOP_ROUNDS = choose(1, 3);
/**
 * Readers who ask without pause while something changes, and how many reads are answered before the change is asked
 * for, and again begun after it was acknowledged: several of each question, through each process.
 */
export const READS_IN_FLIGHT = choose({ readers: 12, around: 30 }, { readers: 24, around: 60 });
/** Of processes that contend for one folder: a hundredth of a second each, and an order that few rounds meet. */
export const TAKEOVER_ROUNDS = choose(15, 150);

/** Real servers that start at once on one empty database, each for half a second of a processor. */
export const START_PROCESSES = choose(4, 20);
/** The same race in one process, where a start costs a hundredth. */
export const PROVISIONS = choose({ rounds: 1, atOnce: 20 }, { rounds: 10, atOnce: 20 });
/** Two processes that race for one file: a file system settles it, so a round loses or wins for good. */
export const MASTER_KEY_FILE_ROUNDS = choose(1, 3);

/** Of a database that goes away and comes back under a server: the second finds what the first left behind. */
export const OUTAGES = choose(1, 2);
/** Before a server is killed under load: what was answered has to outnumber what was in flight many times over. */
export const ANSWERS_BEFORE_KILL = choose(500, 2_000);
/** The embedded database keeps what a killed process told it by the file system's word alone, and costs ten times as much. */
export const onlyInFullRun: string | false = choose<string | false>('npm run test:all runs it', false);
/** The random load that the ledger is audited after: enough of everything, and enough before and after the kill. */
export const LEDGER_ANSWERS = choose({ beforeKill: 300, inAll: 700 }, { beforeKill: 1_000, inAll: 2_200 });
/**
 * Of an export that does not fit into the memory that its server may take: few long events pass the same batches as
 * many short ones, in a tenth of the time. A server with a small heap needs fewer of them.
 */
export const EXPORTED = choose(
  { events: 49_000, padding: 3_500, heapMebibytes: 64 },
  { events: 1_000_000, padding: 0, heapMebibytes: 128 },
);
/** Of a failover, before it and after it; half as many while the standby lags behind. */
export const FAILOVER_ANSWERS = choose(300, 1_500);
