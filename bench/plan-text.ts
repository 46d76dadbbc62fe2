/** Plans for people: one line for each node, and only once where they are alike at every size. */

import type { PlanNode, ServerPlans, StatementPlan } from './plans.ts';

export function describePlans(servers: readonly ServerPlans[]): string {
  const names = new Set(servers.flatMap(({ statements }) => statements.map(({ name }) => name)));
  if (names.size === 0) return 'plans: only shown with a throw-away cluster, whose log can be read';
  const unseen = new Set(servers.flatMap((server) => server.unseen));
  return [
    ...[...names].map((name) => describeStatement(name, servers)),
    ...(unseen.size === 0 ? [] : [`not run, so no plan: ${[...unseen].join(', ')}`]),
  ].join('\n\n');
}

function describeStatement(name: string, servers: readonly ServerPlans[]): string {
  const alike = new Map<string, { at: string[]; statement: StatementPlan }>();
  for (const server of servers) {
    const statement = server.statements.find((one) => one.name === name);
    if (statement === undefined) continue;
    const shape = linesOf(statement.plan, shapeOf).join('\n') + statement.generic;
    const known = alike.get(shape);
    // The larger table's figures are the ones worth reading.
    alike.set(shape, { at: [...(known?.at ?? []), server.name], statement });
  }
  return [...alike.values()]
    .map(({ at, statement }) => {
      const kind = statement.generic ? 'one plan for all values' : 'planned for its values';
      const lines = linesOf(statement.plan, (node) => `${shapeOf(node)}  ${figuresOf(node)}`);
      return [`${name} at ${at.join(', ')}: ${kind}`, ...lines].join('\n');
    })
    .join('\n');
}

function linesOf(node: PlanNode, lineOf: (node: PlanNode) => string, depth = 1): string[] {
  const below = (node.Plans ?? []).flatMap((plan) => linesOf(plan, lineOf, depth + 1));
  return [`${'  '.repeat(depth)}${lineOf(node)}`, ...below];
}

function shapeOf(node: PlanNode): string {
  const join = node['Join Type'];
  return [
    node['Subplan Name'] === undefined ? '' : `${node['Subplan Name']}: `,
    node['Node Type'],
    join === undefined || join === 'Inner' ? '' : ` ${join}`,
    node['Index Name'] === undefined ? '' : ` by ${node['Index Name']}`,
    node['Relation Name'] === undefined ? '' : ` on ${node['Relation Name'].replace(/_\d{4}_\d{2}$/, '')}`,
  ].join('');
}

function figuresOf(node: PlanNode): string {
  const { 'Plan Rows': planned, 'Actual Rows': actual, 'Actual Loops': loops = 1 } = node;
  if (actual === undefined) return `(${planned} rows planned)`;
  if (loops === 0) return '(not run)';
  const pages = (node['Shared Hit Blocks'] ?? 0) + (node['Shared Read Blocks'] ?? 0);
  const times = loops === 1 ? '' : ` in each of ${loops} runs`;
  return `(${planned} rows planned, ${actual}${times}; ${pages} pages)`;
}
