/**
 * A delegation in flight does not escape a revocation: clients of two server processes are raced for it, and a
 * revocation is put between by locks that the test holds.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import { createDelegationStore } from '../../../src/storage/intent-tokens/delegation-store.ts';
import type { DelegationRecord } from '../../../src/use-cases/intent-tokens/ports.ts';
import { aDelegateKey } from '../../http/routes/delegation-calls.ts';
import { RACE_ROUNDS } from '../../support/effort.ts';
import { untilHeldUp } from '../../support/issuing.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { anEvent, storedAgent } from '../builders.ts';
import { heldLocks } from '../held-locks.ts';
import { rows } from '../opened.ts';
import { granted, openSite, type Reply, type Site } from '../secrets/secret-books.ts';
import { delegatedIntent, type StoredIntent, storedIntent } from './use-builders.ts';

const CLIENTS = 32;
const STEPS = 8;

async function aPlan(site: Site) {
  const plan = { steps: Array.from({ length: STEPS }, (_, n) => ({ action: 'send', mcp: 'mail', n })) };
  const json = { plan, expires_in: 3600 };
  const body = await granted(site.ask, { method: 'POST', path: '/token/issue', by: site.adminKey, json });
  const proofs = body['step_proofs'] as readonly unknown[];
  return { jwt: String(body['token']), jti: String(body['token_id']), proofs };
}

const toDelegate = ({ adminKey }: Site, token: string) => ({
  method: 'POST',
  path: '/delegation/create',
  by: adminKey,
  json: { token, delegate_public_key: aDelegateKey() },
});
const toRevoke = ({ adminKey }: Site, jti: string) => ({
  method: 'POST',
  path: '/token/revoke',
  by: adminKey,
  json: { token_id: jti },
});
const toConsume = ({ adminKey }: Site, token: string, index: number, proof: unknown) => ({
  method: 'POST',
  path: '/token/verify',
  by: adminKey,
  json: { token, step_index: index, action: 'send', proof, consume: true },
});

interface Child {
  readonly jwt: string;
  readonly jti: string;
}

/** The children that were answered; every other answer says that the token is revoked. */
function childrenIn(replies: readonly Reply[]): Child[] {
  return replies.flatMap(({ status, body, text }) => {
    if (status === 200) {
      const { jwt_token: jwt } = body['delegation'] as { jwt_token: string };
      return [{ jwt, jti: String(body['delegation_id']) }];
    }
    assert.deepEqual([status, body['error_code']], [401, 'TOKEN_REVOKED'], text);
    return [];
  });
}

test('two processes delegate, consume and revoke at once', { skip: postgresSkip }, async (t) => {
  const site = await openSite(t);
  for (let round = 1; round <= RACE_ROUNDS; round += 1) {
    await t.test(`round ${round}: nothing that was passed on outlives the revocation`, async () => {
      const root = await aPlan(site);
      const [first] = childrenIn(await site.race(1, () => toDelegate(site, root.jwt)));
      const parent = first ?? assert.fail();
      const [children, consumed] = await Promise.all([
        site.race(CLIENTS, (index) => toDelegate(site, index % 2 === 0 ? root.jwt : parent.jwt)),
        site.race(CLIENTS, (index) =>
          toConsume(site, index % 3 === 0 ? root.jwt : parent.jwt, index % STEPS, root.proofs[index % STEPS]),
        ),
        site.race(2, () => toRevoke(site, root.jti)),
      ]);
      const made = [parent, ...childrenIn(children)];
      const stored = await site.sql<{ jti: string; at: Date; root: string; under: boolean }>(
        `select token.jti, event.created_at as at, token.root_jti as root, $1 = any (token.ancestors) as under
         from intent_tokens token join audit_events event on event.resource_id = token.jti::text
         where token.ancestors <> '{}' and token.root_jti = $1 and event.event_type = 'intent.delegated'`,
        [root.jti],
      );
      assert.deepEqual(stored.map(({ jti }) => jti).sort(), made.map(({ jti }) => jti).sort());
      // `revoked_at` is from before the revocation waited for what was under way; its event is from after that.
      const [ended] = await site.sql<{ at: Date }>(
        "select created_at as at from audit_events where event_type = 'intent.revoked' and resource_id = $1",
        [root.jti],
      );
      for (const { at, under } of stored) assert.ok(under && at <= (ended?.at ?? assert.fail()));
      const valid = consumed.filter(({ body }) => body['valid'] === true);
      const steps = valid.map(({ body }) => (body['step'] as { step_index: number }).step_index);
      assert.equal(new Set(steps).size, steps.length, 'a step is consumed once, by whichever token');
      // Each of them is dead, and passes nothing on.
      const late = await site.race(made.length, (index) => ({
        method: 'POST',
        path: '/token/verify',
        by: site.adminKey,
        json: { token: made[index]?.jwt },
      }));
      assert.deepEqual([...new Set(late.map(({ body }) => body['code']))], ['TOKEN_REVOKED']);
      const heirs = await site.race(made.length, (index) => toDelegate(site, made[index]?.jwt ?? ''));
      assert.deepEqual(childrenIn(heirs), []);
    });
  }
});

const aRecord = ({ jti, owner }: StoredIntent): DelegationRecord => ({
  jti: uuidv7(),
  parentJti: jti,
  parentAgentRevision: 1,
  callerRevision: 1,
  keyId: owner.key.keyId,
  kid: 'a kid',
  actionsText: '[["weather-mcp","get_weather"]]',
  issuedAtSeconds: 1_800_000_000,
  expiresAtSeconds: 1_800_000_060,
});

for (const [what, whichOf] of [
  ['the parent', (family: readonly StoredIntent[]) => family[2]],
  ['an ancestor', (family: readonly StoredIntent[]) => family[0]],
] as const) {
  test(`a delegation that meets the revocation of ${what} waits for it, and then is none`, {
    skip: postgresSkip,
  }, async (t) => {
    const { openPatient, holder, waiting } = await heldLocks(t);
    const database = await openPatient();
    const agent = await storedAgent(database);
    const root = await storedIntent(database, agent);
    const child = await delegatedIntent(database, root);
    const parent = await delegatedIntent(database, child);
    const ended = whichOf([root, child, parent]) ?? assert.fail();
    await holder.query('begin');
    await holder.query('update intent_tokens set revoked_at = clock_timestamp() where jti = $1', [ended.jti]);
    const record = aRecord(parent);
    const event = anEvent({ eventType: 'intent.delegated', resourceId: record.jti });
    const delegation = createDelegationStore(database).delegate(record, event);
    await untilHeldUp('the delegation waits', [delegation], async () => (await waiting()) === 1);
    await holder.query('commit');
    assert.equal(await delegation, undefined);
    const left = await rows(database, 'select 1 from intent_tokens where jti = $1', [record.jti]);
    const told = await rows(database, 'select 1 from audit_events where resource_id = $1', [record.jti]);
    assert.deepEqual([left, told], [[], []]);
  });
}

test('the statement itself refuses what was decided by what is no longer so', {
  skip: postgresSkip,
}, async (t) => {
  const { openPatient } = await heldLocks(t);
  const database = await openPatient();
  const store = createDelegationStore(database);
  const agent = await storedAgent(database);
  const other = await storedAgent(database);
  const admin = await storedAgent(database, { role: 'admin' });
  const root = await storedIntent(database, agent);
  const delegate = (changes: Partial<DelegationRecord>) => {
    const record = { ...aRecord(root), ...changes };
    return store.delegate(record, anEvent({ eventType: 'intent.delegated', resourceId: record.jti }));
  };
  assert.deepEqual(await delegate({}), { agentName: agent.name });
  assert.deepEqual(await delegate({ keyId: admin.key.keyId }), { agentName: agent.name });
  const [{ end } = { end: 0 }] = await rows<{ end: number }>(
    database,
    'select extract(epoch from expires_at)::float8 as end from intent_tokens where jti = $1',
    [root.jti],
  );
  const refused: Readonly<Record<string, Partial<DelegationRecord>>> = {
    'another agent’s key': { keyId: other.key.keyId },
    'a key that never was': { keyId: '0'.repeat(16) },
    'a principal that changed': { parentAgentRevision: 2 },
    'a caller that changed': { callerRevision: 2 },
    'a parent that never was': { parentJti: uuidv7() },
    'an end behind the parent’s': { expiresAtSeconds: end + 1 },
  };
  for (const [name, changes] of Object.entries(refused))
    assert.equal(await delegate(changes), undefined, name);
  let deepest = root;
  for (let depth = 1; depth <= 5; depth += 1) deepest = await delegatedIntent(database, deepest);
  assert.equal(await delegate({ parentJti: deepest.jti }), undefined, 'a sixth delegation');
  await rows(database, 'update intent_tokens set expires_at = clock_timestamp() where jti = $1 returning 1', [
    root.jti,
  ]);
  assert.equal(await delegate({}), undefined, 'a parent that has expired');
  await rows(database, 'update api_keys set revoked_at = clock_timestamp() where key_id = $1 returning 1', [
    admin.key.keyId,
  ]);
  const left = await storedIntent(database, agent);
  assert.equal(
    await delegate({ parentJti: left.jti, keyId: admin.key.keyId }),
    undefined,
    'a dead key of an admin',
  );
});
