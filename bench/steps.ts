/** What a step costs: the same server with plans of 1 to 1,000 steps. Linear means: the last column does not grow. */

import type { Bench } from './contestants.ts';
import { table } from './figures.ts';
import { load, type Target } from './load.ts';
import { measureLoad } from './measurement.ts';
import { askForIntentToken, planOf } from './paths.ts';
import { startWrit } from './writ.ts';

const SIZES = [1, 10, 100, 1000];

interface StepCost {
  readonly steps: number;
  readonly perSecond: number;
  readonly p99Ms: number;
  /** Of wall clock at full load. */
  readonly usPerToken: number;
  /** Processor time of the server; undefined where it cannot be read. */
  readonly cpuUsPerToken: number | undefined;
  readonly usPerStep: number;
  /** What each step beyond those of the size before adds. */
  readonly usPerAddedStep: number | undefined;
}

export async function measureSteps(bench: Bench, seconds: number, say: (text: string) => void) {
  const { server, agent } = await startWrit(bench);
  const costs: StepCost[] = [];
  for (const steps of SIZES) {
    const target: Target = {
      origin: server.origin,
      asks: [askForIntentToken(agent.apiKey, planOf(steps))],
    };
    await load(target, 2);
    const measured = await measureLoad(bench, server, target, seconds);
    const { cpuUs } = measured;
    const usPerToken = 1e6 / measured.perSecond;
    const previous = costs.at(-1);
    costs.push({
      steps,
      perSecond: Math.round(measured.perSecond * 10) / 10,
      p99Ms: measured.p99Ms,
      usPerToken: Math.round(usPerToken),
      cpuUsPerToken: cpuUs === undefined ? undefined : Math.round(cpuUs),
      usPerStep: oneDigit(usPerToken / steps),
      usPerAddedStep:
        previous === undefined
          ? undefined
          : oneDigit((usPerToken - previous.usPerToken) / (steps - previous.steps)),
    });
    say(`${steps} steps: ${Math.round(measured.perSecond)}/s`);
  }
  return { result: { costs }, text: describe(costs) };
}

const oneDigit = (value: number): number => Math.round(value * 10) / 10;

function describe(costs: readonly StepCost[]): string {
  const head = [
    'steps',
    'tokens/s',
    'p99 ms',
    'µs/token',
    'server CPU µs/token',
    'µs/step',
    'µs per added step',
  ];
  const rows = costs.map((cost) => [
    String(cost.steps),
    String(cost.perSecond),
    String(cost.p99Ms),
    String(cost.usPerToken),
    String(cost.cpuUsPerToken ?? '-'),
    String(cost.usPerStep),
    String(cost.usPerAddedStep ?? '-'),
  ]);
  return table([head, ...rows]);
}
