/**
 * Everything that Writ counts and measures for Prometheus, declared once. Counting costs an addition; what can be asked
 * is asked at a scrape, and the package that writes it down is loaded by the listener only (`metrics-text.ts`).
 */

export interface MetricDeclaration {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  /** One sentence; docs/operating.md says the same. */
  readonly help: string;
  /** Values of a label come from a closed set: never a name that a caller chooses. */
  readonly labels: readonly string[];
}

export const METRICS = {
  writ_build_info: {
    kind: 'gauge',
    help: 'Always 1; the labels say which version of Writ runs on which version of Node.js.',
    labels: ['version', 'node'],
  },
  writ_http_requests_total: {
    kind: 'counter',
    help: 'Requests that were answered, by the pattern of their route and the class of the status.',
    labels: ['method', 'route', 'status'],
  },
  writ_http_request_duration_seconds: {
    kind: 'histogram',
    help: 'Seconds from the head of a request to the end of its answer.',
    labels: ['method', 'route'],
  },
  writ_refusals_total: {
    kind: 'counter',
    help: 'Requests that were refused, by error code.',
    labels: ['code'],
  },
  writ_integrity_errors_total: {
    kind: 'counter',
    help: 'Times that a row of the database was refused because it is not what Writ wrote.',
    labels: [],
  },
  writ_canary_touches_total: {
    kind: 'counter',
    help: 'Times that a canary was touched, read or refused.',
    labels: [],
  },
  writ_job_failures_total: {
    kind: 'counter',
    help: 'Runs of a job beside requests that failed; it runs again.',
    labels: ['job'],
  },
  // Before what asks the database: else the pool would show the queries of the scrape itself.
  writ_database_connections: {
    kind: 'gauge',
    help: 'Connections of this process to PostgreSQL, by what they do.',
    labels: ['state'],
  },
  writ_database_connections_max: {
    kind: 'gauge',
    help: 'Connections that this process may have.',
    labels: [],
  },
  writ_database_waiting: {
    kind: 'gauge',
    help: 'Statements of this process that wait for a connection.',
    labels: [],
  },
  writ_webhook_owed: {
    kind: 'gauge',
    help: 'Webhook notices in the database that are neither delivered nor given up.',
    labels: [],
  },
  writ_webhook_given_up_total: {
    kind: 'counter',
    help: 'Webhook notices that this process gave up.',
    labels: [],
  },
  writ_api_keys_ending: {
    kind: 'gauge',
    help: 'Live API keys that end within `KEY_EXPIRY_WARNING_DAYS`.',
    labels: [],
  },
  writ_api_key_next_end_seconds: {
    kind: 'gauge',
    help: 'Seconds until the next live API key ends; absent where none ends.',
    labels: [],
  },
  writ_clock_drift_seconds: {
    kind: 'gauge',
    help: 'How far the clock of the database is ahead of the clock of this process.',
    labels: [],
  },
  writ_scrape_failures_total: {
    kind: 'counter',
    help: 'Times that a metric could not be read at a scrape, which then lacks it.',
    labels: ['metric'],
  },
} as const satisfies Record<string, MetricDeclaration>;

export type MetricName = keyof typeof METRICS;
type OfKind<Kind extends string> = {
  [Name in MetricName]: (typeof METRICS)[Name]['kind'] extends Kind ? Name : never;
}[MetricName];

type LabelsOf<Name extends MetricName> = Readonly<Record<(typeof METRICS)[Name]['labels'][number], string>>;

/** One series at one moment. */
export interface Sample<Name extends MetricName = MetricName> {
  readonly labels: LabelsOf<Name>;
  readonly value: Name extends OfKind<'histogram'> ? Distribution : number;
}

export interface Distribution {
  /** Upper bounds in ascending order, without the infinite one. */
  readonly bounds: readonly number[];
  /** Observations in each bucket by itself; the last one is beyond all bounds. */
  readonly counts: readonly number[];
  readonly sum: number;
}

type Read<Name extends MetricName> = () => readonly Sample<Name>[] | Promise<readonly Sample<Name>[]>;

export interface Metrics {
  /** Adds to a counter. */
  count<Name extends OfKind<'counter'>>(name: Name, labels: LabelsOf<Name>, by?: number): void;
  /** What is asked at each scrape; where it rejects, the metric is left out. */
  read<Name extends MetricName>(name: Name, read: Read<Name>): void;
  /** All that is known now, in the order of the declarations. */
  samples(): Promise<readonly { readonly name: MetricName; readonly samples: readonly Sample[] }[]>;
}

export function createMetrics(): Metrics {
  const counted = new Map<MetricName, Map<string, { labels: object; value: number }>>();
  const readers = new Map<MetricName, Read<MetricName>>();
  const count = (name: MetricName, labels: Readonly<Record<string, string>>, by = 1): void => {
    const series = counted.get(name) ?? new Map<string, { labels: object; value: number }>();
    counted.set(name, series);
    const key = Object.values(labels).join('\n');
    const known = series.get(key);
    if (known === undefined) series.set(key, { labels, value: by });
    else known.value += by;
  };
  // So that a rate is known from the first time on.
  for (const [name, { kind, labels }] of Object.entries(METRICS)) {
    if (kind === 'counter' && labels.length === 0) count(name as MetricName, {}, 0);
  }
  const samplesOf = async (name: MetricName): Promise<readonly Sample[]> => {
    const read = readers.get(name);
    if (read === undefined) return [...(counted.get(name)?.values() ?? [])] as unknown as Sample[];
    try {
      return await read();
    } catch {
      count('writ_scrape_failures_total', { metric: name });
      return [];
    }
  };
  return {
    count,
    read: (name, read) => void readers.set(name, read as Read<MetricName>),
    // The last one counts the failures of the others.
    samples: async () => {
      const names = Object.keys(METRICS) as MetricName[];
      const others = names.filter((name) => name !== 'writ_scrape_failures_total');
      const read = await Promise.all(others.map(async (name) => ({ name, samples: await samplesOf(name) })));
      const failures = await samplesOf('writ_scrape_failures_total');
      return [...read, { name: 'writ_scrape_failures_total', samples: failures }];
    },
  };
}
