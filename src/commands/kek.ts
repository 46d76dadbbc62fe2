/** `writ kek`: the master key, which wraps keys and seals rows. */

import type { DeclareCommand } from './command.ts';
import { JSON_FLAG } from './command.ts';
import { rotate } from './kek-rotate.ts';
import { showStatus } from './kek-status.ts';

export const declareKek: DeclareCommand = (program, context) => {
  const kek = program
    .command('kek')
    .description('show the master keys, or put another one in the place of the active one');
  kek
    .command('status')
    .description('list the master keys, their states and how many rows are under each; changes nothing')
    .option(...JSON_FLAG)
    .action(({ json }: { json?: true }) => showStatus(context, json));
  kek
    .command('rotate')
    .description(
      'make MASTER_KEY, or a new key of MASTER_KEY_KMS, the active key, and put all that is under the one before under it',
    )
    .option('--compromised', 'the key before has leaked: encrypt every value anew, under a new data key')
    .option(...JSON_FLAG)
    .action((options: { compromised?: true; json?: true }) => rotate(context, options));
};
