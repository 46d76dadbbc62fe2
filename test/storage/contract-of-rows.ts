/** What of a token and its event stands in the tables: what was given, and of a secret text only its hash. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { messageOf } from '../../src/storage/engine/sealed-rows.ts';
import { newTokenMessage } from '../../src/storage/scoped-tokens/scoped-token-store.ts';
import { TEST_SEALS } from '../support/test-seals.ts';
import { anIssue, storedAgent } from './builders.ts';
import type { ContractStores } from './contract-stores.ts';
import { anIssueOf, aScopedToken } from './secret-builders.ts';

export function contractOfRows(on: ContractStores): void {
  suite('rows', () => {
    test('an intent token and its event are stored as they were given', async () => {
      const agent = await storedAgent(on.database);
      const { record, event } = anIssue(agent, { actionsText: '[[null,"\\u00e9"]]' });
      const told = {
        ...event,
        metadata: { note: 'é "quoted" \\ \u{1f600}', n: 1 },
        ipAddress: '192.0.2.1',
        requestId: 'r',
      };
      assert.equal(await on.intents.issue(record, told), true);
      const [token] = await on.sql('select * from intent_tokens where jti = $1', [record.jti]);
      assert.deepEqual(token, {
        jti: record.jti,
        plan_id: record.planId,
        agent_id: agent.id,
        key_id: agent.key.keyId,
        kid: record.kid,
        plan_hash: record.planHashHex,
        merkle_root: record.merkleRootHex,
        tree_size: 2,
        policy: record.policyText,
        actions: '[[null,"\\u00e9"]]',
        issued_at: new Date(record.issuedAtSeconds * 1000),
        expires_at: new Date(record.expiresAtSeconds * 1000),
        revoked_at: null,
        root_jti: record.jti,
        ancestors: [],
      });
      assert.deepEqual(await on.storedEvents(record.jti), [
        {
          event_type: 'intent.issued',
          actor_id: agent.id,
          actor_type: 'agent',
          resource_type: 'intent_token',
          resource_id: record.jti,
          metadata: told.metadata,
          ip_address: '192.0.2.1',
          request_id: 'r',
        },
      ]);
    });

    test('a scoped token and its event are stored as they were given, and of the token itself only the hash', async () => {
      const token = aScopedToken(on.agent, {
        scopes: ['secrets:read:prod/*', 'namespaces:read'],
        allowedIps: ['192.0.2.0/24', '2001:db8::1'],
        maxUses: 7,
        description: 'é "quoted" \\ {a,b}',
      });
      const [, event] = anIssueOf(token);
      const told = { ...event, metadata: { scopes: ['é'], n: 1 }, ipAddress: '192.0.2.1', requestId: 'r' };
      assert.equal(await on.tokens.issue(token, told), true);
      const [stored] = await on.sql<{ token_hash: Uint8Array; seal: Uint8Array }>(
        'select * from scoped_tokens where id = $1',
        [token.id],
      );
      const { seal, ...row } = stored ?? assert.fail('there is no row');
      const unclaimed = { tier: 'standard', boundSecrets: null };
      const message = messageOf('scoped_tokens', { ...token, tokenHash: token.tokenHashHex, ...unclaimed });
      assert.equal(newTokenMessage(token), message);
      assert.deepEqual(Buffer.from(seal), TEST_SEALS.of(message));
      assert.deepEqual(
        { ...row, token_hash: Buffer.from(row.token_hash).toString('hex') },
        {
          id: token.id,
          token_hash: token.tokenHashHex,
          agent_id: on.agent.id,
          key_id: on.agent.key.keyId,
          scopes: token.scopes,
          allowed_ips: token.allowedIps,
          max_uses: 7,
          uses: 0,
          access_tier: 'standard',
          description: token.description,
          created_at: token.createdAt,
          expires_at: token.expiresAt,
          revoked_at: null,
          approval_id: null,
          bound_secrets: null,
        },
      );
      assert.deepEqual(await on.storedEvents(token.id), [
        {
          event_type: 'token.issued',
          actor_id: on.agent.id,
          actor_type: 'agent',
          resource_type: 'scoped_token',
          resource_id: token.id,
          metadata: { scopes: ['é'], n: 1 },
          ip_address: '192.0.2.1',
          request_id: 'r',
        },
      ]);
    });
  });
}
