/** Small arithmetic over rounds, and how figures are printed. */

import { availableParallelism, cpus, release, type as systemType, totalmem } from 'node:os';
import type { BenchPostgres } from './database.ts';

/** NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export const mebibytes = (bytes: number): number => Math.round(bytes / 1024 ** 2);

/** Columns as wide as they need to be; the first to the left, numbers to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join('  ');
  return rows.map(line).join('\n');
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryMiB: number;
  readonly system: string;
  readonly node: string;
  readonly postgres: string;
  /** Median of a commit of one row. */
  readonly commitMs: number;
}

export function machineOf(postgres: BenchPostgres): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryMiB: mebibytes(totalmem()),
    system: `${systemType()} ${release()}`,
    node: process.version,
    postgres: `${postgres.version} (${postgres.origin}; fsync, full_page_writes, synchronous_commit on)`,
    commitMs: Math.round(postgres.commitMs * 100) / 100,
  };
}

export function describeMachine(machine: Machine): string {
  return [
    `cpu       ${machine.cpu}, ${machine.cores} cores, shared by client, server and database`,
    `memory    ${machine.memoryMiB} MiB`,
    `system    ${machine.system}`,
    `node      ${machine.node}`,
    `postgres  ${machine.postgres}`,
    `commit    ${machine.commitMs} ms (median of 200, one row each, one after the other)`,
  ].join('\n');
}
