/** `writ serve`: the server, until it is told to stop. */

import type { DeclareCommand } from './command.ts';
import { renderSettingsHelp } from './settings-help.ts';

export const declareServe: DeclareCommand = (program, { env, stdout }) => {
  program
    .command('serve')
    .description('run the server until it is told to stop')
    .addHelpText('after', ({ command }) => renderSettingsHelp(command.createHelp()))
    .action(async () => {
      const { serve } = await import('../server.ts');
      await serve(env, stdout);
    });
};
