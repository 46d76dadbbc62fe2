/** Guarantees that a benchmark without its packages says how to install them. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { requirePeers } from '../../bench/peers.ts';

test('where client and peer are not installed, the benchmark names them and the command', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'writ-peers-'));
  t.after(() => rm(folder, { recursive: true }));
  assert.throws(() => requirePeers(folder), {
    message: 'Not installed: autocannon, oidc-provider. Run: npm ci --prefix bench',
  });
});
