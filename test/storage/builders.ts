/** Rows for storage tests, valid as they are, so that a test shows only what it varies. */
import { randomBytes } from 'node:crypto';
import { uuidv7 } from 'uuidv7';
import type { Database } from '../../src/storage/engine/database.ts';
import { createAgentStore } from '../../src/storage/principals/agent-store.ts';
import { addFirstSigningKey } from '../../src/storage/signing-keys/signing-key-store.ts';
import type { AuditEvent } from '../../src/use-cases/audit/ports.ts';
import type { IntentTokenRecord } from '../../src/use-cases/intent-tokens/ports.ts';
import type { ActorWrite, AgentStore, NewAgent, NewApiKey } from '../../src/use-cases/principals/ports.ts';
import type { NewSigningKey } from '../../src/use-cases/signing-keys/ports.ts';
import { TEST_KEK, TEST_SEALS, useTestKek } from '../support/test-seals.ts';

export function anEvent(changes: Partial<AuditEvent> = {}): AuditEvent {
  return {
    id: uuidv7(),
    eventType: 'agent.created',
    actorId: 'system',
    actorType: 'system',
    resourceType: 'agent',
    resourceId: uuidv7(),
    metadata: {},
    ipAddress: null,
    requestId: null,
    ...changes,
  };
}

/** The system's write, unless an actor is named. */
export function aWrite(actorKeyId: string | null = null, event: Partial<AuditEvent> = {}): ActorWrite {
  return { actorKeyId, event: anEvent(event) };
}

export function aKey(changes: Partial<NewApiKey> = {}): NewApiKey {
  const keyId = randomBytes(8).toString('hex');
  return {
    keyId,
    name: null,
    prefix: `ak_test_${keyId}`,
    hash: '$2b$10$not.a.real.hash',
    expiresAt: null,
    ...changes,
  };
}

export function anAgent(changes: Partial<NewAgent> = {}): NewAgent {
  return {
    id: uuidv7(),
    name: `agent ${randomBytes(6).toString('hex')}`,
    role: 'agent',
    email: null,
    description: null,
    allowedScopes: null,
    allowedNamespaces: null,
    policyText: null,
    key: aKey(),
    ...changes,
  };
}

/** An agent that is there, in whatever keeps it. */
export async function agentIn(
  { agents }: { readonly agents: AgentStore },
  changes: Partial<NewAgent> = {},
): Promise<NewAgent> {
  const agent = anAgent(changes);
  const outcome = await agents.create(agent, aWrite());
  if (outcome !== 'created') throw new Error(`the agent was not created: ${outcome}`);
  return agent;
}

/** Where no key signs yet, the one that `anIssue` names does. */
export async function storedAgent(database: Database, changes: Partial<NewAgent> = {}): Promise<NewAgent> {
  await useTestKek(database);
  await addFirstSigningKey(database, aSigningKey({ kid: A_KID }), TEST_SEALS);
  return agentIn({ agents: createAgentStore(database, TEST_SEALS) }, changes);
}

/** It opens with no master key. */
export function aSigningKey(changes: Partial<NewSigningKey> = {}): NewSigningKey {
  return {
    kid: `kid ${randomBytes(6).toString('hex')}`,
    publicKey: randomBytes(32),
    wrappedPrivateKey: randomBytes(60),
    kekId: TEST_KEK.kekId,
    ...changes,
  };
}

export const A_KID = 'a kid';

/** A record that `agent` issues with its first key under its first revision, and its event. */
export function anIssue(
  agent: NewAgent,
  changes: Partial<IntentTokenRecord> = {},
): { record: IntentTokenRecord; event: AuditEvent } {
  const jti = uuidv7();
  const record: IntentTokenRecord = {
    jti,
    planId: uuidv7(),
    agentId: agent.id,
    keyId: agent.key.keyId,
    agentRevision: 1,
    kid: A_KID,
    planHashHex: '0a'.repeat(32),
    merkleRootHex: '0b'.repeat(32),
    treeSize: 2,
    policyText: '{"allow":["*"],"deny":[]}',
    actionsText: '[["weather-mcp","get_weather"]]',
    issuedAtSeconds: 1_800_000_000,
    expiresAtSeconds: 1_800_000_060,
    ...changes,
  };
  const event = anEvent({
    eventType: 'intent.issued',
    actorId: agent.id,
    actorType: 'agent',
    resourceType: 'intent_token',
    resourceId: record.jti,
  });
  return { record, event };
}
