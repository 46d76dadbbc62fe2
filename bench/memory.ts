/** Whether memory stays flat: two minutes at full load on one path, resident memory every ten seconds. */

import { setTimeout as delay } from 'node:timers/promises';
import type { Bench } from './contestants.ts';
import { mebibytes, median, table } from './figures.ts';
import { load } from './load.ts';
import type { PathName } from './paths.ts';
import { startWrit } from './writ.ts';

const SAMPLE_SECONDS = 10;

export async function measureMemory(
  bench: Bench,
  { seconds, path }: { seconds: number; path: PathName },
  say: (text: string) => void,
) {
  const { server, targetOf } = await startWrit(bench);
  const target = await targetOf(path);
  const samples: { second: number; rssMiB: number }[] = [];
  const sample = async (second: number): Promise<void> => {
    samples.push({ second, rssMiB: mebibytes(await server.rssBytes()) });
    say(`${second} s: ${samples.at(-1)?.rssMiB} MiB`);
  };
  await sample(0);
  const loading = load(target, seconds);
  for (let second = SAMPLE_SECONDS; second <= seconds; second += SAMPLE_SECONDS) {
    await Promise.race([delay(SAMPLE_SECONDS * 1000), loading.then(() => delay(SAMPLE_SECONDS * 1000))]);
    await sample(second);
  }
  const { answers, perSecond } = await loading;
  const warm = samples.slice(1);
  const half = Math.floor(warm.length / 2);
  const firstHalfMiB = median(warm.slice(0, half).map(({ rssMiB }) => rssMiB));
  const secondHalfMiB = median(warm.slice(half).map(({ rssMiB }) => rssMiB));
  const result = { path, answers, perSecond: Math.round(perSecond), samples, firstHalfMiB, secondHalfMiB };
  const rows = samples.map(({ second, rssMiB }) => [String(second), String(rssMiB)]);
  const text = [
    table([['second', 'RSS MiB'], ...rows]),
    '',
    `${path}: ${answers} answers at ${result.perSecond}/s; median of the first half ${firstHalfMiB} MiB, of the second ${secondHalfMiB} MiB`,
  ].join('\n');
  return { result, text };
}
