/** A killed server takes no acknowledged token with it, and leaves no event without its token. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openDatabase } from '../../../src/storage/engine/open-database.ts';
import { ANSWERS_BEFORE_KILL, onlyInFullRun } from '../../support/effort.ts';
import { errorCodeOf, type Load, mayAskAgain, printedKey, startLoad, until } from '../../support/issuing.ts';
import { createEmptyTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { type StartedServer, startServer } from '../../support/processes.ts';
import { TEST_MASTER_KEY } from '../../support/test-master-key.ts';
import { rows } from '../opened.ts';
import { assertBalance, assertBooksBalance } from './token-books.ts';

const WORKERS = 48;
const ENV = { PORT: '0', LOG_LEVEL: 'silent', RATE_LIMIT_MAX: '0' };

/** At least `requests` answered, at least 20 under way when the process dies. */
async function killUnderLoad(server: StartedServer, requests: number): Promise<Load> {
  const load = startLoad(server.url, printedKey(server.stdout()), WORKERS);
  await until(
    `${requests} tokens and 20 requests in flight`,
    () => load.acknowledged.size >= requests && load.inFlight() >= 20,
    600_000,
  );
  const answeredBefore = load.started() - load.inFlight();
  assert.ok(load.inFlight() >= 20);
  assert.equal(load.broken(), 0);
  await server.kill();
  await until('broken connections', () => load.broken() >= 20);
  await load.stop();
  assert.ok(answeredBefore >= requests);
  // A quiet machine refuses nothing; on a busy one, the time that Writ gives its database may run out.
  for (const answer of load.refused) {
    assert.ok(mayAskAgain({ status: answer.status, code: errorCodeOf(answer) }), answer.text);
  }
  assert.ok(load.refused.length < load.acknowledged.size, `${load.refused.length} were refused`);
  return load;
}

test('kill -9 under load loses no acknowledged token and no event, on Postgres', {
  skip: postgresSkip,
}, async (t) => {
  const { url } = await createEmptyTestDatabase(t);
  const env = { ...ENV, DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  const load = await killUnderLoad(await startServer(t, env), ANSWERS_BEFORE_KILL);
  await assertBooksBalance(url, load.acknowledged);
  const next = await startServer(t, env);
  assert.equal((await fetch(`${next.url}/ready`)).status, 200);
});

test('kill -9 under load loses no acknowledged token and no event, on the embedded database', {
  skip: onlyInFullRun,
}, async (t) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'writ-test-killed-'));
  t.after(() => rm(dataDir, { recursive: true, force: true }));
  const load = await killUnderLoad(await startServer(t, { ...ENV, DATA_DIR: dataDir }), ANSWERS_BEFORE_KILL);
  const database = await openDatabase({ databaseUrl: undefined, dataDir, poolMax: 2 });
  try {
    const tokens = await rows<{ jti: string; events: number }>(
      database,
      `select token.jti, count(event.id)::int as events from intent_tokens token
       left join audit_events event on event.resource_id = token.jti::text and event.event_type = 'intent.issued'
       group by token.jti`,
    );
    const [orphans] = await rows<{ n: number }>(
      database,
      `select count(*)::int as n from audit_events event where event.event_type = 'intent.issued'
       and not exists (select from intent_tokens token where token.jti::text = event.resource_id)`,
    );
    assertBalance(tokens, orphans?.n ?? -1, load.acknowledged);
  } finally {
    await database.close();
  }
});
