/**
 * `writ kek rotate`: makes MASTER_KEY the active key, and puts what is under the one before under it, while processes
 * serve. Every step is found done or left by the next call, so that it can be ended at any moment and called again.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { createRequestDigest } from '../keys/encryption/approval-mac.ts';
import type { KeyEncryption } from '../keys/encryption/key-encryption.ts';
import type { FollowedMasterKeys } from '../keys/encryption/master-keys.ts';
import { createResumeProofs } from '../keys/encryption/resume-proofs.ts';
import { createSecretRewrap } from '../keys/encryption/secret-cipher.ts';
import { rewrapSigningKey } from '../keys/signing/signing-key.ts';
import { newId } from '../platform/ids.ts';
import { type OpenedSeals, readSeals } from '../start/open-seals.ts';
import { StartError } from '../start/start-error.ts';
import { insertAuditEvents } from '../storage/audit/audit-store.ts';
import type { Database } from '../storage/engine/database.ts';
import type { Remake } from '../storage/rewrap-remake.ts';
import type { LeftRow } from '../storage/rewrap-rows.ts';
import {
  activateMasterKey,
  announceMasterKey,
  areOver,
  graceMs,
  listMasterKeys,
  retireMasterKeys,
  transactionsSoFar,
} from '../storage/signing-keys/master-key-store.ts';
import { digestText } from '../use-cases/approvals/request-approval.ts';
import { auditEvent, SYSTEM } from '../use-cases/audit/build-audit-event.ts';
import { askAgain } from './ask-again.ts';
import { AT_THE_COMMAND_LINE, type CommandContext, print } from './command.ts';
import { MASTER_KEY_VARIABLES, withDatabaseAsItIs } from './configured-database.ts';
import { type Persist, rewrapAll } from './kek-rewrap.ts';
import { type RotationTarget, targetOf } from './kek-target.ts';
import { sanitizeLine } from './terminal-text.ts';

/** So long it goes on trying where the database does not answer: a failover takes less. */
const PATIENCE_MS = 120_000;
/** In which every process learns of a key before anything is under it; they read the list every second. */
const ANNOUNCED_MS = 3000;

export function rotate(
  context: CommandContext,
  { compromised = false, json }: { readonly compromised?: boolean; readonly json?: true },
): Promise<void> {
  return withDatabaseAsItIs(context.env, MASTER_KEY_VARIABLES, async ({ database, config }) => {
    const say = (line: string): void => void context.stderr.write(`${line}\n`);
    const persist = createPersist(say);
    const opened = await persist(() => readSeals(database, config));
    const target = await targetOf(opened, await persist(() => listMasterKeys(database)));
    await activate({ database, persist, say }, { masterKeys: opened.masterKeys, target, compromised });
    const leaving = await retiringKeys(database, persist);
    if (leaving.length > 0) await untilNobodyWrites({ database, persist, say });
    const remake = remakeOf(opened, target.key, compromised);
    const outcome = await rewrapAll(database, { remake, persist, stderr: context.stderr });
    const isDone = await persist(() =>
      retire(database, { target: target.key, leaving, outcome, compromised }),
    );
    const value = {
      kek_id: target.key.kekId,
      retired: isDone,
      rewrapped: outcome.rewrapped,
      left: outcome.left.map(({ table, primaryKey, why }) => ({ table, primary_key: primaryKey, why })),
    };
    print(context, { json, value, people: describe(value, { left: outcome.left, compromised }) });
    if (outcome.left.length > 0) context.exitWith(1);
  });
}

interface Working {
  readonly database: Database;
  readonly persist: Persist;
  readonly say: (line: string) => void;
}

/** Runs a step again where the database went away or was busy: each can be. */
function createPersist(say: (line: string) => void): Persist {
  return (work) =>
    askAgain(work, {
      passes: ({ kind }) => kind === 'unavailable',
      patienceMs: PATIENCE_MS,
      pauseMs: 500,
      onAgain: ({ publicMessage }) => say(`${publicMessage} It is tried again.`),
    });
}

async function activate(
  { database, persist, say }: Working,
  {
    masterKeys,
    target: { key: target, wrappedRoot },
    compromised,
  }: {
    readonly masterKeys: FollowedMasterKeys;
    readonly target: RotationTarget;
    readonly compromised: boolean;
  },
): Promise<void> {
  const before = masterKeys.active().kekId;
  const { kekId } = target;
  const key = { kekId, checkValue: target.checkValue(), wrappedRoot };
  const announced = await persist(() => database.transaction((session) => announceMasterKey(session, key)));
  // The embedded database has no other process.
  if (announced === 'announced' && database.kind === 'postgres') {
    say(`For ${ANNOUNCED_MS / 1000} s all processes learn of ${kekId}.`);
    await sleep(ANNOUNCED_MS);
  }
  const outcome = await persist(() =>
    database.transaction(async (session) => {
      const done = await activateMasterKey(session, key);
      if (done === 'activated') {
        const event = auditEvent(SYSTEM, AT_THE_COMMAND_LINE, {
          id: newId(),
          type: 'kek.activated',
          resource: { type: 'master_key', id: kekId },
          metadata: { before },
        });
        await insertAuditEvents(session, [event]);
      }
      return done;
    }),
  );
  if (outcome === 'retired') {
    throw new StartError([
      `MASTER_KEY is ${kekId}, which this database has retired. Make a new key: openssl rand -hex 32`,
    ]);
  }
  if (outcome === 'unfinished') {
    throw new StartError([
      `Another rotation is not finished. Finish it first: call "writ kek rotate" where MASTER_KEY or MASTER_KEY_KMS is for ${before}, and MASTER_KEY_PREVIOUS or MASTER_KEY_PREVIOUS_KMS for the retiring key that "writ kek status" names.`,
    ]);
  }
  const listed = await persist(() => listMasterKeys(database));
  masterKeys.follow(listed);
  const other = masterKeys.given().find((key) => !listed.some((row) => row.kekId === key.kekId));
  // Else whoever forgot the new key would read that nothing is left under another one.
  if (compromised && listed.every((row) => row.kekId === kekId)) {
    throw new StartError([
      `MASTER_KEY is ${kekId}, the only key that this database has ever had. If it has leaked, set MASTER_KEY to a new key and MASTER_KEY_PREVIOUS to this one, and call this again.`,
    ]);
  }
  if (outcome === 'activated') say(`${kekId} is the active key, in the place of ${before}.`);
  else if (other !== undefined) {
    throw new StartError([
      `MASTER_KEY is ${kekId}, which is the active key already. To put ${other.kekId} in its place, exchange MASTER_KEY and MASTER_KEY_PREVIOUS.`,
    ]);
  }
}

async function retiringKeys(database: Database, persist: Persist): Promise<readonly string[]> {
  const listed = await persist(() => listMasterKeys(database));
  return listed.filter(({ state }) => state === 'retiring').map(({ kekId }) => kekId);
}

/** Until no transaction can commit any more what it wrote under the key before. The embedded database has no other process. */
async function untilNobodyWrites({ database, persist, say }: Working): Promise<void> {
  if (database.kind === 'embedded') return;
  for (let isTold = false; ; isTold = true) {
    const ms = await persist(() => graceMs(database));
    if (ms <= 0) break;
    if (!isTold) say(`For ${Math.ceil(ms / 1000)} s all processes follow it.`);
    await sleep(Math.min(ms, 250));
  }
  const begun = await persist(() => transactionsSoFar(database));
  for (let isTold = false; !(await persist(() => areOver(database, begun))); isTold = true) {
    if (!isTold) say('Waiting for transactions that have begun before.');
    await sleep(200);
  }
}

function remakeOf({ masterKeys, seals }: OpenedSeals, target: KeyEncryption, compromised: boolean): Remake {
  const digest = createRequestDigest(masterKeys);
  const secrets = createSecretRewrap(masterKeys);
  const proofs = createResumeProofs(masterKeys);
  return {
    activeKekId: target.kekId,
    seals,
    signingKey: (row) => rewrapSigningKey(row, masterKeys),
    resumeProof: ({ id, ...kept }) => proofs.rewrap(id, kept),
    digest: (approval) => {
      const text = digestText(approval);
      return digest.matches(text, approval.requestDigest) ? digest.of(text) : undefined;
    },
    wrap: secrets.rewrap,
    renew: compromised ? secrets.renew : undefined,
  };
}

/** After this the keys before are needed no more. The event is written once, by whoever retires them. */
function retire(
  database: Database,
  done: {
    readonly target: KeyEncryption;
    readonly leaving: readonly string[];
    readonly outcome: {
      readonly rewrapped: Readonly<Record<string, number>>;
      readonly left: readonly LeftRow[];
    };
    readonly compromised: boolean;
  },
): Promise<readonly string[]> {
  const { target, leaving, outcome, compromised } = done;
  return database.transaction(async (session) => {
    const retired = await retireMasterKeys(session, leaving);
    const rows = Object.values(outcome.rewrapped).reduce((total, count) => total + count, 0);
    if (retired.length === 0 && rows === 0) return retired;
    const event = auditEvent(SYSTEM, AT_THE_COMMAND_LINE, {
      id: newId(),
      type: 'kek.rotated',
      resource: { type: 'master_key', id: target.kekId },
      metadata: { retired, rows: outcome.rewrapped, left: outcome.left.length, compromised },
    });
    await insertAuditEvents(session, [event]);
    return retired;
  });
}

function describe(
  value: { readonly kek_id: string; readonly retired: readonly string[] },
  { left, compromised }: { readonly left: readonly LeftRow[]; readonly compromised: boolean },
): string {
  const lines = left.map(({ table, primaryKey, why }) =>
    sanitizeLine(`${table} ${primaryKey.join(' ')}: ${why}`),
  );
  if (left.length > 0)
    lines.push('These rows are not what Writ wrote. They are left as they are. See: writ doctor');
  lines.push(`Nothing that Writ wrote is under another key than ${value.kek_id}.`);
  if (value.retired.length > 0) {
    lines.push(
      `Retired: ${value.retired.join(', ')}. Take MASTER_KEY_PREVIOUS, if it is set, out of every environment, and keep that key with the backups from before.`,
    );
  }
  if (compromised) lines.push(AFTER_A_LEAK);
  return lines.join('\n');
}

const AFTER_A_LEAK = `Whoever had the old key and a copy of the database has what was in it. What is left to do:
  1. Take the old key out of every environment at once.
  2. writ signing-key rotate --compromised
  3. Replace each secret where it was made, and write the new value: PUT /v1/secrets/PATH
  4. Compare principals, keys and tokens with the trail: what was sealed with the old key looks like what Writ wrote.
  5. Destroy backups from before, or guard them as what they hold.`;
