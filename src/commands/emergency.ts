/** `writ emergency`: stop an agent, or everybody but administrators, at once, on the machine that holds database and master key. */

import type { Command } from 'commander';
import { formatTimestamp } from '../domain/formats/rfc3339.ts';
import { createResumeProofs } from '../keys/encryption/resume-proofs.ts';
import { newId } from '../platform/ids.ts';
import { readSeals } from '../start/open-seals.ts';
import { createEmergencyStore } from '../storage/emergency/emergency-store.ts';
import { createAgentStore } from '../storage/principals/agent-store.ts';
import type { EmergencyStop } from '../use-cases/emergency/ports.ts';
import {
  createEmergency,
  type Emergency,
  type EmergencyCommand,
  stopView,
} from '../use-cases/emergency/stop-and-resume.ts';
import { createBuildNotice } from '../use-cases/notices/build-notice.ts';
import { whileBusy } from './ask-again.ts';
import {
  AT_THE_COMMAND_LINE,
  type CommandContext,
  type DeclareCommand,
  JSON_FLAG,
  print,
  UsageError,
} from './command.ts';
import { MASTER_KEY_VARIABLES, WEBHOOK_VARIABLES, withDatabaseAsItIs } from './configured-database.ts';
import { sanitizeLine } from './terminal-text.ts';

const VARIABLES = [...MASTER_KEY_VARIABLES, ...WEBHOOK_VARIABLES];

const MAX_REASON = 500;

interface Options {
  readonly agent?: string;
  readonly all?: true;
  readonly reason: string;
  readonly json?: true;
}

export const declareEmergency: DeclareCommand = (program, context) => {
  const emergency = program
    .command('emergency')
    .description('stop an agent, or everybody but administrators, at once');
  withTarget(
    emergency.command('stop').description('nothing is granted, verified or read from its commit'),
  ).action((options: Options) => stop(context, options));
  withTarget(emergency.command('resume').description('end a stop; what was there is there again')).action(
    (options: Options) => resume(context, options),
  );
  emergency
    .command('status')
    .description('show which stops are in force')
    .option(...JSON_FLAG)
    .action(({ json }: { json?: true }) => status(context, json));
};

const withTarget = (command: Command): Command =>
  command
    .option('--agent <agent>', 'the name or the id of a principal')
    .option('--all', 'everybody but administrators')
    .requiredOption('--reason <reason>', 'why, for the audit trail')
    .option(...JSON_FLAG);

/** Throws `UsageError`. */
function commandOf({ agent, all, reason }: Options): EmergencyCommand {
  if ((agent === undefined) === (all === undefined)) throw new UsageError('give either --agent or --all');
  if (reason.trim() === '' || reason.length > MAX_REASON || reason.includes('\u0000'))
    throw new UsageError(`--reason must have 1 to ${MAX_REASON} characters`);
  return { agent: agent ?? null, reason };
}

async function stop(context: CommandContext, options: Options): Promise<void> {
  const command = commandOf(options);
  await withEmergency(context, async (emergency) => {
    const outcome = await whileBusy(() => emergency.stop(command, 'system', AT_THE_COMMAND_LINE));
    const stops = await emergency.list();
    const first = outcome.changed ? 'Stopped.' : 'It was stopped before.';
    const under = outcome.settled
      ? 'Nothing that was under way is left.'
      : 'Something that was under way has not ended yet: run this again.';
    const people = `${first} ${under}\n${describe(stops)}`;
    print(context, { json: options.json, value: { ...outcome, stops: stops.map(stopView) }, people });
    if (!outcome.settled) context.exitWith(1);
  });
}

async function resume(context: CommandContext, options: Options): Promise<void> {
  const command = commandOf(options);
  await withEmergency(context, async (emergency) => {
    const outcome = await whileBusy(() => emergency.resume(command, 'system', AT_THE_COMMAND_LINE));
    const stops = await emergency.list();
    const people = `${outcome.changed ? 'Resumed.' : 'There was no such stop.'}\n${describe(stops)}`;
    print(context, { json: options.json, value: { ...outcome, stops: stops.map(stopView) }, people });
  });
}

function status(context: CommandContext, json: true | undefined): Promise<void> {
  return withEmergency(
    context,
    async (emergency) => {
      const stops = await emergency.list();
      print(context, { json, value: { stops: stops.map(stopView) }, people: describe(stops) });
    },
    { changes: false },
  );
}

function withEmergency(
  context: CommandContext,
  work: (emergency: Emergency) => Promise<void>,
  { changes = true }: { readonly changes?: boolean } = {},
): Promise<void> {
  return withDatabaseAsItIs(context.env, VARIABLES, async ({ database, config }) => {
    const { masterKeys, seals } = await readSeals(database, config);
    const emergency = createEmergency({
      store: createEmergencyStore(database, seals),
      agents: createAgentStore(database, seals),
      proofs: createResumeProofs(masterKeys),
      buildNotice: createBuildNotice({ configured: config.approvalWebhook !== undefined, newId }),
      newId,
      now: () => new Date(),
      denyCaller: {
        deadKey: async () => {
          throw new Error('the command line has no key that could be dead');
        },
      },
    });
    await work(emergency);
    if (config.approvalWebhook === undefined && changes) {
      context.stderr.write('APPROVAL_WEBHOOK_URL is not set here, so nobody was told by the webhook.\n');
    }
  });
}

const describe = (stops: readonly EmergencyStop[]): string =>
  stops.length === 0
    ? 'No stop is in force.'
    : ['In force:', ...stops.map((stop) => sanitizeLine(`  ${lineOf(stop)}`))].join('\n');

const lineOf = ({ agent, stoppedAt, actorId, reason }: EmergencyStop): string =>
  `${agent === null ? 'everybody but administrators' : `${agent.name} (${agent.id})`}, since ${formatTimestamp(stoppedAt)}, by ${actorId}: ${reason}`;
