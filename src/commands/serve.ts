/** `writ serve`: the server, until it is told to stop. */

import { serve as runServer } from '../server.ts';
import { type Command, UsageError } from './command.ts';

export const serve: Command = {
  summary: 'run the server until it is told to stop',
  usage: 'writ serve\n\nIt is configured by environment variables: see .env.example.',
  run: async (args, env) => {
    if (args.length > 0) throw new UsageError('serve takes no arguments');
    await runServer(env);
    return 0;
  },
};
