/** Compares what clients were told with what the database holds: the books of issued tokens. */
import assert from 'node:assert/strict';
import pg from 'pg';

/** Every acknowledged token has its row; every row has exactly one event, and every event its row. */
export async function assertBooksBalance(url: string, acknowledged: ReadonlySet<string>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const tokens = await client.query<{ jti: string; events: number }>(
      `select token.jti, count(event.id)::int as events from intent_tokens token
       left join audit_events event on event.resource_id = token.jti::text and event.event_type = 'intent.issued'
       group by token.jti`,
    );
    const orphans = await client.query(
      `select event.resource_id from audit_events event where event.event_type = 'intent.issued'
       and not exists (select from intent_tokens token where token.jti::text = event.resource_id)`,
    );
    assertBalance(tokens.rows, orphans.rows.length, acknowledged);
  } finally {
    await client.end();
  }
}

export function assertBalance(
  tokens: readonly { jti: string; events: number }[],
  orphans: number,
  acknowledged: ReadonlySet<string>,
): void {
  const stored = new Set(tokens.map((token) => token.jti));
  const lost = [...acknowledged].filter((jti) => !stored.has(jti));
  assert.deepEqual(lost, [], 'acknowledged tokens that are not in the database');
  const wrong = tokens.filter((token) => token.events !== 1);
  assert.deepEqual(wrong, [], 'tokens without exactly one event');
  assert.equal(orphans, 0, 'events without a token');
}
