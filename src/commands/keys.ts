/** `writ keys`: the API keys of an agent at a terminal, against a running server: listed, looked at, rotated. */

import type { Command } from 'commander';
import { ROTATION_OVERLAP } from '../domain/principals/api-key-overlap.ts';
import { type CommandContext, type DeclareCommand, JSON_FLAG, print, UsageError } from './command.ts';
import { readServerAddress, requestJson, URL_FLAG } from './server-client.ts';
import { renderFields, renderTable } from './terminal-text.ts';

interface Options {
  readonly agent: string;
  readonly url?: string;
  readonly json?: true;
}

/** As the server answers it. */
interface Key {
  readonly id: string;
  readonly name: string | null;
  readonly prefix: string;
  readonly status: string;
  readonly created_at: string;
  readonly expires_at: string | null;
  readonly last_used_at: string | null;
  readonly last_used_ip: string | null;
  readonly revoked_at: string | null;
  readonly agent_id: string;
  readonly agent_name: string;
}

interface RotatedKey extends Key {
  readonly api_key: string;
  readonly older_keys: readonly { readonly id: string; readonly expires_at: string }[];
}

const WHOSE = 'an administrator';

export const declareKeys: DeclareCommand = (program, context) => {
  const keys = program
    .command('keys')
    .description('list, show and rotate the API keys of an agent')
    .addHelpText('after', `\nThe key of ${WHOSE} is read from WRIT_KEY.`);
  const declare = (name: string, description: string): Command =>
    keys
      .command(name)
      .description(description)
      .requiredOption('--agent <name>', 'whose keys: a name or an id')
      .option(...URL_FLAG)
      .option(...JSON_FLAG);

  declare('list', 'list the keys of an agent, oldest first, the dead ones included').action(
    (options: Options) => list(context, options),
  );
  declare('show', 'show one key: since when, last used when and from where, until when')
    .argument('<key-id>', 'the 16 hex characters after ak_live_ or ak_test_')
    .action((keyId: string, options: Options) => show(context, keyId, options));
  declare('rotate', 'make a new key, print it once, and let the older ones end after an overlap')
    .option('--overlap <time>', 'how long the older keys live on: 90m, 24h, 7d; 0 ends them at once', '24h')
    .option('--name <label>', 'what the new key is for')
    .option('--expires <time>', 'until when the new key lives, for example 2027-06-30T00:00:00Z')
    .action((options: RotateOptions) => rotate(context, options));
};

const keysPath = (agent: string): string => `/v1/agents/${encodeURIComponent(agent)}/keys`;

async function list(context: CommandContext, { agent, url, json }: Options): Promise<void> {
  const answer = await requestJson<{ items: readonly Key[] }>(readServerAddress(context.env, url, WHOSE), {
    method: 'GET',
    path: keysPath(agent),
  });
  print(context, { json, value: answer, people: renderKeys(answer.items) });
}

const HEADER = ['KEY ID', 'STATUS', 'CREATED', 'LAST USED', 'FROM', 'EXPIRES'];
/** So that a row fits 80 columns whatever the address is: `show` has it whole. */
const ADDRESS_WIDTH = 15;

const dayOf = (instant: string | null, none: string): string => instant?.slice(0, 10) ?? none;
const cut = (text: string): string =>
  text.length <= ADDRESS_WIDTH ? text : `${text.slice(0, ADDRESS_WIDTH - 3)}...`;

function renderKeys(keys: readonly Key[]): string {
  const rows = keys.map((key) => [
    key.id,
    key.status,
    dayOf(key.created_at, '-'),
    dayOf(key.last_used_at, 'never'),
    cut(key.last_used_ip ?? '-'),
    dayOf(key.expires_at, 'never'),
  ]);
  return renderTable([HEADER, ...rows]);
}

async function show(context: CommandContext, keyId: string, { agent, url, json }: Options): Promise<void> {
  const key = await requestJson<Key>(readServerAddress(context.env, url, WHOSE), {
    method: 'GET',
    path: `${keysPath(agent)}/${encodeURIComponent(keyId)}`,
  });
  const people = renderFields([
    ['key', key.id],
    ['agent', `${key.agent_name} (${key.agent_id})`],
    ['name', key.name ?? '-'],
    ['status', key.status],
    ['created', key.created_at],
    ['last used', key.last_used_at ?? 'never'],
    ['from', key.last_used_ip ?? '-'],
    ['expires', key.expires_at ?? 'never'],
    ...(key.revoked_at === null ? [] : [['revoked', key.revoked_at] as const]),
  ]);
  print(context, { json, value: key, people });
}

interface RotateOptions extends Options {
  readonly overlap: string;
  readonly name?: string;
  readonly expires?: string;
}

async function rotate(context: CommandContext, options: RotateOptions): Promise<void> {
  const { agent, url, json, overlap, name, expires } = options;
  const overlapSeconds = readOverlap(overlap);
  const made = await requestJson<RotatedKey>(readServerAddress(context.env, url, WHOSE), {
    method: 'POST',
    path: `${keysPath(agent)}/rotate`,
    body: { overlap_seconds: overlapSeconds, name, expires_at: expires },
  });
  const ends = (end: string): string => (overlapSeconds === 0 ? 'ended' : end);
  const older =
    made.older_keys.length === 0
      ? 'There was no older key that lived.'
      : renderTable([
          ['OLDER KEY', 'ENDS'],
          ...made.older_keys.map(({ id, expires_at: end }) => [id, ends(end)]),
        ]);
  const people = `New key of ${made.agent_name}, shown this once:\n\n  ${made.api_key}\n\n${older}`;
  print(context, { json, value: made, people });
}

const SECONDS_OF: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

function readOverlap(given: string): number {
  const [, digits, unit = 's'] = /^(\d{1,7})([smhd]?)$/.exec(given) ?? [];
  const seconds = digits === undefined ? Number.NaN : Number(digits) * (SECONDS_OF[unit || 's'] ?? 1);
  if (seconds >= 0 && seconds <= ROTATION_OVERLAP.maxSeconds) return seconds;
  throw new UsageError('--overlap must be a time up to 30d, for example 90m, 24h or 7d; 0 ends them at once');
}
