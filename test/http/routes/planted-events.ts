/** Rows of the audit trail as a test needs them, written past the app. */
import type { TestApp } from '../../support/app.ts';

export interface TrailRow {
  readonly id: string;
  readonly event_type: string;
  readonly actor_id: string;
  readonly actor_type: string;
  readonly resource_type: string;
  readonly resource_id: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly ip_address: string | null;
  readonly request_id: string | null;
  readonly created_at: string;
}

/** Any subset of a row; what is not given is made up. */
export type Planted = Partial<TrailRow>;

export const PLANT = `
  insert into audit_events (
    id, event_type, actor_id, actor_type, resource_type, resource_id, metadata, ip_address, request_id, created_at
  )
  select coalesce(id, gen_random_uuid()), coalesce(event_type, 'secret.read'), coalesce(actor_id, 'planted'),
    coalesce(actor_type, 'agent'), coalesce(resource_type, 'secret'), coalesce(resource_id, 'planted/K'),
    coalesce(metadata, '{}'), ip_address, request_id, coalesce(created_at, clock_timestamp())
  from jsonb_to_recordset($1::jsonb) as planted (
    id uuid, event_type text, actor_id text, actor_type text, resource_type text, resource_id text, metadata jsonb,
    ip_address text, request_id text, created_at timestamptz
  )`;

export async function plant({ sql }: Pick<TestApp, 'sql'>, events: readonly Planted[]): Promise<void> {
  await sql(PLANT, [JSON.stringify(events)]);
}

/** RFC 3339 to the microsecond, `offset` microseconds after `second`, which names a whole second. */
export function microseconds(second: string, offset: number): string {
  return `${second}.${String(offset).padStart(6, '0')}Z`;
}
