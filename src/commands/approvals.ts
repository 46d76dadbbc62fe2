/** `writ approvals`: the human side of approvals, at a terminal, against a running server. */

import type { Command } from 'commander';
import { type Approval, describeApproval, describeVotes, renderApprovals } from './approval-text.ts';
import { type CommandContext, type DeclareCommand, JSON_FLAG, print } from './command.ts';
import { confirm } from './confirmation.ts';
import { readServerAddress, requestJson, type ServerAddress, URL_FLAG } from './server-client.ts';

interface Options {
  readonly url?: string;
  readonly json?: true;
  readonly reason?: string;
}

const ID = ['<id>', 'the approval, as "writ approvals list" names it'] as const;

export const declareApprovals: DeclareCommand = (program, context) => {
  const approvals = program
    .command('approvals')
    .description('list, show, approve or deny what agents have asked for')
    .addHelpText('after', '\nThe key of an approver or an administrator is read from WRIT_KEY.');
  const declare = (name: string, description: string): Command =>
    approvals
      .command(name)
      .description(description)
      .option(...URL_FLAG)
      .option(...JSON_FLAG);

  declare('list', 'list requests')
    .option('--status <status>', 'pending, approved, denied, expired, claimed or all', 'pending')
    .action((options: Options & { status: string }) => list(context, options));
  declare('show', 'show all that a request opens')
    .argument(...ID)
    .action((id: string, options: Options) => show(context, id, options));
  declare('approve', 'show a request, ask, and approve exactly what was shown')
    .argument(...ID)
    .option('--reason <text>', 'why, for the record')
    .option('--yes', 'approve without asking')
    .action((id: string, options: Options & { yes?: true }) => approve(context, id, options));
  declare('deny', 'deny a request')
    .argument(...ID)
    .option('--reason <text>', 'why, for the record')
    .action((id: string, options: Options) => deny(context, id, options));
};

async function list(
  context: CommandContext,
  { url, json, status }: Options & { readonly status: string },
): Promise<void> {
  const query = status === 'all' ? '' : `?status=${encodeURIComponent(status)}`;
  const { items } = await requestJson<{ items: Approval[] }>(readServerAddress(context.env, url), {
    method: 'GET',
    path: `/v1/approvals${query}`,
  });
  const none = `There are no${status === 'all' ? '' : ` ${status}`} approvals.`;
  print(context, { json, value: { items }, people: items.length === 0 ? none : renderApprovals(items) });
}

async function show(context: CommandContext, id: string, { url, json }: Options): Promise<void> {
  const approval = await find(readServerAddress(context.env, url), id);
  print(context, { json, value: approval, people: describeApproval(approval) });
}

/** Approves exactly what was shown: the digest goes along, so a request that differs is refused. */
async function approve(
  context: CommandContext,
  id: string,
  { url, json, yes, reason }: Options & { readonly yes?: true },
): Promise<void> {
  const server = readServerAddress(context.env, url);
  const approval = await find(server, id);
  if (yes !== true) {
    context.stderr.write(`${describeApproval(approval)}\n\n`);
    if (!(await confirm(context, `Approve ${id}? [y/N] `))) {
      context.stderr.write('Nothing was done.\n');
      context.exitWith(1);
      return;
    }
  }
  const body = { reason, request_digest: approval.request_digest };
  const decided = await decide(server, { id, verb: 'approve', body });
  print(context, { json, value: decided, people: `${id}: ${describeVotes(decided)}.` });
}

async function deny(context: CommandContext, id: string, { url, json, reason }: Options): Promise<void> {
  const decided = await decide(readServerAddress(context.env, url), { id, verb: 'deny', body: { reason } });
  print(context, { json, value: decided, people: `${id} is denied.` });
}

function find(server: ServerAddress, id: string): Promise<Approval> {
  return requestJson(server, { method: 'GET', path: `/v1/approvals/${encodeURIComponent(id)}` });
}

/** Members of the body that are undefined are left out. */
function decide(
  server: ServerAddress,
  { id, verb, body }: { readonly id: string; readonly verb: 'approve' | 'deny'; readonly body: object },
): Promise<Approval> {
  return requestJson(server, {
    method: 'POST',
    path: `/v1/approvals/${encodeURIComponent(id)}/${verb}`,
    body,
  });
}
