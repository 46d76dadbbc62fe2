/**
 * The plans that the database runs for a server's statements, taken from its own sessions by `auto_explain`, so that
 * they are those of prepared statements after a run, not of an explanation asked for elsewhere. On the throw-away
 * cluster only: its log is read.
 */

import { open, readFile, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bench } from './contestants.ts';
import { type Execute, withClient } from './database.ts';
import { load } from './load.ts';
import { askForScopedToken, SCOPE } from './paths.ts';
import type { StoredTargets } from './stored-rows.ts';
import { answerOf, type Writ, withKey } from './writ.ts';

/** As EXPLAIN (FORMAT JSON) has it; only what is shown. */
export interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Subplan Name'?: string;
  readonly 'Join Type'?: string;
  readonly 'Relation Name'?: string;
  readonly Alias?: string;
  readonly 'Index Name'?: string;
  readonly 'Plan Rows': number;
  readonly 'Actual Rows'?: number;
  readonly 'Actual Loops'?: number;
  readonly 'Shared Hit Blocks'?: number;
  readonly 'Shared Read Blocks'?: number;
  readonly Plans?: readonly PlanNode[];
}

export interface StatementPlan {
  readonly name: string;
  /** Prepared for any values, as opposed to planned anew for these. */
  readonly generic: boolean;
  readonly plan: PlanNode;
}

export interface Plans {
  readonly statements: readonly StatementPlan[];
  /** Names of those that nothing here makes the server run. */
  readonly unseen: readonly string[];
}

export interface ServerPlans extends Plans {
  readonly name: string;
}

export type PlansOf = (writ: Writ, targets: StoredTargets) => Promise<Plans>;

const SETTINGS = {
  log_statement: `'all'`,
  log_parameter_max_length: '0',
  'auto_explain.log_min_duration': '0',
  'auto_explain.log_analyze': 'on',
  'auto_explain.log_buffers': 'on',
  'auto_explain.log_timing': 'off',
  'auto_explain.log_verbose': 'on',
  'auto_explain.log_format': `'json'`,
  'auto_explain.log_parameter_max_length': '0',
};

/** Before the servers start: their sessions must have loaded what is switched on later. */
export async function preparePlans({ postgres }: Bench): Promise<PlansOf> {
  const { own } = postgres;
  if (own === undefined) return async () => ({ statements: [], unseen: [] });
  await withClient(own.url, async (execute) => {
    await execute(`alter system set session_preload_libraries = 'auto_explain'`);
    await reload(execute);
  });
  return async (writ, targets) => {
    const { size: start } = await stat(own.logPath);
    await withClient(own.url, async (execute) => {
      for (const [name, value] of Object.entries(SETTINGS)) {
        await execute(`alter system set ${name} = ${value}`);
      }
      await reload(execute);
    });
    await runStatements(writ, targets);
    await withClient(own.url, async (execute) => {
      for (const name of Object.keys(SETTINGS)) await execute(`alter system reset ${name}`);
      await reload(execute);
    });
    return plansIn(await textFrom(own.logPath, start), await statementNames());
  };
}

const FILES = ['secrets/secret-reader', 'secrets/secret-use-store', 'scoped-tokens/scoped-token-store'];

async function statementNames(): Promise<ReadonlySet<string>> {
  const paths = FILES.map((name) => new URL(`../src/storage/${name}.ts`, import.meta.url));
  const texts = await Promise.all(paths.map((path) => readFile(path, 'utf8')));
  const named = [...texts.join('').matchAll(/^ *(?:.*\{ )?name: '([a-z_]+)'/gm)];
  return new Set(named.flatMap(([, name]) => name ?? []));
}

/** Sessions take new settings up between two statements, once the signal has reached them. */
async function reload(execute: Execute): Promise<void> {
  await execute('select pg_reload_conf()');
  await delay(500);
}

/** After the sixth time the database has decided whether a prepared statement gets one plan for all. */
const TIMES = 8;

/** Every statement that reads or uses secrets and scoped tokens; the hot ones as under load. */
async function runStatements({ server, adminKey, agent }: Writ, targets: StoredTargets): Promise<void> {
  for (const target of [targets.read, targets.limited, targets.scoped]) await load(target, 1);
  const { origin } = server;
  const secretPath = targets.read.asks[0].path;
  const exactScope = SCOPE.replace('prod/*', secretPath.slice('/v1/secrets/'.length));
  for (let time = 0; time < TIMES; time += 1) {
    const ask = askForScopedToken(agent.apiKey);
    const exact = { ...ask, body: JSON.stringify({ scopes: [exactScope] }) };
    const { token, token_id: id } = await answerOf<{ token: string; token_id: string }>(origin, exact, 201);
    for (const [key, path] of [
      [adminKey, secretPath],
      [adminKey, '/v1/secrets/prod?limit=50'],
      [adminKey, '/v1/namespaces'],
      [adminKey, '/v1/tokens?limit=50'],
      [agent.apiKey, '/v1/tokens?limit=50'],
      [agent.apiKey, `/v1/tokens/${id}`],
    ] as const) {
      await answerOf(origin, withKey(key, 'GET', path), 200);
    }
    await answerOf(origin, withKey(adminKey, 'POST', '/v1/tokens/introspect', { token }), 200);
    await answerOf(origin, withKey(agent.apiKey, 'DELETE', `/v1/tokens/${id}`), 204);
  }
}

async function textFrom(path: string, start: number): Promise<string> {
  const file = await open(path);
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of file.createReadStream({ start, autoClose: false }))
      chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString();
  } finally {
    await file.close();
  }
}

/**
 * Of each wanted statement the plan of the largest group it ran for, else the last one. An entry's further lines begin
 * with a tab.
 */
function plansIn(log: string, wanted: ReadonlySet<string>): Plans {
  const names = new Map<string, string>();
  const plans = new Map<string, StatementPlan>();
  for (const entry of log.split(/\n(?!\t)/)) {
    const [, executed, text] = /LOG: {2}execute ([a-z_]+): ([\s\S]*)$/.exec(entry) ?? [];
    if (executed !== undefined && text !== undefined) names.set(squeezed(text), executed);
    const [, json] = /LOG: {2}duration: [\d.]+ ms {2}plan:\s*(\{[\s\S]*\})\s*$/.exec(entry) ?? [];
    if (json === undefined) continue;
    const { 'Query Text': query, Plan: plan } = JSON.parse(json.replaceAll('\n\t', '\n')) as {
      'Query Text': string;
      Plan: PlanNode;
    };
    const name = names.get(squeezed(query));
    if (name === undefined || !wanted.has(name) || rowsOf(plan) < rowsOf(plans.get(name)?.plan)) continue;
    plans.set(name, { name, generic: /\$\d/.test(JSON.stringify(plan)), plan });
  }
  const unseen = [...wanted].filter((name) => !plans.has(name));
  return { statements: [...plans.values()].sort((a, b) => (a.name < b.name ? -1 : 1)), unseen };
}

const rowsOf = (plan: PlanNode | undefined): number => plan?.['Actual Rows'] ?? 0;

const squeezed = (text: string): string => text.replace(/\s+/g, ' ').trim();
