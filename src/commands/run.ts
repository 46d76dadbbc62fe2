/**
 * `writ <command>`, callable in process. Resolves to the exit code: 0 done, 1 failed, 2 something has to be mended
 * before it can run: the command line, the configuration or the database. Help goes to standard output, what is
 * wrong to standard error.
 */

import { Command, CommanderError } from 'commander';
import { VERSION } from '../platform/version.ts';
import { type CommandContext, type CommandIo, type DeclareCommand, UsageError } from './command.ts';

const WRONG_USAGE = 2;

/** Each is loaded when it is run: the whole server costs half a second, and a health check runs every few. */
const COMMANDS: Readonly<Record<string, () => Promise<DeclareCommand>>> = {
  serve: async () => (await import('./serve.ts')).declareServe,
  migrate: async () => (await import('./migrate.ts')).declareMigrate,
  keys: async () => (await import('./keys.ts')).declareKeys,
  key: async () => (await import('./key.ts')).declareKey,
  'signing-key': async () => (await import('./signing-key-commands.ts')).declareSigningKey,
  doctor: async () => (await import('./doctor.ts')).declareDoctor,
  kek: async () => (await import('./kek.ts')).declareKek,
  settings: async () => (await import('./settings.ts')).declareSettings,
  tokens: async () => (await import('./tokens.ts')).declareTokens,
  approvals: async () => (await import('./approvals.ts')).declareApprovals,
  emergency: async () => (await import('./emergency.ts')).declareEmergency,
  health: async () => (await import('./health.ts')).declareHealth,
};

export async function run(argv: readonly string[], io: CommandIo): Promise<number> {
  let exitCode = 0;
  let isCommandMissing = false;
  const program = createProgram(io, () => {
    isCommandMissing = true;
  });
  const context: CommandContext = {
    env: io.env,
    stdout: io.stdout,
    stderr: io.stderr,
    // Standard input is opened by who reads it first.
    get stdin() {
      return io.stdin;
    },
    exitWith: (code) => {
      exitCode = code;
    },
  };
  try {
    for (const load of commandsNamedBy(argv)) (await load())(program, context);
    requireOptionValues(namedCommand(program, argv), argv);
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (isCommandMissing) return reportMissingCommand(namedCommand(program, argv), io);
    if (error instanceof CommanderError && SHOWN.includes(error.code)) return 0;
    if (error instanceof CommanderError || error instanceof UsageError) {
      return reportUsage(namedCommand(program, argv), error.message, io);
    }
    const { exitCodeFor, formatStartupError } = await import('../start/exit-report.ts');
    io.stderr.write(formatStartupError(error));
    return exitCodeFor(error);
  }
}

/** What commander throws after it has printed what it was asked for. */
const SHOWN: readonly string[] = ['commander.help', 'commander.helpDisplayed', 'commander.version'];

/** `onMissingCommand` is called where commander would print help as an error. */
function createProgram({ stdout }: CommandIo, onMissingCommand: () => void): Command {
  return new Command('writ')
    .description('Self-hosted token issuance for AI agents.')
    .version(VERSION, '--version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: onMissingCommand,
      outputError: () => {},
    });
}

/** All of them where the help, or the suggestion of a name, needs them. */
function commandsNamedBy([name = '']: readonly string[]): readonly (() => Promise<DeclareCommand>)[] {
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  return load === undefined ? Object.values(COMMANDS) : [load];
}

function namedCommand(command: Command, [name, ...rest]: readonly string[]): Command {
  const next = command.commands.find((candidate) => candidate.name() === name);
  return next === undefined ? command : namedCommand(next, rest);
}

/** Commander would take `--json` in `--reason --json` for the reason. */
function requireOptionValues(command: Command, argv: readonly string[]): void {
  const end = argv.indexOf('--');
  for (const [index, word] of argv.slice(0, end === -1 ? argv.length : end).entries()) {
    const option = command.options.find(({ long, required }) => required && long === word);
    if (option !== undefined && argv[index + 1]?.startsWith('-')) {
      throw new UsageError(`option '${option.flags}' argument missing`);
    }
  }
}

/** Without any command the overview is shown, as for somebody who looks around. */
function reportMissingCommand(command: Command, io: CommandIo): number {
  if (command.parent === null) io.stdout.write(command.helpInformation());
  else {
    const names = command.commands.map((subcommand) => `"${subcommand.name()}"`);
    return reportUsage(command, `expected ${names.join(' or ')}`, io);
  }
  return WRONG_USAGE;
}

/** One line: what is wrong, and where help is. */
function reportUsage(command: Command, message: string, { stderr }: CommandIo): number {
  const sentence = message
    .replace(/^error: /, '')
    .replaceAll('\n', ' ')
    .replace(/\.$/, '')
    .replace(/\. ([A-Z])/g, (_, letter: string) => `; ${letter.toLowerCase()}`);
  const path = pathOf(command);
  stderr.write(`${path}: ${sentence}; see ${path} --help\n`);
  return WRONG_USAGE;
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}
