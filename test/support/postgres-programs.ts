/**
 * Guarantees the programs of an installed Postgres that the tests' own lacks: `pg_basebackup`, `pg_dump` and `pg_restore`,
 * beside a server of the same version. Only the full run asks for them.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const WANTED = ['initdb', 'postgres', 'pg_basebackup', 'pg_dump', 'pg_restore'];
/** Where Debian has them, one folder for each version. */
const VERSIONS = '/usr/lib/postgresql';

const found = existsSync(VERSIONS)
  ? readdirSync(VERSIONS)
      .sort((one, other) => Number(other) - Number(one))
      .map((version) => join(VERSIONS, version, 'bin'))
      .find((folder) => WANTED.every((name) => existsSync(join(folder, name))))
  : undefined;

/** `false`, or why they cannot be used here. */
export const programsSkip: string | false =
  found === undefined ? `no folder under ${VERSIONS} has ${WANTED.join(', ')}` : false;

/** Their folder. Throws where `programsSkip` says why. */
export function postgresPrograms(): string {
  if (found === undefined) throw new Error(String(programsSkip));
  return found;
}
