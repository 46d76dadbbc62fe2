/** The parts of a plug-in's question that `POST /token/verify` does not have (contract section 4.6). */

import { textToBytes } from '../../domain/crypto/hashing.ts';
import { MAX_METADATA_BYTES } from '../../domain/formats/metadata.ts';
import type { JsonObject } from '../../domain/json/strict-json.ts';
import { fault } from './verification-request.ts';

/** Where the action of a step stands in its plan; 16 digits hold every whole number that a JSON number holds. */
const ACTION_PATH = /^\/steps\/\[(0|[1-9][0-9]{0,15})\]\/action$/;

function indexIn(path: string): number | undefined {
  const digits = ACTION_PATH.exec(path)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** The index of the step whose action a path names. Throws `VALIDATION_ERROR`. */
export function readStepPath(path: string): number {
  const index = indexIn(path);
  if (index === undefined) throw fault('/path', 'must be /steps/[i]/action');
  return index;
}

export interface NamedStep {
  readonly path?: string | undefined;
  readonly step_index?: number | undefined;
}

/** From `path`, `step_index` or both. Throws `VALIDATION_ERROR`. */
export function readStepIndex({ path, step_index: stepIndex }: NamedStep): number {
  const named = path === undefined ? undefined : readStepPath(path);
  if (named !== undefined && stepIndex !== undefined && named !== stepIndex)
    throw fault('/step_index', 'and path name different steps');
  const index = named ?? stepIndex;
  if (index === undefined) throw fault('/step_index', 'or path is required');
  return index;
}

/** The same of a body that has passed its schema, where nothing is refused yet: undefined for one that names no step. */
export function statedStepIndex({ path, step_index: stepIndex }: NamedStep): number | undefined {
  return (path === undefined ? undefined : indexIn(path)) ?? stepIndex;
}

/** Free JSON of which nothing is kept. Throws `VALIDATION_ERROR`. */
export function requireSmallContext(context: JsonObject | undefined): void {
  if (context !== undefined && textToBytes(JSON.stringify(context)).length > MAX_METADATA_BYTES)
    throw fault('/context', `must not be larger than ${MAX_METADATA_BYTES} bytes`);
}
