/** The configuration of an app under test: limits off, hashes cheap, nothing logged. */
import assert from 'node:assert/strict';
import { type Config, loadConfig } from '../../src/config.ts';
import type { ConfigVariable } from '../../src/settings-table.ts';
import { TEST_BCRYPT_COST } from './bcrypt-cost.ts';
import { TEST_MASTER_KEY } from './test-master-key.ts';

/** A mistyped variable would leave a limit off, so the names are checked by the compiler. */
export type Overrides = Readonly<Partial<Record<ConfigVariable, string>>>;

/** The configuration of an app on a database of its own. */
export function configOf(variables: Overrides): Config {
  const loaded = loadConfig({
    DATABASE_POOL_MAX: '4',
    MASTER_KEY: TEST_MASTER_KEY,
    LOG_LEVEL: 'silent',
    RATE_LIMIT_MAX: '0',
    AUTH_FAILURE_MAX: '0',
    // A throw-away server may run without fsync.
    ACCEPT_UNSAFE_DURABILITY: '1',
    ...variables,
  });
  assert.ok(loaded.ok, loaded.ok ? '' : loaded.faults.join('; '));
  return { ...loaded.config, bcryptCost: TEST_BCRYPT_COST };
}
