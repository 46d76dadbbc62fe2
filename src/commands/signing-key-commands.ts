/** `writ signing-key`: shows the keys that sign intent tokens, and changes them. Running servers follow within seconds. */

import { generateSigningKey } from '../keys/signing/signing-key.ts';
import { newId } from '../platform/ids.ts';
import { readSeals } from '../start/open-seals.ts';
import { createSigningKeyStore } from '../storage/signing-keys/signing-key-rotations.ts';
import { createBuildNotice } from '../use-cases/notices/build-notice.ts';
import type { SigningKeyEntry } from '../use-cases/signing-keys/ports.ts';
import {
  type AskedRotation,
  createRotateSigningKeys,
  type RotateSigningKeys,
  signsFrom,
  staysUntil,
} from '../use-cases/signing-keys/rotate-signing-keys.ts';
import { whileBusy } from './ask-again.ts';
import {
  AT_THE_COMMAND_LINE,
  type CommandContext,
  type DeclareCommand,
  JSON_FLAG,
  print,
  UsageError,
} from './command.ts';
import {
  MASTER_KEY_VARIABLES,
  openCommandKeys,
  WEBHOOK_VARIABLES,
  withDatabase,
} from './configured-database.ts';
import { renderTable } from './terminal-text.ts';

interface RotateOptions {
  readonly compromised?: true;
  readonly kid?: string;
  readonly json?: true;
}

export const declareSigningKey: DeclareCommand = (program, context) => {
  const signingKey = program
    .command('signing-key')
    .description('show or change the keys that sign intent tokens');
  signingKey
    .command('list')
    .description('show every signing key, its state, and what happens to it when')
    .option(...JSON_FLAG)
    .action(({ json }: { json?: true }) => list(context, json));
  signingKey
    .command('rotate')
    .description('make the next key, or let it sign when its time has come')
    .option('--compromised', 'end the key that signs, and the next one, at once: it has leaked')
    .option('--kid <kid>', 'with --compromised: end this key instead')
    .option(...JSON_FLAG)
    .action((options: RotateOptions) => rotate(context, options));
};

function list(context: CommandContext, json: true | undefined): Promise<void> {
  return withDatabase(context.env, MASTER_KEY_VARIABLES, async ({ database, config }) => {
    const { seals } = await readSeals(database, config);
    const keys = await createSigningKeyStore(database, seals).list();
    const value = {
      keys: keys.map((key) => ({
        kid: key.kid,
        state: key.state,
        created_at: key.createdAt,
        since: key.since,
        ...(key.state === 'next' ? { signs_from: signsFrom(key.since) } : {}),
        ...(key.state === 'retiring' ? { stays_until: staysUntil(key.since) } : {}),
        ...(key.why === undefined ? {} : { why: key.why }),
      })),
    };
    const rows = keys.map((key) => [key.kid, key.state, timeOf(key.since), noteOf(key)]);
    print(context, { json, value, people: renderTable([['KID', 'STATE', 'SINCE', ''], ...rows]) });
    if (keys.some(({ why }) => why !== undefined)) context.exitWith(1);
  });
}

function noteOf({ state, since, why }: SigningKeyEntry): string {
  if (why !== undefined) return `not what Writ wrote (${why}): it is used for nothing`;
  switch (state) {
    case 'next':
      return `published; signs from ${timeOf(signsFrom(since))}`;
    case 'active':
      return 'signs';
    case 'retiring':
      return `verifies until its last token has expired, at least until ${timeOf(staysUntil(since))}`;
    case 'retired':
      return 'ended; all that it signed has expired';
    case 'compromised':
      return 'ended; what it signed is refused';
  }
}

const FOR_CHANGES = [...MASTER_KEY_VARIABLES, ...WEBHOOK_VARIABLES];

async function rotate(context: CommandContext, { compromised, kid, json }: RotateOptions): Promise<void> {
  if (kid !== undefined && compromised === undefined) throw new UsageError('--kid needs --compromised');
  await withDatabase(context.env, FOR_CHANGES, async ({ database, config }) => {
    const { masterKeys, seals } = await openCommandKeys(database, config);
    const rotation = createRotateSigningKeys({
      store: createSigningKeyStore(database, seals),
      makeKey: () => generateSigningKey(masterKeys.active()),
      newId,
      clock: { now: () => new Date() },
      buildNotice: createBuildNotice({ configured: config.approvalWebhook !== undefined, newId }),
      rotationDays: config.signingKeyRotationDays,
      origin: AT_THE_COMMAND_LINE,
    });
    if (compromised) return endCompromised(context, rotation, { kid, json });
    const done = await whileBusy(() => rotation.rotate());
    print(context, { json, value: answerOf(done), people: peopleOf(done) });
  });
}

function answerOf(done: AskedRotation): object {
  if (done.done === 'activated') {
    return { done: done.done, kid: done.kid, retiring: done.retiringKid, stays_until: done.staysUntil };
  }
  return { done: done.done, kid: done.kid, signs_from: done.signsFrom };
}

function peopleOf(done: AskedRotation): string {
  if (done.done === 'activated') {
    const left =
      done.retiringKid === null
        ? ''
        : `\n${done.retiringKid} is retiring: it verifies until the last token that it signed has expired, at least until ${timeOf(done.staysUntil)}.`;
    return `${done.kid} signs from now on.${left}`;
  }
  const made =
    done.done === 'created'
      ? `${done.kid} is the next key. Every server publishes it within 5 seconds.`
      : `${done.kid} is the next key already.`;
  return `${made}\nIt signs from ${timeOf(done.signsFrom)}, when verifiers have had the time to fetch it. A running server sees to that; there is nothing more to do.`;
}

async function endCompromised(
  context: CommandContext,
  rotation: RotateSigningKeys,
  { kid, json }: { kid: string | undefined; json: true | undefined },
): Promise<void> {
  const { ended, freshKid } = await whileBusy(() => rotation.endCompromised(kid));
  print(context, {
    json,
    value: { compromised: ended.map((key) => key.kid), active: freshKid },
    people: [
      ...ended.map(
        ({ kid: gone, was }) => `${gone} has ended (it was ${was}). What it signed is refused from now on.`,
      ),
      ...(freshKid === null ? [] : [`${freshKid} signs from now on.`]),
      ...(ended.length > 0
        ? []
        : ['Another call has ended the key that signed, at the same time. See: writ signing-key list']),
      'Every server publishes that within 5 seconds. Verifiers that are offline take the old key until they fetch the keys again, at most 5 minutes: restart those that cannot wait, and those that pin it.',
    ].join('\n'),
  });
}

const timeOf = (time: Date): string => `${time.toISOString().slice(0, 19)}Z`;
