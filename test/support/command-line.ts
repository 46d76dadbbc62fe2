/**
 * Guarantees that a test runs `writ` as a person does, with nothing in the environment but what is given: in this
 * process, which takes milliseconds, or in one of its own, which shows the exit code.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import type { TestContext } from 'node:test';
import { run } from '../../src/commands/run.ts';
import { createTestDatabase } from './postgres.ts';
import { startNode } from './processes.ts';
import { CLI } from './programs.ts';
import { TEST_MASTER_KEY } from './test-master-key.ts';

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

type Environment = Readonly<Record<string, string>>;

/** Standard input is no terminal and has ended, or one at which a line is typed. */
export async function runHere(
  args: readonly string[],
  env: Environment = {},
  typed?: string,
): Promise<Ended> {
  const stdout = collector();
  const stderr = collector();
  const code = await run(args, {
    env,
    stdin: typed === undefined ? Readable.from([]) : terminalWith(typed),
    stdout: stdout.stream,
    stderr: stderr.stream,
  });
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}

/** It stays open, as a terminal does. */
function terminalWith(typed: string): Readable & { isTTY: boolean } {
  const stdin = new Readable({ read: () => undefined });
  stdin.push(typed);
  return Object.assign(stdin, { isTTY: true });
}

/** The built `writ`, its output piped. */
export async function runProcess(
  t: TestContext,
  args: readonly string[],
  env: Environment = {},
): Promise<Ended> {
  const started = await startNode(t, [CLI, ...args], env);
  const code = await started.ended;
  return { code, stdout: started.stdout(), stderr: started.stderr() };
}

function collector(): { stream: Writable; text: () => string } {
  let text = '';
  const stream = new Writable({
    decodeStrings: false,
    write: (chunk: string, _encoding, done) => {
      text += chunk;
      done();
    },
  });
  return { stream, text: () => text };
}

/** The environment of a server, or of a command, on a migrated database of its own. */
export async function onPostgres(t: TestContext): Promise<Record<string, string>> {
  const { url } = await createTestDatabase(t);
  return { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
}

/** Removed after the test. */
export async function aFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'writ-test-cli-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
