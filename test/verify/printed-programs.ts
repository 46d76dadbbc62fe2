/** Guarantees the programs of the pages for verifiers as they are printed, with the address of a test's server put in. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fencesOf, readText } from '../support/markdown.ts';

const PRINTED_URL = 'http://127.0.0.1:3000';

/** The first program in that language. */
export function printedProgram(
  language: 'ts' | 'python',
  url: string,
  page: 'docs/verifying.md' | 'docs/gateways.md' = 'docs/verifying.md',
): string {
  const [program] = fencesOf(readText(page), language);
  if (program?.includes(PRINTED_URL) !== true) throw new Error(`${page} has no program in ${language}`);
  return program.replaceAll(PRINTED_URL, url);
}

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The question is its whole standard input. */
export async function runProgram(
  command: string,
  file: string,
  { cwd, question }: { readonly cwd: string; readonly question: unknown },
): Promise<Outcome> {
  const child = spawn(command, [file], { cwd, stdio: 'pipe' });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.end(JSON.stringify(question));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}
