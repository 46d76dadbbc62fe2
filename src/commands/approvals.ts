/** `writ approvals`: the human side of approvals, at a terminal, against a running server. */

import { createInterface } from 'node:readline/promises';
import { parseArgs } from 'node:util';
import { WritError } from '../errors.ts';
import { type Command, UsageError } from './command.ts';

const TIMEOUT_MS = 10_000;

interface Approval {
  readonly id: string;
  readonly agent_name: string;
  readonly access_tier: string;
  readonly status: string;
  readonly scopes: readonly string[];
  readonly ttl_seconds: number;
  readonly max_uses: number | null;
  readonly allowed_ips: readonly string[] | null;
  readonly description: string | null;
  readonly created_at: string;
  readonly expires_at: string;
  readonly approvals: readonly { readonly approver_name: string; readonly reason: string | null }[];
  readonly approvals_required: number;
  readonly effective_at: string | null;
  readonly denied_at: string | null;
  readonly reason: string | null;
  readonly request_digest: string;
}

interface Server {
  readonly url: string;
  readonly key: string;
}

export const approvals: Command = {
  summary: 'list, show, approve or deny what agents have asked for',
  usage: `writ approvals list [--status pending|approved|denied|expired|claimed|all] [--json]
writ approvals show ID [--json]
writ approvals approve ID [--reason TEXT] [--yes] [--json]
writ approvals deny ID [--reason TEXT] [--json]

  --url URL   the server; default WRIT_URL, else http://127.0.0.1:3000
  --yes       approve without asking
  The key of an approver or an administrator is read from WRIT_KEY.`,
  run: async (args, env) => {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        url: { type: 'string' },
        status: { type: 'string' },
        reason: { type: 'string' },
        yes: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
      },
    });
    const [action = '', id, ...rest] = positionals;
    const takes = Object.hasOwn(TAKES, action) ? TAKES[action] : undefined;
    if (takes === undefined || rest.length > 0 || (id !== undefined) !== takes.id) {
      throw new UsageError('say "list", "show ID", "approve ID" or "deny ID"');
    }
    for (const name of ['status', 'reason', 'yes'] as const) {
      const isGiven = values[name] !== undefined && values[name] !== false;
      if (isGiven && !takes.options.includes(name)) throw new UsageError(`${action} takes no --${name}`);
    }
    const server = serverOf(values.url, env);
    const reason = values.reason === undefined ? {} : { reason: values.reason };
    if (id === undefined) return list(server, values.status ?? 'pending', values.json);
    if (action === 'show') return show(server, id, values.json);
    if (action === 'deny') return decide(server, id, 'deny', reason, values.json);
    return approve(server, id, reason, values);
  },
};

/** Whether an ID follows, and which options mean something. */
const TAKES: Readonly<Record<string, { readonly id: boolean; readonly options: readonly string[] }>> = {
  list: { id: false, options: ['status'] },
  show: { id: true, options: [] },
  approve: { id: true, options: ['reason', 'yes'] },
  deny: { id: true, options: ['reason'] },
};

function serverOf(url: string | undefined, env: NodeJS.ProcessEnv): Server {
  const key = env['WRIT_KEY'];
  if (!key) {
    throw new UsageError('WRIT_KEY must be the API key of an approver or an administrator');
  }
  if (!/^[!-~]+$/.test(key)) throw new UsageError('WRIT_KEY holds a character that no API key has');
  const base = url ?? (env['WRIT_URL'] || 'http://127.0.0.1:3000');
  const parsed = URL.canParse(base) ? new URL(base) : undefined;
  // One with credentials would be shown where the server is named.
  if (!/^https?:$/.test(parsed?.protocol ?? '') || parsed?.username || parsed?.password) {
    throw new UsageError('--url, or WRIT_URL, must be an http:// or https:// URL without credentials');
  }
  return { url: base.replace(/\/+$/, ''), key };
}

async function list(server: Server, status: string, json: boolean): Promise<number> {
  const query = status === 'all' ? '' : `?status=${encodeURIComponent(status)}`;
  const { items } = await ask<{ items: Approval[] }>(server, 'GET', `/v1/approvals${query}`);
  const rows = items.map((item) => [
    item.id,
    item.status,
    item.access_tier,
    `${item.approvals.length}/${item.approvals_required}`,
    item.agent_name,
    item.expires_at,
    item.scopes.join(' '),
  ]);
  const header = ['ID', 'STATUS', 'TIER', 'VOTES', 'AGENT', 'UNTIL', 'SCOPES'];
  const kind = status === 'all' ? '' : ` ${status}`;
  say(json, { items }, items.length === 0 ? `There are no${kind} approvals.` : table([header, ...rows]));
  return 0;
}

async function show(server: Server, id: string, json: boolean): Promise<number> {
  const approval = await find(server, id);
  say(json, approval, describe(approval));
  return 0;
}

/** Approves exactly what was shown: the digest goes along, so a request that differs is refused. */
async function approve(
  server: Server,
  id: string,
  reason: { readonly reason?: string },
  { yes, json }: { readonly yes: boolean; readonly json: boolean },
): Promise<number> {
  const approval = await find(server, id);
  if (!yes) {
    process.stderr.write(`${describe(approval)}\n\n`);
    if (!(await confirm(`Approve ${id}? [y/N] `))) {
      process.stderr.write('Nothing was done.\n');
      return 1;
    }
  }
  return decide(server, id, 'approve', { ...reason, request_digest: approval.request_digest }, json);
}

async function decide(
  server: Server,
  id: string,
  verb: 'approve' | 'deny',
  body: object,
  json: boolean,
): Promise<number> {
  const path = `/v1/approvals/${encodeURIComponent(id)}/${verb}`;
  const decided = await ask<Approval>(server, 'POST', path, body);
  const votes = `${decided.approvals.length} of ${decided.approvals_required} approvals`;
  const from = decided.effective_at === null ? '' : `, in effect from ${sanitizeLine(decided.effective_at)}`;
  say(json, decided, verb === 'deny' ? `${id} is denied.` : `${id}: ${votes}${from}.`);
  return 0;
}

const find = (server: Server, id: string): Promise<Approval> =>
  ask<Approval>(server, 'GET', `/v1/approvals/${encodeURIComponent(id)}`);

async function ask<Body>(server: Server, method: string, path: string, body?: object): Promise<Body> {
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${server.key}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    redirect: 'error',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch(() => {
    throw new WritError('UNAVAILABLE', `${server.url} does not answer.`);
  });
  const answer = (await response.json().catch(() => undefined)) as { detail?: unknown } | undefined;
  if (response.ok && answer !== undefined) return answer as Body;
  const why = typeof answer?.detail === 'string' ? sanitizeLine(answer.detail) : 'the answer is not Writ’s';
  throw new WritError('UNAVAILABLE', `${server.url} refuses (${response.status}): ${why}`);
}

/** Nobody to ask is a no, and so is whoever goes away (Ctrl-C, Ctrl-D). */
async function confirm(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) return false;
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  // A question to somebody who has gone may stay open for ever.
  const gone = new Promise<string>((resolve) => terminal.once('close', () => resolve('')));
  try {
    const answer = terminal.question(question).catch(() => '');
    return /^y(es)?$/i.test((await Promise.race([answer, gone])).trim());
  } finally {
    terminal.close();
  }
}

function describe(approval: Approval): string {
  const uses = approval.max_uses === null ? 'as often as it likes' : `at most ${approval.max_uses}×`;
  const from = approval.allowed_ips === null ? 'any address' : approval.allowed_ips.join(', ');
  const votes = approval.approvals.map(({ approver_name, reason }) =>
    reason === null ? approver_name : `${approver_name} (${reason})`,
  );
  const rows = [
    ['request', approval.id],
    ['agent', approval.agent_name],
    ['asks for', approval.scopes.join('\n')],
    ['opens', `secrets up to ${approval.access_tier}`],
    ['lives', `${approval.ttl_seconds} seconds from the moment it is handed over`],
    ['used', `${uses}, from ${from}`],
    ['description', approval.description ?? '-'],
    ['status', approval.status],
    ['approved by', `${votes.join(', ') || 'nobody yet'}, ${approval.approvals_required} required`],
    ...(approval.denied_at === null ? [] : [['denied', approval.reason ?? 'without a reason']]),
    ['in effect', approval.effective_at ?? '-'],
    ['until', approval.expires_at],
    ['digest', approval.request_digest],
  ];
  return table(
    rows.flatMap(([name = '', text = '']) =>
      sanitize(text)
        .split('\n')
        .flatMap(wrapLine)
        .map((line, index) => [index === 0 ? name : '', line]),
    ),
  );
}

/** Columns as wide as their widest cell. */
function table(rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map(sanitizeLine));
  const widths = (cells[0] ?? []).map((_, column) =>
    Math.max(...cells.map((row) => widthOf(row[column] ?? ''))),
  );
  return cells
    .map((row) =>
      row
        .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - widthOf(cell)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** A line that a terminal breaks would go on where rows begin, and could pass for one: it is broken here, indented. */
function wrapLine(text: string): string[] {
  const lines = [''];
  for (const character of text) {
    const last = lines.length - 1;
    if (widthOf(lines[last] + character) <= MAX_WIDTH) lines[last] += character;
    else lines.push(character);
  }
  return lines;
}

const MAX_WIDTH = 64;
/** What is not ASCII counts as two columns, which is the most that a character takes. */
const widthOf = (text: string): number =>
  [...text].reduce((width, character) => width + (character > '~' ? 2 : 1), 0);

/** What an agent wrote must not steer the terminal of whoever decides. */
const CONTROL_CHARS = /[^\n\P{C}]|[\u2028\u2029]/gu;
const sanitize = (text: string): string => text.replace(CONTROL_CHARS, '\uFFFD');
const sanitizeLine = (text: string): string => sanitize(text).replaceAll('\n', ' ');

/** For people, or as JSON in which those characters are escaped. */
function say(json: boolean, value: object, people: string): void {
  const escaped = (text: string) =>
    text.replace(/[\s\S]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  process.stdout.write(`${json ? JSON.stringify(value).replace(CONTROL_CHARS, escaped) : people}\n`);
}
