/** Where in `DATA_DIR` the embedded database is, told without loading it. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';

export const embeddedFolder = (dataDir: string): string => join(dataDir, 'database');

export const holdsEmbeddedDatabase = (dataDir: string): boolean => existsSync(embeddedFolder(dataDir));
