/**
 * Where the master keys come from (contract section 9): the environment, or a file of mode 0600. A missing file is
 * made only while the database holds nothing that another key has wrapped.
 */

import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Config } from '../config.ts';
import { MASTER_KEY, parseMasterKey } from '../setting-kinds.ts';
import { StartError } from './start-error.ts';

/**
 * Each of 32 bytes: the master key, and after it the other one, those of the two that a service does not keep. Throws
 * `StartError`.
 */
export function resolveMasterKeys(config: Config, databaseHoldsWrappedKeys: boolean): readonly Uint8Array[] {
  const current =
    config.masterKeyKms === undefined ? resolveMasterKey(config, databaseHoldsWrappedKeys) : undefined;
  return [current, previousMasterKey(config)].filter((key) => key !== undefined);
}

function previousMasterKey({
  masterKeyPrevious,
  masterKeyPreviousFile: path,
}: Config): Uint8Array | undefined {
  if (path === undefined) return masterKeyPrevious;
  const text = readIfPresent(path);
  if (text === undefined) {
    throw new StartError([`The master key file ${path}, which MASTER_KEY_PREVIOUS_FILE names, is missing.`]);
  }
  return parseMasterKeyFile(path, text);
}

function resolveMasterKey(config: Config, databaseHoldsWrappedKeys: boolean): Uint8Array {
  if (config.masterKey !== undefined) return config.masterKey;
  const path = config.masterKeyFile ?? join(config.dataDir, 'master.key');
  const text = readIfPresent(path) ?? (databaseHoldsWrappedKeys ? undefined : createMasterKeyFile(path));
  if (text === undefined) {
    throw new StartError([
      `The master key file ${path} is missing, but the database holds keys that it encrypts. Restore the file: a new master key cannot open them.`,
    ]);
  }
  return parseMasterKeyFile(path, text);
}

function parseMasterKeyFile(path: string, text: string): Uint8Array {
  const key = parseMasterKey(text);
  if (key !== undefined) return key;
  throw new StartError([`The master key file ${path} must hold ${MASTER_KEY.allowed}.`]);
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw new StartError([`The master key file ${path} cannot be read (${code ?? 'unknown reason'}).`], {
      cause: error,
    });
  }
}

/** A hard link appears whole or not at all: of several first starts one makes the key, the others read it. */
function createMasterKeyFile(path: string): string {
  const draft = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(draft, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600, flag: 'wx', flush: true });
    try {
      linkSync(draft, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StartError([`The master key file ${path} cannot be created (${code ?? 'unknown reason'}).`], {
      cause: error,
    });
  } finally {
    rmSync(draft, { force: true });
  }
}
