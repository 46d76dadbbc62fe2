/** The text that Prometheus reads: what Writ counts, and what `prom-client` measures of the process. */

import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { type Distribution, METRICS, type MetricName, type Metrics } from './metrics.ts';

export interface MetricsText {
  readonly contentType: string;
  /** Scrapes at the same time share one reading. */
  scrape(): Promise<string>;
}

/** Starts measuring the process. */
export function createMetricsText(metrics: Metrics): MetricsText {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  let underWay: Promise<string> | undefined;
  return {
    contentType: registry.contentType,
    scrape: () => {
      underWay ??= textOf(metrics, registry).finally(() => {
        underWay = undefined;
      });
      return underWay;
    },
  };
}

async function textOf(metrics: Metrics, ofProcess: Registry): Promise<string> {
  const registry = new Registry();
  const distributions: string[] = [];
  for (const { name, samples } of await metrics.samples()) {
    const { kind, help, labels } = METRICS[name];
    if (samples.length === 0) continue;
    if (kind === 'histogram') {
      distributions.push(histogramText(name, samples as unknown as readonly DistributionSample[]));
      continue;
    }
    const Kind = kind === 'counter' ? Counter : Gauge;
    const metric = new Kind({ name, help, labelNames: [...labels], registers: [registry] });
    for (const sample of samples) metric.inc(sample.labels, sample.value as number);
  }
  return [await registry.metrics(), ...distributions, await ofProcess.metrics()].join('\n');
}

interface DistributionSample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: Distribution;
}

/** `prom-client` makes a histogram of single observations only, and Writ counts them in buckets by itself. */
function histogramText(name: MetricName, samples: readonly DistributionSample[]): string {
  const lines = samples.flatMap(({ labels, value: { bounds, counts, sum } }) => {
    const pairs = Object.entries(labels).map(([label, value]) => `${label}=${JSON.stringify(value)}`);
    let soFar = 0;
    const buckets = [...bounds.map(String), '+Inf'].map((bound, index) => {
      soFar += counts[index] ?? 0;
      return `${name}_bucket{${[...pairs, `le="${bound}"`].join()}} ${soFar}`;
    });
    return [...buckets, `${name}_sum{${pairs.join()}} ${sum}`, `${name}_count{${pairs.join()}} ${soFar}`];
  });
  return [`# HELP ${name} ${METRICS[name].help}`, `# TYPE ${name} histogram`, ...lines, ''].join('\n');
}
