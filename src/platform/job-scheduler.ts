/** What runs without a request: each job by itself, never twice at once, and a failure is reported, not fatal. */

export interface Job {
  readonly name: string;
  readonly everyMs: number;
  readonly run: () => Promise<void>;
}

/** Starts the jobs; the returned function stops them and resolves when none is running. */
export function startJobs(
  jobs: readonly Job[],
  onFailure: (job: string, error: unknown) => void,
): () => Promise<void> {
  const stops = jobs.map((job) => startJob(job, onFailure));
  return async () => void (await Promise.all(stops.map((stop) => stop())));
}

function startJob(job: Job, onFailure: (job: string, error: unknown) => void): () => Promise<void> {
  let running: Promise<void> | undefined;
  const timer = setInterval(() => {
    running ??= job
      .run()
      .catch((error: unknown) => onFailure(job.name, error))
      .finally(() => {
        running = undefined;
      });
  }, job.everyMs);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await running;
  };
}
