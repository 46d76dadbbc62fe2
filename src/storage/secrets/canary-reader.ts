/** Which of the secrets that a refused request named are canaries. */

import type { RowSeals } from '../../use-cases/ports.ts';
import type { CanaryReader } from '../../use-cases/secrets/ports.ts';
import type { Database, Statement } from '../engine/database.ts';
import { judgedRow, sealList } from '../engine/sealed-rows.ts';

/** All of them, and not the canaries alone: a row whose flag was cleared does not fit, and is reported. */
const NAMED: Statement = {
  name: 'secrets_that_were_named',
  effect: 'read',
  text: `
    select secret.id, secret.path, secret.canary, ${sealList('secrets', 'secret')}
    from secrets secret where secret.path = any($1::text[])`,
};

interface NamedSecret {
  readonly id: string;
  readonly path: string;
  readonly canary: boolean;
}

export function createCanaryReader(database: Database, seals: RowSeals): CanaryReader {
  return {
    among: async (paths) => {
      const rows = await database.query<NamedSecret>(NAMED, [paths]);
      return rows.filter((row) => seals.fits(judgedRow('secrets', row)) && row.canary);
    },
  };
}
