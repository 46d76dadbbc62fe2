/** What is read of tokens and secrets before a guarded write. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite, test } from 'node:test';
import { WritError } from '../../src/errors.ts';
import type { NewScopedToken } from '../../src/use-cases/scoped-tokens/ports.ts';
import { resealRows } from '../support/test-seals.ts';
import { aWrite, storedAgent } from './builders.ts';
import { TOKEN_STATES } from './contract-of-tokens.ts';
import type { ContractStores } from './contract-stores.ts';
import { TOMORROW, YESTERDAY } from './five-stores.ts';
import { anAdvance, asRead, attributesWith, storedSecret, storedToken } from './secret-builders.ts';

export function contractOfReads(on: ContractStores): void {
  suite('reading', () => {
    const ask = (token: NewScopedToken, path: string | undefined, version?: number) =>
      on.reader.findByToken({ tokenHashHex: token.tokenHashHex, path, version });

    test('a token is read with its own grant and its owner’s present one', async () => {
      const token = await storedToken(on.database, on.agent, {
        scopes: ['secrets:*:*', 'namespaces:read'],
        allowedIps: ['192.0.2.0/24'],
        maxUses: 2,
      });
      const read = await ask(token, undefined);
      assert.equal(read?.found, undefined);
      const { scopes, ownerScopes, restrictions, livesMs, ...rest } = read?.token ?? assert.fail();
      assert.deepEqual(rest, {
        id: token.id,
        agentId: on.agent.id,
        agentRole: 'agent',
        agentRevision: 1,
        limited: true,
        asRead: asRead(token),
        state: 'live',
        opens: { tier: 'standard', bound: new Map() },
      });
      assert.ok(livesMs > 0 && livesMs <= token.expiresAt.getTime() - token.createdAt.getTime());
      assert.deepEqual([scopes.length, ownerScopes.length, restrictions.allowedAddresses?.length], [2, 1, 1]);
      const open = await ask(await storedToken(on.database, on.agent), undefined);
      assert.deepEqual([open?.token.restrictions.allowedAddresses, open?.token.limited], [null, false]);
    });

    test('a changed owner is read as changed, at once', async () => {
      const who = await storedAgent(on.database, { allowedScopes: ['secrets:read:a/*', 'secrets:read:b/*'] });
      const token = await storedToken(on.database, who);
      assert.equal((await ask(token, undefined))?.token.ownerScopes.length, 2);
      await on.agents.update(who.id, { allowedScopes: ['secrets:read:a/*'] }, aWrite());
      const read = await ask(token, undefined);
      const stored = await on.credentials.findKey(who.key.keyId);
      const { ownerScopes, agentRevision } = read?.token ?? assert.fail();
      assert.deepEqual([ownerScopes.length, agentRevision], [1, stored?.caller.principal.revision]);
      assert.notEqual(agentRevision, 1);
    });

    test('an owner or a token that somebody narrows by SQL is read as narrow, whatever number the row has', async () => {
      const who = await storedAgent(on.database, { allowedScopes: ['secrets:read:a/*', 'secrets:read:b/*'] });
      const token = await storedToken(on.database, who, { scopes: ['secrets:read:a/*', 'secrets:read:b/*'] });
      const counts = async () => {
        const read = (await ask(token, undefined))?.token ?? assert.fail();
        return [read.scopes.length, read.ownerScopes.length, read.restrictions.allowedAddresses?.length];
      };
      assert.deepEqual(await counts(), [2, 2, undefined]);
      // As a replica is written, and a failover may leave it: no trigger gives another number.
      await on.database.transaction(async ({ query }) => {
        const run = (text: string) => query({ name: text.slice(0, 40), text, effect: 'write' }, []);
        await run('set local session_replication_role = replica');
        await run(`update agents set allowed_scopes = '{secrets:read:a/*}' where id = '${who.id}'`);
        await run(
          `update scoped_tokens set scopes = '{secrets:read:a/*}', allowed_ips = '{192.0.2.1}' where id = '${token.id}'`,
        );
        let names = 0;
        const any = (text: string, values: readonly unknown[]): Promise<object[]> => {
          names += 1;
          return query({ name: `narrow_${token.id}_${names}`, text, effect: 'write' }, values);
        };
        await resealRows(any, 'agents', 'id = $1', [who.id]);
        await resealRows(any, 'scoped_tokens', 'id = $1', [token.id]);
      });
      assert.deepEqual(await counts(), [1, 1, 1]);
    });

    for (const [state, ways] of Object.entries(TOKEN_STATES)) {
      for (const [how, why] of ways) {
        test(`a token is read as ${state} when ${why}`, async () => {
          const token = await storedToken(on.database, on.agent, { maxUses: 2 });
          await on.changeToken(token.id, how);
          assert.equal((await ask(token, undefined))?.token.state, state);
        });
      }
    }

    test('a token that nobody knows is not found, whatever it asks for', async () => {
      const { record } = await storedSecret(on.database, on.agent);
      for (const path of [undefined, record.path]) {
        assert.equal(
          await on.reader.findByToken({
            tokenHashHex: randomBytes(32).toString('hex'),
            path,
            version: undefined,
          }),
          undefined,
        );
      }
    });

    test('a token whose row was changed is refused', async () => {
      const token = await storedToken(on.database, on.agent);
      await on.changeToken(token.id, { scopes: ['secrets:*:*'] });
      await assert.rejects(
        ask(token, undefined),
        (error) => error instanceof WritError && error.code === 'INTEGRITY_ERROR',
      );
    });

    test('a stored scope that does not parse is a fault, never a grant', async () => {
      const token = await storedToken(on.database, on.agent);
      await on.changeToken(token.id, { scopes: ['secrets:all:*'] });
      await resealRows(on.sql, 'scoped_tokens', 'id = $1', [token.id]);
      await assert.rejects(ask(token, undefined), (error) => !(error instanceof WritError));
    });

    test('many who ask at once each get their own answer', async () => {
      const secrets = [await storedSecret(on.database, on.agent), await storedSecret(on.database, on.agent)];
      const known = [await storedToken(on.database, on.agent), await storedToken(on.database, on.agent)];
      const asked = Array.from({ length: 48 }, (_, index) => ({
        token: index % 4 === 3 ? undefined : known[index % 2],
        secret: index % 3 === 2 ? undefined : secrets[index % 3],
        version: index % 5 === 0 ? 9 : undefined,
      }));
      const answers = await Promise.all(
        asked.map(({ token, secret, version }) =>
          on.reader.findByToken({
            tokenHashHex: token?.tokenHashHex ?? randomBytes(32).toString('hex'),
            path: secret?.record.path ?? 'nobody/knows',
            version,
          }),
        ),
      );
      for (const [index, { token, secret, version }] of asked.entries()) {
        const answer = answers[index];
        assert.equal(answer?.token.id, token?.id);
        assert.equal(answer?.found?.secret.id, token && secret?.record.id);
        if (answer?.found !== undefined) assert.equal(answer.found.sealed === undefined, version === 9);
      }
    });

    for (const who of ['a token', 'a key'] as const) {
      const find = async (path: string, version?: number) => {
        if (who === 'a key') return on.reader.find({ path, version });
        return (await ask(await storedToken(on.database, on.agent), path, version))?.found;
      };

      test(`a secret is read for ${who} as it was stored, with the newest version`, async () => {
        const attributes = attributesWith({
          secretType: 'api_key',
          tier: 'sensitive',
          metadata: { b: 1, a: { é: [null, '"'] } },
          description: 'é',
          tags: ['a,b', '"', '\\', '{}', 'é', 'null'],
          expiresAt: TOMORROW,
        });
        const { record, sealed } = await storedSecret(on.database, on.agent, { attributes });
        const found = await find(record.path);
        const { createdAt, updatedAt, ...secret } = found?.secret ?? assert.fail();
        assert.deepEqual(secret, {
          id: record.id,
          path: record.path,
          namespace: record.namespace,
          key: record.key,
          version: 1,
          ...attributes,
          rotationDueAt: null,
        });
        assert.equal(JSON.stringify(secret.metadata), JSON.stringify(attributes.metadata), 'in its order');
        assert.ok(createdAt instanceof Date && updatedAt instanceof Date);
        assert.equal(found?.version, 1);
        const bytes = (value: typeof sealed | undefined) => ({
          kekId: value?.kekId,
          wrappedKey: Buffer.from(value?.wrappedKey ?? []).toString('hex'),
          nonce: Buffer.from(value?.nonce ?? []).toString('hex'),
          ciphertext: Buffer.from(value?.ciphertext ?? []).toString('hex'),
        });
        assert.deepEqual(bytes(found?.sealed), bytes(sealed));
      });

      test(`for ${who}: an absent path is not found, a path is exact, an expired secret reads as absent`, async () => {
        const { record } = await storedSecret(on.database, on.agent);
        const expired = await storedSecret(on.database, on.agent, { attributes: { expiresAt: YESTERDAY } });
        for (const path of [
          `${record.path}/more`,
          record.namespace,
          record.path.toUpperCase(),
          `${record.path}%`,
        ]) {
          assert.equal(await find(path), undefined, path);
        }
        assert.equal(await find(expired.record.path), undefined);
        assert.equal(await find(expired.record.path, 1), undefined);
      });

      test(`for ${who}: a version that is not there has no value; the others have their own`, async () => {
        const { record, sealed } = await storedSecret(on.database, on.agent);
        const second = anAdvance(record);
        await on.change([record.path], [second]);
        for (const [version, expected] of [
          [1, sealed],
          [2, second.sealed],
          [undefined, second.sealed],
        ] as const) {
          const found = await find(record.path, version);
          assert.deepEqual(Buffer.from(found?.sealed?.nonce ?? []), expected.nonce);
          assert.deepEqual([found?.version, found?.secret.version], [version ?? 2, 2]);
        }
        for (const version of [3, 999_999_999]) {
          const found = await find(record.path, version);
          assert.deepEqual([found?.secret.id, found?.sealed], [record.id, undefined]);
        }
      });

      test(`for ${who}: versions from before an expiry stay unreadable after the next one`, async () => {
        const { record } = await storedSecret(on.database, on.agent, {
          attributes: { expiresAt: YESTERDAY },
        });
        await on.change([record.path], [anAdvance(record, { hidesEarlier: true })]);
        await on.change([record.path], [anAdvance({ ...record, version: 2 })]);
        assert.equal((await find(record.path, 1))?.sealed, undefined);
        for (const version of [2, 3]) assert.ok((await find(record.path, version))?.sealed, `${version}`);
      });
    }

    test('a list holds one namespace’s own keys in their order, without the expired', async () => {
      const namespace = `list-${process.pid}`;
      for (const key of ['c', 'a', 'B', 'a.b', '_'])
        await storedSecret(on.database, on.agent, { path: `${namespace}/${key}` });
      await storedSecret(on.database, on.agent, { path: `${namespace}/child/d` });
      await storedSecret(on.database, on.agent, { path: `${namespace}x/e` });
      await storedSecret(on.database, on.agent, {
        path: `${namespace}/gone`,
        attributes: { expiresAt: YESTERDAY },
      });
      const list = async (limit: number, after?: string) =>
        (await on.reader.list({ namespace, limit, after })).map(({ key }) => key);
      const all = await list(100);
      assert.deepEqual([...all].sort(), ['B', '_', 'a', 'a.b', 'c']);
      const paged: string[] = [];
      for (let last: string | undefined; ; last = paged.at(-1)) {
        const page = await list(2, last);
        if (page.length === 0) break;
        paged.push(...page);
      }
      assert.deepEqual(paged, all);
      assert.deepEqual(await list(100, all.at(-1)), []);
      assert.deepEqual(await on.reader.list({ namespace: 'nobody-knows', limit: 10, after: undefined }), []);
    });

    test('namespaces are listed with what has not expired, and those with nothing left are not', async () => {
      const prefix = `spaces-${process.pid}`;
      const make = (path: string, expiresAt: Date | null = null) =>
        storedSecret(on.database, on.agent, { path: `${prefix}/${path}`, attributes: { expiresAt } });
      await make('one/a');
      await make('one/b', TOMORROW);
      await make('one/c', YESTERDAY);
      await make('one/two/a');
      await make('three/a', YESTERDAY);
      const listed: { namespace: string; secretCount: number }[] = [];
      for (let last: string | undefined = ''; ; last = listed.at(-1)?.namespace) {
        const page = await on.reader.listNamespaces({ limit: 2, after: last });
        if (page.length === 0) break;
        listed.push(...page);
      }
      assert.deepEqual(
        listed.filter(({ namespace }) => namespace.startsWith(prefix)),
        [
          { namespace: `${prefix}/one`, secretCount: 2 },
          { namespace: `${prefix}/one/two`, secretCount: 1 },
        ],
      );
      assert.equal(new Set(listed.map(({ namespace }) => namespace)).size, listed.length);
    });
  });
}
