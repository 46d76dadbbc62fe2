/** `writ health`: whether the server that the environment configures is ready, as an exit code. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onPostgres, runHere, runProcess } from '../support/command-line.ts';
import { postgresSkip as skip } from '../support/postgres.ts';
import { startServer } from '../support/processes.ts';

test('health is 0 for a server that is ready, 1 for none', { skip }, async (t) => {
  const env = await onPostgres(t);
  const server = await startServer(t, { ...env, PORT: '0' });
  const { port } = new URL(server.url);
  const ready = await runProcess(t, ['health', '--json'], { PORT: port });
  assert.equal(ready.code, 0);
  assert.deepEqual(JSON.parse(ready.stdout), { ready: true, url: `http://127.0.0.1:${port}/ready` });
  await server.stop();
  const gone = await runProcess(t, ['health'], { PORT: port });
  assert.equal(gone.code, 1);
  assert.match(gone.stdout, /not ready/);
  const wrong = await runHere(['health'], { PORT: 'x' });
  assert.equal(wrong.code, 2);
});
