#!/usr/bin/env node
/** `writ <command>`. Exit codes: 0 done, 1 failed, 2 mend something before it can run, 64 wrong usage. */

import { approvals } from './commands/approvals.ts';
import { type Command, UsageError } from './commands/command.ts';
import { health } from './commands/health.ts';
import { key } from './commands/key.ts';
import { migrate } from './commands/migrate.ts';
import { settings } from './commands/settings.ts';
import { serve } from './server.ts';
import { exitCodeFor, explainFailure } from './start-failure.ts';
import { VERSION } from './version.ts';

const EX_USAGE = 64;

const COMMANDS: Readonly<Record<string, Command>> = {
  serve: {
    summary: 'run the server until it is told to stop',
    usage: 'writ serve\n\nIt is configured by environment variables: see .env.example.',
    run: async (args, env) => {
      if (args.length > 0) throw new UsageError('serve takes no arguments');
      await serve(env);
      return 0;
    },
  },
  migrate,
  key,
  settings,
  approvals,
  health,
};

async function main(argv: string[]): Promise<number> {
  const [name, ...args] = argv;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(overview());
    return name === undefined ? EX_USAGE : 0;
  }
  if (name === '--version') {
    process.stdout.write(`${VERSION}\n`);
    return 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    process.stderr.write(`writ: there is no command ${JSON.stringify(name)}\n\n${overview()}`);
    return EX_USAGE;
  }
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(`${command.usage}\n`);
    return 0;
  }
  try {
    return await command.run(args, process.env);
  } catch (error) {
    if (!isUsageError(error)) throw error;
    process.stderr.write(`writ ${name}: ${error.message}\n\n${command.usage}\n`);
    return EX_USAGE;
  }
}

function overview(): string {
  const lines = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`);
  return `Usage: writ <command>\n\n${lines.join('\n')}\n\nwrit <command> --help tells more. Environment variables are listed in .env.example.\n`;
}

/** Ours, or what `parseArgs` throws for an option that it does not know. */
function isUsageError(error: unknown): error is Error {
  return (
    error instanceof UsageError || (error instanceof TypeError && /^ERR_PARSE_ARGS_/.test(codeOf(error)))
  );
}

const codeOf = (error: Error): string => String((error as { code?: unknown }).code ?? '');

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(explainFailure(error));
    process.exit(exitCodeFor(error));
  },
);
