/**
 * Guarantees that several test files run in one process as they do each in its own: one after the other, with their
 * tests and their hooks in a suite that is named as the file, and with what each of them took.
 */
import { after, suite } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { Cost } from './file-costs.ts';
import { FILE_TIMEOUT_MS } from './file-timeout.ts';
import { costSoFar, NOTHING, recordCost } from './record-cost.ts';

export async function runInTurn(files: readonly string[]): Promise<void> {
  // The start of the process, and what the first file loads for all, is told as the first file's.
  let before = NOTHING;
  for (const file of files) {
    await runFile(file, before);
    before = costSoFar();
  }
}

/** Ends when the tests have. */
function runFile(file: string, before: Cost): Promise<void> {
  return new Promise((resolve) => {
    suite(file, { timeout: FILE_TIMEOUT_MS }, async () => {
      // Ahead of the file's own hooks, so that one of them that throws does not keep the next file from its turn.
      after(() => {
        recordCost(file, before);
        resolve();
      });
      await import(pathToFileURL(file).href);
    });
  });
}
