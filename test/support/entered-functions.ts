/** Guarantees a count, by V8's own precise coverage, of the functions of `src` that some work enters. */

import { Session } from 'node:inspector/promises';
import type { TestContext } from 'node:test';

export interface EnteredFunction {
  /** Below `src/`. */
  readonly file: string;
  /** Empty for one without a name. */
  readonly name: string;
  readonly calls: number;
}

/** As it stands, or compiled. */
const SOURCE = /\/src\/(.+)\.[jt]s$/;

/** What was entered in this process while `work` ran, whoever called it. */
export type CountEntered = (work: () => Promise<unknown>) => Promise<readonly EnteredFunction[]>;

/** Counts until the test is over: to begin takes as long as a hundred requests. */
export async function countingEntered(t: Pick<TestContext, 'after'>): Promise<CountEntered> {
  const session = new Session();
  session.connect();
  t.after(() => session.disconnect());
  await session.post('Profiler.enable');
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
  return async (work) => {
    // What it has counted so far is not of this work.
    await session.post('Profiler.takePreciseCoverage');
    await work();
    const { result } = await session.post('Profiler.takePreciseCoverage');
    return result.flatMap(({ url, functions }) => {
      const path = SOURCE.exec(url)?.[1];
      if (path === undefined) return [];
      const file = `${path}.ts`;
      return functions.flatMap(({ functionName: name, ranges: [range] }) =>
        range === undefined || range.count === 0 ? [] : [{ file, name, calls: range.count }],
      );
    });
  };
}
