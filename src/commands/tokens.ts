/** `writ tokens`: lists intent tokens and ends them at a terminal, against a running server. */

import type { Command } from 'commander';
import { type CommandContext, type DeclareCommand, JSON_FLAG, print, UsageError } from './command.ts';
import { readServerAddress, requestJson, URL_FLAG } from './server-client.ts';
import { renderTable } from './terminal-text.ts';

interface Options {
  readonly url?: string;
  readonly json?: true;
}

/** As the server answers it. */
interface IntentToken {
  readonly token_id: string;
  readonly status: string;
  readonly agent_name: string;
  readonly plan_hash: string;
  readonly total_steps: number;
  readonly consumed_steps: readonly number[];
  readonly expires_at: string;
}

const WHOSE = 'an agent or an administrator';
const STATUSES: readonly string[] = ['active', 'expired', 'revoked', 'all'];
const MAX_REASON = 500;

export const declareTokens: DeclareCommand = (program, context) => {
  const tokens = program
    .command('tokens')
    .description('list and revoke intent tokens: an agent its own, an administrator all')
    .addHelpText('after', `\nThe key of ${WHOSE} is read from WRIT_KEY.`);
  const declare = (name: string, description: string): Command =>
    tokens
      .command(name)
      .description(description)
      .option(...URL_FLAG)
      .option(...JSON_FLAG);

  declare('list', 'list intent tokens, newest first')
    .option('--status <status>', STATUSES.join(', '), 'active')
    .option('--limit <number>', '1 to 1000', '100')
    .action((options: Options & { status: string; limit: string }) => list(context, options));
  declare('revoke', 'revoke an intent token and everything that was delegated from it, at once')
    .argument('<id>', 'the token, as "writ tokens list" names it')
    .option('--reason <text>', 'why, for the record')
    .action((id: string, options: Options & { reason?: string }) => revoke(context, id, options));
};

async function list(
  context: CommandContext,
  { url, json, status, limit }: Options & { readonly status: string; readonly limit: string },
): Promise<void> {
  if (!STATUSES.includes(status)) throw new UsageError(`--status must be one of ${STATUSES.join(', ')}`);
  const query = new URLSearchParams({ limit, ...(status === 'all' ? {} : { status }) });
  const answer = await requestJson<{ items: IntentToken[]; next_cursor: string | null }>(
    readServerAddress(context.env, url, WHOSE),
    { method: 'GET', path: `/v1/intent-tokens?${query}` },
  );
  const { items, next_cursor: next } = answer;
  const none = `There are no${status === 'all' ? '' : ` ${status}`} intent tokens.`;
  const more = next === null ? '' : `\nThere are more than ${limit}; use --limit.`;
  print(context, {
    json,
    value: answer,
    people: items.length === 0 ? none : `${renderTokens(items)}${more}`,
  });
}

const HEADER = ['ID', 'STATUS', 'AGENT', 'UNTIL', 'CONSUMED', 'PLAN HASH'];

function renderTokens(tokens: readonly IntentToken[]): string {
  const rows = tokens.map((token) => [
    token.token_id,
    token.status,
    token.agent_name,
    token.expires_at,
    `${token.consumed_steps.length}/${token.total_steps}`,
    token.plan_hash,
  ]);
  return renderTable([HEADER, ...rows]);
}

async function revoke(
  context: CommandContext,
  id: string,
  { url, json, reason }: Options & { readonly reason?: string },
): Promise<void> {
  if (reason !== undefined && reason.length > MAX_REASON)
    throw new UsageError(`--reason must not be longer than ${MAX_REASON} characters`);
  const answer = await requestJson<{ token_id: string; revoked_count: number }>(
    readServerAddress(context.env, url, WHOSE),
    { method: 'POST', path: '/token/revoke', body: { token_id: id, reason } },
  );
  const others = answer.revoked_count - 1;
  const heirs = others === 0 ? '' : `, and with it ${others} delegated from it`;
  print(context, { json, value: answer, people: `${answer.token_id} is revoked${heirs}.` });
}
