/** What a command of `writ` is, and the errors that mean "you typed something that I do not know". */

export interface Command {
  /** For the list in `writ --help`: one line. */
  readonly summary: string;
  readonly usage: string;
  /** Resolves to the exit code. `args` are what follows the command's name. */
  run(args: string[], env: NodeJS.ProcessEnv): Promise<number>;
}

/** Exit code 64 (sysexits EX_USAGE): the command line itself is wrong. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Standard output for people, or one JSON document with `--json`. */
export function print(json: boolean, value: object, people: string): void {
  process.stdout.write(json ? `${JSON.stringify(value)}\n` : `${people}\n`);
}
