/**
 * SIGTERM and SIGINT: the first asks the process to stop, which may come before it listens. A stop that takes too
 * long is cut off, and a second signal ends the process at once; both with exit code 1. Packages for this choose the
 * exit code of every stop themselves: a start fault that is found after a signal would lose its code 2 and its report.
 */

export interface StopSignal {
  received(): boolean;
  readonly arrival: Promise<void>;
}

/** From now on the two signals no longer end the process by themselves. */
export function awaitStopSignal(shutdownTimeoutMs: number): StopSignal {
  let isReceived = false;
  const arrival = new Promise<void>((resolve) => {
    const onSignal = (): void => {
      if (isReceived) process.exit(1);
      isReceived = true;
      setTimeout(() => process.exit(1), shutdownTimeoutMs).unref();
      resolve();
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
  return { received: () => isReceived, arrival };
}
