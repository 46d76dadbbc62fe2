/** What the rows say of a token whose signing key is compromised or gone, whatever a process remembers. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import type { Database } from '../../../src/storage/engine/database.ts';
import { createDelegationStore } from '../../../src/storage/intent-tokens/delegation-store.ts';
import { createIntentTokenInventory } from '../../../src/storage/intent-tokens/intent-token-inventory.ts';
import { createIntentTokenReader } from '../../../src/storage/intent-tokens/intent-token-reader.ts';
import { createIntentTokenUses } from '../../../src/storage/intent-tokens/intent-token-use-store.ts';
import { TEST_SEALS } from '../../support/test-seals.ts';
import { A_KID, anEvent, storedAgent } from '../builders.ts';
import { aUse, delegatedIntent, type StoredIntent, storedIntent } from '../intent-tokens/use-builders.ts';
import { BACKENDS, rows } from '../opened.ts';

const ENDS = {
  'is compromised': `update signing_keys set state = 'compromised', wrapped_private_key = null, kek_id = null, seal = null
    where kid = $1`,
  'is gone': 'delete from signing_keys where kid = $1',
} as const;

async function standing(database: Database, { jti, owner }: StoredIntent) {
  const state = await createIntentTokenReader(database, TEST_SEALS).findState(jti);
  const used = await createIntentTokenUses(database).record(
    aUse({ jti, rootJti: jti, owner }, { rootJti: await rootOf(database, jti), rateLimit: 9 }),
  );
  const child = await createDelegationStore(database).delegate(
    {
      jti: uuidv7(),
      parentJti: jti,
      parentAgentRevision: 1,
      callerRevision: 1,
      keyId: owner.key.keyId,
      kid: SIGNS,
      actionsText: '[]',
      issuedAtSeconds: 1_800_000_000,
      expiresAtSeconds: 1_800_000_060,
    },
    anEvent(),
  );
  const listed = await createIntentTokenInventory(database).list({
    agentId: owner.id,
    state: undefined,
    limit: 100,
    before: undefined,
  });
  return {
    kid: state?.kid,
    revoked: state?.revoked,
    used,
    passedOn: child !== undefined,
    listed: listed.find((entry) => entry.jti === jti)?.state,
  };
}

const rootOf = async (database: Database, jti: string) =>
  (
    await rows<{ root: string }>(database, 'select root_jti as root from intent_tokens where jti = $1', [jti])
  )[0]?.root ?? '';

/** A second key, with which what is asked for is signed. */
const SIGNS = 'the key that signs';

for (const backend of BACKENDS) {
  suite(`tokens of a signing key that has ended on ${backend.name}`, { skip: backend.skip }, () => {
    for (const [what, end] of Object.entries(ENDS)) {
      test(`neither a token nor what was passed on from it is good once its key ${what}`, async (t) => {
        const database = await backend.openMigrated(t);
        const owner = await storedAgent(database);
        await rows(
          database,
          `insert into signing_keys (kid, public_key, wrapped_private_key, kek_id, state, seal)
           select $1, public_key, wrapped_private_key, kek_id, 'retiring', seal from signing_keys where kid = $2`,
          [SIGNS, A_KID],
        );
        const root = await storedIntent(database, owner);
        const child = await delegatedIntent(database, root);
        const grandchild = await delegatedIntent(database, child);
        await rows(database, 'update intent_tokens set kid = $1 where jti = any($2)', [
          SIGNS,
          [child.jti, grandchild.jti],
        ]);
        const good = { revoked: false, used: true, passedOn: true, listed: 'live' };
        assert.deepEqual(await standing(database, root), { kid: A_KID, ...good });
        assert.deepEqual(await standing(database, grandchild), { kid: SIGNS, ...good });
        await rows(database, end, [A_KID]);
        const bad = { revoked: true, used: false, passedOn: false, listed: 'revoked' };
        assert.deepEqual(await standing(database, root), { kid: null, ...bad });
        // Its own key is good; the one of the token that it was passed on from is not.
        assert.deepEqual(await standing(database, child), { kid: SIGNS, ...bad });
        assert.deepEqual(await standing(database, grandchild), { kid: SIGNS, ...bad });
      });
    }

    test('what a retired key signed is expired, not revoked, and a next key has signed nothing', async (t) => {
      const database = await backend.openMigrated(t);
      const owner = await storedAgent(database);
      const { jti } = await storedIntent(database, owner);
      await rows(
        database,
        `update intent_tokens set expires_at = clock_timestamp() - interval '1 s' where jti = $1`,
        [jti],
      );
      const [retire, next] = [
        `update signing_keys set state = 'retired', wrapped_private_key = null, kek_id = null, seal = null`,
        `update signing_keys set state = 'next', wrapped_private_key = '', kek_id = $1, seal = decode($1, 'hex')`,
      ];
      const stateOf = async () =>
        (
          await createIntentTokenInventory(database).list({
            agentId: owner.id,
            state: undefined,
            limit: 1,
            before: undefined,
          })
        )[0]?.state;
      await rows(database, retire);
      assert.equal(await stateOf(), 'expired');
      const [kek] = await rows<{ id: string }>(database, 'select kek_id as id from master_keys');
      await rows(database, next, [kek?.id]);
      assert.equal(await stateOf(), 'revoked');
    });
  });
}
