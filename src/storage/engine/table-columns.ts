/**
 * SQL lists that follow from `schema.ts`, where a column's name and type stand once, beside the member of the records
 * that it holds. Rows are selected, and sent as JSON, under the names of the members: a row is its record.
 */

import { getTableColumns, getTableName } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';

/** An SQL expression for each member. */
export type Expressions<Member extends string> = Readonly<Record<Member, string>>;
type MemberOf<Table extends PgTable> = keyof Table['_']['columns'] & string;

function forEach<Member extends string>(
  names: readonly Member[],
  expressionOf: (member: Member) => string,
): Expressions<Member> {
  const entries = names.map((member) => [member, expressionOf(member)]);
  return Object.fromEntries(entries) as Expressions<Member>;
}

function columnOf(table: PgTable, member: string) {
  const column = getTableColumns(table)[member];
  if (column === undefined) throw new Error(`${getTableName(table)} has no column for ${member}`);
  return column;
}

/** Columns of `row`, an alias of the table: `{ agentId: 'token.agent_id' }`, or what `form` makes of each. */
export function columns<Table extends PgTable, Member extends MemberOf<Table>>(
  table: Table,
  row: string,
  names: readonly Member[],
  form: (column: string) => string = (column) => column,
): Expressions<Member> {
  return forEach(names, (member) => form(`${row}.${columnOf(table, member).name}`));
}

/** Their types: `{ agentId: 'uuid' }`. */
export function columnTypes<Table extends PgTable, Member extends MemberOf<Table>>(
  table: Table,
  names: readonly Member[],
): Expressions<Member> {
  return forEach(names, (member) => columnOf(table, member).getSQLType());
}

/** What `row` holds under the names of members: `{ agentId: 'asked."agentId"' }`. */
export function members<Member extends string>(row: string, names: readonly Member[]): Expressions<Member> {
  return forEach(names, (member) => `${row}."${member}"`);
}

/** `token.agent_id as "agentId", …`; every member of the row, and no other. */
export function selectList<Row extends object>(expressions: Expressions<keyof Row & string>): string {
  return Object.entries(expressions)
    .map(([member, expression]) => `${expression} as "${member}"`)
    .join(', ');
}

/** Rows that are sent as the JSON list `parameter`, in a `from`. A member that is absent there is null. */
export function recordset(parameter: string, alias: string, types: Expressions<string>): string {
  const list = Object.entries(types).map(([member, type]) => `"${member}" ${type}`);
  return `json_to_recordset(${parameter}::json) as ${alias} (${list.join(', ')})`;
}

/** Each column beside its value, so that no two lists have to be kept in one order. */
export function insertFrom<Table extends PgTable>(
  table: Table,
  values: Partial<Expressions<MemberOf<Table>>>,
  from: string,
): string {
  const list = Object.keys(values).map((member) => columnOf(table, member).name);
  return `insert into ${getTableName(table)} (${list.join(', ')})
      select ${Object.values(values).join(', ')} from ${from}`;
}

/** For `set`: `secret_type = next."secretType", …`. */
export function assignments<Table extends PgTable>(
  table: Table,
  values: Partial<Expressions<MemberOf<Table>>>,
): string {
  return Object.entries(values)
    .map(([member, expression]) => `${columnOf(table, member).name} = ${expression}`)
    .join(', ');
}
