/** What a process costs, read from outside: memory, and processor time of all its threads. */

import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

/** USER_HZ, which Linux fixes at 100 for what it shows to programs. */
const TICKS_PER_SECOND = 100;

/** Resident memory now. */
export async function rssBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => undefined);
  const kibibytes =
    status === undefined
      ? (await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(pid)])).stdout
      : (/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 'NaN');
  return Number(kibibytes) * 1024;
}

/** Used so far; undefined where there is no /proc. */
export async function cpuSeconds(pid: number): Promise<number | undefined> {
  const stat = await statOf(pid);
  return stat === undefined ? undefined : stat.ownTicks / TICKS_PER_SECOND;
}

/** The same of a process and its children, those that have ended included. */
export async function familyCpuSeconds(pid: number): Promise<number | undefined> {
  const parent = await statOf(pid);
  if (parent === undefined) return undefined;
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry)).map(Number);
  const stats = await Promise.all(pids.map(statOf));
  const children = stats.filter((stat) => stat?.parent === pid);
  const ticks = children.reduce((sum, child) => sum + (child?.ownTicks ?? 0), 0);
  return (parent.ownTicks + parent.endedChildrenTicks + ticks) / TICKS_PER_SECOND;
}

interface ProcessStat {
  readonly parent: number;
  readonly ownTicks: number;
  readonly endedChildrenTicks: number;
}

/** proc(5): the name may hold anything; what is counted here begins behind it. */
async function statOf(pid: number): Promise<ProcessStat | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  const sumOf = (first: number): number => (fields[first] ?? Number.NaN) + (fields[first + 1] ?? Number.NaN);
  return { parent: fields[1] ?? Number.NaN, ownTicks: sumOf(11), endedChildrenTicks: sumOf(13) };
}
