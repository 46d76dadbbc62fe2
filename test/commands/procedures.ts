/** Guarantees that a test runs a procedure of docs/keys.md as a person reads it: its commands, from the first step on. */
import assert from 'node:assert/strict';
import { fencesOf, readText } from '../support/markdown.ts';

const KEYS = readText('docs/keys.md');

/** The commands of one procedure, in their order, and that its steps are numbered from 1. */
export function commandsOf(title: string): string[] {
  const section = KEYS.split('\n### ').find((part) => part.startsWith(title)) ?? assert.fail(title);
  const steps = [...section.matchAll(/^(\d+)\. /gm)].map(([, number]) => Number(number));
  assert.deepEqual(
    steps,
    steps.map((_, index) => index + 1),
    title,
  );
  // A fence of a step is indented by three.
  return fencesOf(section.replace(/^ {3}/gm, ''), 'sh').map((fence) => fence.trim());
}
