/**
 * Guarantees that several test files run in one process as they do each in its own: one after the other, with their
 * tests and their hooks in a suite that is named as the file, and with what each of them took.
 */
import { after, suite } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { Cost } from './file-costs.ts';
import { FILE_TIMEOUT_MS } from './file-timeout.ts';
import { costSoFar, NOTHING, recordCost } from './record-cost.ts';
import { type Tracking, trackingOfTests } from './resource-tracking.ts';

const UNCAUGHT = ['uncaughtException', 'unhandledRejection'] as const;

export async function runInTurn(files: readonly string[]): Promise<void> {
  const tracking = trackingOfTests();
  // The start of the process, and what the first file loads for all, is told as the first file's.
  let before = NOTHING;
  for (const file of files) {
    await runFile(file, before, tracking);
    before = costSoFar();
  }
}

/** Ends when the tests have. An error that nobody caught is the file's, and ends it. */
function runFile(file: string, before: Cost, tracking: Tracking | undefined): Promise<void> {
  const uncaught = new AbortController();
  const giveUp = (error: unknown) => uncaught.abort(error);
  for (const event of UNCAUGHT) process.on(event, giveUp);
  return new Promise((resolve) => {
    tracking?.enable();
    suite(file, { timeout: FILE_TIMEOUT_MS, signal: uncaught.signal }, async () => {
      // Ahead of the file's own hooks, so that one of them that throws does not keep the next file from its turn.
      after(() => {
        for (const event of UNCAUGHT) process.off(event, giveUp);
        recordCost(file, before);
        resolve();
      });
      await import(pathToFileURL(file).href);
      tracking?.disable();
    });
  });
}
