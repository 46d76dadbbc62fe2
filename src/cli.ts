#!/usr/bin/env node
/** `writ <command>`. Exit codes: 0 done, 1 failed, 2 mend something before it can run, 64 wrong usage. */

import { type Command, UsageError } from './commands/command.ts';
import { VERSION } from './platform/version.ts';
import { exitCodeFor, formatStartupError } from './start/exit-report.ts';

const EX_USAGE = 64;

/** Each is loaded when it is run: the whole server costs half a second, and a health check runs every few. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import('./commands/serve.ts')).serve,
  migrate: async () => (await import('./commands/migrate.ts')).migrate,
  key: async () => (await import('./commands/key.ts')).key,
  settings: async () => (await import('./commands/settings.ts')).settings,
  approvals: async () => (await import('./commands/approvals.ts')).approvals,
  health: async () => (await import('./commands/health.ts')).health,
};

async function main(argv: string[]): Promise<number> {
  const [name, ...args] = argv;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(await overview());
    return name === undefined ? EX_USAGE : 0;
  }
  if (name === '--version') {
    process.stdout.write(`${VERSION}\n`);
    return 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? await COMMANDS[name]?.() : undefined;
  if (command === undefined) {
    process.stderr.write(`writ: there is no command ${JSON.stringify(name)}\n\n${await overview()}`);
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

async function overview(): Promise<string> {
  const lines = await Promise.all(
    Object.entries(COMMANDS).map(async ([name, load]) => `  ${name.padEnd(10)}${(await load()).summary}`),
  );
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
    process.stderr.write(formatStartupError(error));
    process.exit(exitCodeFor(error));
  },
);
