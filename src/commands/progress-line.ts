/** How far a command is: one line that is drawn again on a terminal, else a line now and then. */

const WIDTH = 24;
const ON_TERMINAL_MS = 200;
const ELSEWHERE_MS = 5000;

export interface Progress {
  /** So many are done of `total`, which may grow. */
  update(done: number, total: number): void;
  /** The last line stays. */
  end(): void;
}

export function createProgress(options: {
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly what: string;
  readonly nowMs: () => number;
}): Progress {
  const { stderr, what, nowMs } = options;
  const isTerminal = stderr.isTTY === true;
  const startedAt = nowMs();
  let shownAt = Number.NEGATIVE_INFINITY;
  let state = { done: 0, total: 0 };
  let shown = state;
  const show = (): void => {
    const line = progressLine(what, { ...state, elapsedMs: nowMs() - startedAt });
    stderr.write(isTerminal ? `\r\u001b[K${line}` : `${line}\n`);
    shownAt = nowMs();
    shown = state;
  };
  return {
    update: (done, total) => {
      if (done === state.done && total === state.total) return;
      state = { done, total };
      if (nowMs() - shownAt >= (isTerminal ? ON_TERMINAL_MS : ELSEWHERE_MS)) show();
    },
    end: () => {
      if (shown !== state) show();
      if (isTerminal && state.total > 0) stderr.write('\n');
    },
  };
}

/** `re-wrapping [######            ]  1200 of 4800 rows, 800 a second, 5 s left`. */
export function progressLine(
  what: string,
  { done, total, elapsedMs }: { readonly done: number; readonly total: number; readonly elapsedMs: number },
): string {
  const part = total === 0 ? 1 : Math.min(1, done / total);
  const bar = '#'.repeat(Math.floor(part * WIDTH)).padEnd(WIDTH);
  const rate = elapsedMs > 0 ? (done * 1000) / elapsedMs : 0;
  const left = rate > 0 ? `, ${timeOf(Math.ceil(Math.max(0, total - done) / rate))} left` : '';
  return `${what} [${bar}] ${done} of ${total} rows, ${Math.round(rate)} a second${left}`;
}

function timeOf(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes} min ${seconds % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
