/** What only the benchmark uses has a manifest of its own, so that a clone does not install it with everything else. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import manifest from './package.json' with { type: 'json' };

const BENCH = fileURLToPath(new URL('.', import.meta.url));

/** @throws Error that says how to install what is missing. */
export function requirePeers(folder = BENCH): void {
  const missing = Object.keys(manifest.dependencies).filter(
    (name) => !existsSync(join(folder, 'node_modules', name, 'package.json')),
  );
  if (missing.length === 0) return;
  throw new Error(`Not installed: ${missing.join(', ')}. Run: npm ci --prefix bench`);
}
