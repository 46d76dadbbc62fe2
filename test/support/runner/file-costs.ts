/**
 * What each test file of a run took, and which took more than one file may. A file is judged by the time that it kept
 * processors busy, which the other work of a machine does not make ten times longer, and not by the clock.
 */
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Cost {
  /** Of the file's process and of those that it started, in user and system mode. */
  readonly processorSeconds: number;
  readonly wallSeconds: number;
}

export interface FileCost extends Cost {
  /** As the process was told to run it: an absolute path of compiled JavaScript. */
  readonly file: string;
}

/** Called in the process of the file, when its tests are over. */
export function writeCost(folder: string, file: string, cost: Cost): void {
  writeFileSync(join(folder, `${randomUUID()}.json`), JSON.stringify({ file, ...cost }));
}

/** The most expensive first. */
export function readCosts(folder: string): FileCost[] {
  return readdirSync(folder)
    .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as FileCost)
    .sort((a, b) => b.processorSeconds - a.processorSeconds);
}

export function overBudget(costs: readonly FileCost[], budgetSeconds: number): FileCost[] {
  return costs.filter(({ processorSeconds }) => processorSeconds > budgetSeconds);
}
