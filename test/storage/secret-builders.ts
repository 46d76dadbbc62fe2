/** Scoped tokens, secrets and uses for storage tests, valid as they are, so that a test shows only what it varies. */
import { randomBytes } from 'node:crypto';
import { uuidv7 } from 'uuidv7';
import type { Database, Statement } from '../../src/storage/engine/database.ts';
import {
  createScopedTokenStore,
  newTokenMessage,
} from '../../src/storage/scoped-tokens/scoped-token-store.ts';
import { ROWS_READ } from '../../src/storage/secrets/secret-reader.ts';
import { createSecretStore } from '../../src/storage/secrets/secret-store.ts';
import type { AuditEvent } from '../../src/use-cases/audit/ports.ts';
import type { NewAgent } from '../../src/use-cases/principals/ports.ts';
import type { NewScopedToken, ScopedTokenStore } from '../../src/use-cases/scoped-tokens/ports.ts';
import type {
  CredentialGuard,
  ReleasedVersion,
  SealedValue,
  SecretAttributes,
  SecretChange,
  SecretRecord,
} from '../../src/use-cases/secrets/ports.ts';
import { TEST_KEK, TEST_SEALS } from '../support/test-seals.ts';
import { anEvent } from './builders.ts';

export const TEST_KEK_ID = TEST_KEK.kekId;

/** An expired secret's too, which is read for nobody. */
const ROWS_OF: Statement = {
  name: 'rows_of_secret_for_tests',
  effect: 'read',
  text: `
    select ${ROWS_READ} as rows_read from secrets secret
    join secret_versions held on held.secret_id = secret.id and held.version = secret.version
    where secret.id = $1`,
};

export function aScopedToken(agent: NewAgent, changes: Partial<NewScopedToken> = {}): NewScopedToken {
  const createdAt = new Date();
  return {
    id: uuidv7(),
    tokenHashHex: randomBytes(32).toString('hex'),
    agentId: agent.id,
    keyId: agent.key.keyId,
    agentRevision: 1,
    scopes: ['secrets:read:*'],
    allowedIps: null,
    maxUses: null,
    description: null,
    createdAt,
    expiresAt: new Date(createdAt.getTime() + 3_600_000),
    ...changes,
  };
}

export function anIssueOf(token: NewScopedToken): [NewScopedToken, AuditEvent] {
  const event = anEvent({
    eventType: 'token.issued',
    actorId: token.agentId,
    actorType: 'agent',
    resourceType: 'scoped_token',
    resourceId: token.id,
  });
  return [token, event];
}

/** A token that is there, in whatever keeps it. */
export async function tokenIn(
  { tokens }: { readonly tokens: ScopedTokenStore },
  agent: NewAgent,
  changes: Partial<NewScopedToken> = {},
): Promise<NewScopedToken> {
  const token = aScopedToken(agent, changes);
  if (!(await tokens.issue(...anIssueOf(token)))) throw new Error('the token was not issued');
  return token;
}

export const storedToken = (
  database: Database,
  agent: NewAgent,
  changes: Partial<NewScopedToken> = {},
): Promise<NewScopedToken> =>
  tokenIn({ tokens: createScopedTokenStore(database, TEST_SEALS) }, agent, changes);

export function keyGuard(agent: NewAgent, agentRevision = 1): CredentialGuard {
  return { kind: 'api_key', keyId: agent.key.keyId, agentId: agent.id, agentRevision };
}

/** What is read of the row of such a token. */
export const asRead = (token: NewScopedToken): string => {
  const { scopes, maxUses, allowedIps } = token;
  const seal = TEST_SEALS.of(newTokenMessage(token)).toString('base64');
  return `${seal} ${scopes.join(' ')} standard ${maxUses} ${JSON.stringify(allowedIps)}`;
};

export function tokenGuard(agent: NewAgent, token: NewScopedToken, agentRevision = 1): CredentialGuard {
  const limited = token.maxUses !== null;
  const { id: tokenId } = token;
  return {
    kind: 'scoped_token',
    tokenId,
    agentId: agent.id,
    agentRevision,
    limited,
    tokenAsRead: asRead(token),
  };
}

interface UseChanges {
  readonly released?: ReleasedVersion;
  readonly agentRevision?: number;
}

/** What a reader asks `SecretUses.record` for; its event names the token. */
export function aTokenUse(
  agent: NewAgent,
  token: NewScopedToken,
  { released, agentRevision = 1 }: UseChanges = {},
) {
  return {
    guard: tokenGuard(agent, token, agentRevision),
    released,
    event: aReadEvent(agent, { token_id: token.id }),
  };
}

export function aKeyUse(agent: NewAgent, { released, agentRevision = 1 }: UseChanges = {}) {
  return {
    guard: keyGuard(agent, agentRevision),
    released,
    event: aReadEvent(agent, { key_id: agent.key.keyId }),
  };
}

function aReadEvent(agent: NewAgent, metadata: AuditEvent['metadata']): AuditEvent {
  return anEvent({
    eventType: 'secret.read',
    actorId: agent.id,
    actorType: 'agent',
    resourceType: 'secret',
    metadata,
  });
}

export function aSealedValue(kekId = TEST_KEK_ID): SealedValue {
  return { wrappedKey: randomBytes(60), kekId, nonce: randomBytes(12), ciphertext: randomBytes(20) };
}

export function attributesWith(changes: Partial<SecretAttributes> = {}): SecretAttributes {
  return {
    secretType: 'custom',
    tier: 'standard',
    metadata: null,
    description: null,
    tags: [],
    expiresAt: null,
    rotateAfterDays: null,
    canary: false,
    ...changes,
  };
}

type Creation = Extract<SecretChange, { kind: 'create' }>;

export interface CreationChanges {
  readonly attributes?: Partial<SecretAttributes>;
  readonly sealed?: SealedValue;
}

export function aCreation(path: string, changes: CreationChanges = {}): Creation {
  const end = path.lastIndexOf('/');
  return {
    kind: 'create',
    id: uuidv7(),
    path,
    namespace: path.slice(0, end),
    key: path.slice(end + 1),
    attributes: attributesWith(changes.attributes),
    sealed: changes.sealed ?? aSealedValue(),
  };
}

/** The next version of a secret whose newest is `version`. */
export function anAdvance(
  { id, version }: { id: string; version: number },
  { hidesEarlier = false, ...changes }: CreationChanges & { readonly hidesEarlier?: boolean } = {},
): Extract<SecretChange, { kind: 'add-version' }> {
  return {
    kind: 'add-version',
    id,
    version: version + 1,
    attributes: attributesWith(changes.attributes),
    hidesEarlier,
    sealed: changes.sealed ?? aSealedValue(),
  };
}

export interface StoredSecretOfTest {
  readonly record: SecretRecord;
  readonly sealed: SealedValue;
  /** Its first version under its first revision. */
  readonly released: ReleasedVersion;
}

let made = 0;

/** At a path of its own unless one is named. */
export async function storedSecret(
  database: Database,
  agent: NewAgent,
  { path, ...changes }: CreationChanges & { readonly path?: string } = {},
): Promise<StoredSecretOfTest> {
  made += 1;
  const creation = aCreation(path ?? `made-${made}-${process.pid}/KEY`, changes);
  const outcome = await createSecretStore(database, TEST_SEALS).change(
    { guard: keyGuard(agent), paths: [creation.path] },
    () => ({ changes: [creation], event: anEvent({ eventType: 'secret.created' }) }),
  );
  const [record] = outcome === 'not_granted' ? [] : outcome;
  if (record === undefined) throw new Error('the secret was not made');
  const [stored] = await database.query<{ rows_read: string }>(ROWS_OF, [record.id]);
  if (stored === undefined) throw new Error('the secret is not there');
  const released = { secretId: record.id, version: 1, rowsRead: stored.rows_read };
  return { record, sealed: creation.sealed, released };
}
