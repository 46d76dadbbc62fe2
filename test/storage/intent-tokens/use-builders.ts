/** Stored intent tokens and uses of them, valid as they are, so that a test shows only what it varies. */
import assert from 'node:assert/strict';
import { uuidv7 } from 'uuidv7';
import type { Database } from '../../../src/storage/engine/database.ts';
import { createIntentTokenStore } from '../../../src/storage/intent-tokens/intent-token-store.ts';
import type { IntentTokenUse } from '../../../src/use-cases/intent-tokens/ports.ts';
import type { NewAgent } from '../../../src/use-cases/principals/ports.ts';
import { TEST_SEALS } from '../../support/test-seals.ts';
import { anEvent, anIssue } from '../builders.ts';
import { rows } from '../opened.ts';

/** Later than any run of the tests. */
const FAR_SECONDS = 4_000_000_000;

export interface StoredIntent {
  readonly jti: string;
  readonly rootJti: string;
  readonly owner: NewAgent;
}

export async function storedIntent(
  database: Database,
  owner: NewAgent,
  { steps = 8 }: { steps?: number } = {},
): Promise<StoredIntent> {
  const { record, event } = anIssue(owner, { treeSize: 2 * steps, expiresAtSeconds: FAR_SECONDS });
  assert.equal(await createIntentTokenStore(database, TEST_SEALS).issue(record, event), true);
  return { jti: record.jti, rootJti: record.jti, owner };
}

/** A row like that of `parent`, as delegating writes it. */
export async function delegatedIntent(
  database: Database,
  parent: StoredIntent,
  { owner = parent.owner }: { owner?: NewAgent } = {},
): Promise<StoredIntent> {
  const jti = uuidv7();
  await rows(
    database,
    `insert into intent_tokens (jti, plan_id, agent_id, key_id, kid, plan_hash, merkle_root, tree_size, policy, actions,
       issued_at, expires_at, root_jti, ancestors)
     select $1, plan_id, $3, key_id, kid, plan_hash, merkle_root, tree_size, policy, actions, issued_at, expires_at,
       root_jti, ancestors || jti from intent_tokens where jti = $2`,
    [jti, parent.jti, owner.id],
  );
  return { jti, rootJti: parent.rootJti, owner };
}

export function aUse(
  { jti, rootJti, owner }: StoredIntent,
  changes: Partial<IntentTokenUse> = {},
): IntentTokenUse {
  return {
    jti,
    rootJti,
    agentRevision: 1,
    callerKeyId: owner.key.keyId,
    consumedStep: null,
    rateLimit: null,
    event: anEvent({
      eventType: 'intent.verified',
      actorId: owner.id,
      actorType: owner.role,
      resourceType: 'intent_token',
      resourceId: jti,
    }),
    ...changes,
  };
}

/** What the books say of one root: the row of its uses, and the events of what was granted. */
export async function booksOf(database: Database, { rootJti }: Pick<StoredIntent, 'rootJti'>) {
  const [used] = await rows<{ steps: string; count: number }>(
    database,
    'select consumed_steps::text as steps, window_count as count from intent_token_uses where root_jti = $1',
    [rootJti],
  );
  const events = await rows<{ id: string }>(
    database,
    `select event.id from audit_events event
     join intent_tokens token on token.jti::text = event.resource_id
     where event.event_type = 'intent.verified' and token.root_jti = $1`,
    [rootJti],
  );
  return { used, events: events.map(({ id }) => id).sort() };
}
