/** `ass secrets` and `ass env` of `@agentsecretstore/cli`, unmodified: every command, flag and prompt. */
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { parse } from 'dotenv';
import { aPerson, done, failed } from './agentsecretstore-cli.ts';
import { available, startVault } from './agentsecretstore-server.ts';
import { KEYS, terminalSkip } from './terminal.ts';

const atTerminal = { skip: terminalSkip };

suite('ass', () => {
  const server = startVault(available);
  const admin = (t: TestContext) => aPerson(t, server.url, { ASS_API_KEY: server.adminKey });
  const agent = async (t: TestContext, spec: Record<string, unknown> = {}) =>
    aPerson(t, server.url, { ASS_AGENT_KEY: (await server.createAgent(spec)).key });

  suite('secrets', () => {
    test('what is set is got, piped byte by byte', async (t) => {
      const person = await agent(t);
      const value = 'sk-é "quoted" $HOME\n two lines ';
      const path = 'prod/eu/svc@1/A+B=~';
      const set = ['secrets', 'set', path, value, '--type', 'api_key', '--tier', 'standard'];
      done(await person.ass(...set), /✓ Secret stored at prod\/eu\/svc@1\/A\+B=~\n/);
      const got = await person.ass('secrets', 'get', path);
      assert.deepEqual([got.code, got.stdout], [0, value]);
      const named = ['--namespace', 'prod/eu/svc@1', '--key', 'A+B=~'];
      assert.equal((await person.ass('secrets', 'get', 'any', ...named)).stdout, value);
      const { stdout } = await person.ass('secrets', 'get', path, '--json');
      const shown = JSON.parse(stdout) as Record<string, unknown>;
      assert.ok(Date.parse(String(shown['updated_at'])) > 0);
      assert.deepEqual(shown, { ...shown, path, value, version: 1 });
      const { body } = await server.ask<Record<string, unknown>>('GET', `/v1/secrets/${path}`);
      assert.deepEqual([body['secret_type'], body['access_tier']], ['api_key', 'standard']);
    });

    test(
      'at a terminal, what was left out is asked for, and a value is shown with its version',
      atTerminal,
      async (t) => {
        const person = await admin(t);
        const set = await person.type(
          ['secrets', 'set', 'asked/KEY'],
          [
            ['Value for asked/KEY:', `typed-in value${KEYS.enter}`],
            ['Secret type:', KEYS.down + KEYS.down + KEYS.enter],
            ['Access tier:', KEYS.down + KEYS.enter],
          ],
        );
        assert.equal(set.code, 0, set.screen);
        assert.match(set.screen, /✓ Secret stored at asked\/KEY/);
        assert.ok(!set.screen.includes('typed-in value'));
        const { body } = await server.ask<Record<string, unknown>>('GET', '/v1/secrets/asked/KEY');
        assert.deepEqual(
          [body['value'], body['secret_type'], body['access_tier']],
          ['typed-in value', 'db_credential', 'sensitive'],
        );
        const got = await person.type(['secrets', 'get', 'asked/KEY'], []);
        assert.equal(got.code, 0);
        assert.match(got.screen, /asked\/KEY\n[\s\S]+typed-in value\n +version 1 +· +updated \d+[smh] ago\n/);
      },
    );

    test('a list shows path, type, tier and age of a namespace’s own keys', async (t) => {
      const person = await admin(t);
      await server.put('shown/A', { value: 'not-in-a-list', secret_type: 'api_key' });
      await server.put('shown/B', {
        value: 'not-in-a-list',
        secret_type: 'ssh_key',
        access_tier: 'critical',
      });
      await server.put('shown/deep/C', { value: 'not-in-a-list' });
      const list = await person.ass('secrets', 'list', 'shown');
      done(
        list,
        /\(2 secrets\)/,
        /shown\/A +api_key +standard +\d+[smh] ago/,
        /shown\/B +ssh_key +critical +\d+[smh] ago/,
      );
      assert.doesNotMatch(list.stdout, /not-in-a-list|deep/);
      done(await person.ass('secrets', 'list', 'shown/deep'), /\(1 secret\)/, /shown\/deep\/C +custom/);
      // Without a name it lists `default`, which is empty.
      const empty = await person.ass('secrets', 'list');
      done(empty, /default +\(0 secrets\)/);
      assert.match(empty.stderr, /No secrets found/);
      const { stdout } = await person.ass('secrets', 'list', 'shown', '--json');
      const { items } = JSON.parse(stdout) as { items: { key: string }[] };
      assert.deepEqual(
        items.map((item) => item.key),
        ['A', 'B'],
      );
    });

    test('a rotated secret has a new random value, which is not shown', async (t) => {
      const person = await agent(t);
      await server.put('turned/K', { value: 'old' });
      const rotated = await person.ass('secrets', 'rotate', 'turned/K', '--force');
      done(rotated, /✓ Secret rotated: turned\/K/);
      const { body } = await server.ask<{ value: string; version: number }>('GET', '/v1/secrets/turned/K');
      assert.equal(body.version, 2);
      assert.match(body.value, /^[\w-]{43}$/);
      assert.ok(!(rotated.stdout + rotated.stderr).includes(body.value));
    });

    test('a deleted secret is gone, by either name of the command', async (t) => {
      const person = await agent(t);
      for (const command of ['delete', 'rm']) {
        await server.put('gone/K', { value: 'v' });
        done(await person.ass('secrets', command, 'gone/K', '--force'), /✓ Secret deleted: gone\/K/);
        assert.equal(await server.valueOf('gone/K'), undefined);
      }
    });

    test('without --force both ask, and nothing happens unless the answer is yes', atTerminal, async (t) => {
      const person = await agent(t);
      await server.put('kept/K', { value: 'v' });
      const no = await person.type(['secrets', 'delete', 'kept/K'], [['Delete kept/K?', KEYS.enter]]);
      assert.match(no.screen, /Aborted/);
      const away = await person.type(['secrets', 'rotate', 'kept/K'], [['Rotate kept/K?', KEYS.interrupt]]);
      assert.match(away.screen, /cancelled/);
      assert.equal(await server.valueOf('kept/K'), 'v');
      const rotated = await person.type(['secrets', 'rotate', 'kept/K'], [['Rotate kept/K?', 'y']]);
      assert.match(rotated.screen, /✓ Secret rotated/);
      assert.notEqual(await server.valueOf('kept/K'), 'v');
      const deleted = await person.type(['secrets', 'delete', 'kept/K'], [['Delete kept/K?', 'y']]);
      assert.match(deleted.screen, /✓ Secret deleted/);
      assert.equal(await server.valueOf('kept/K'), undefined);
    });

    test('what is refused says why', async (t) => {
      await server.put('locked/SENSITIVE', { value: 'v', access_tier: 'sensitive' });
      await server.put('locked/K', { value: 'v' });
      const reader = await agent(t, { allowed_scopes: ['secrets:read:locked/*'] });
      const set = ['secrets', 'set', 'locked/K', 'x', '--type', 'nonsense', '--tier', 'standard'];
      const body = { value: 'x', secret_type: 'nonsense' };
      const { detail } = (await server.ask<{ detail: string }>('PUT', '/v1/secrets/locked/K', body)).body;
      const DENIED = 'Permission denied.';
      failed(await reader.ass('secrets', 'get', 'locked/ABSENT'), 'Not found.', /no such secret/);
      failed(await reader.ass('secrets', 'get', 'other/ABSENT'), DENIED, /scopes do not allow/);
      failed(await reader.ass('secrets', 'list', 'other'), DENIED, /scopes do not allow/);
      failed(await reader.ass('secrets', 'rotate', 'locked/K', '-f'), DENIED, /scopes do not allow/);
      failed(await reader.ass('secrets', 'get', 'locked/SENSITIVE'), DENIED, /sensitive.*approval/);
      failed(await (await admin(t)).ass(...set), detail);
      assert.match(detail, /secret_type/);
      assert.equal(await server.valueOf('locked/K'), 'v');
    });
  });

  suite('env', () => {
    const TEXT = 'PLAIN=one\nQUOTED="two words"\n# a comment\nEMPTY=\n';

    test('a file is imported, and what is exported reads the same', async (t) => {
      const person = await agent(t);
      await person.write('.env', TEXT);
      // Contract section 10: it shows the keys where a number was meant.
      done(
        await person.ass('env', 'import', '.env', '--namespace', 'team/env'),
        /✓ Imported PLAIN,QUOTED,EMPTY secrets to team\/env/,
        /team\/env\/PLAIN +← stored\n +team\/env\/QUOTED +← stored\n +team\/env\/EMPTY +← stored\n/,
      );
      const exported = await person.ass('env', 'export', 'team/env');
      done(exported, /^# Exported from [\s\S]+# Namespace: team\/env\n/);
      assert.deepEqual(parse(exported.stdout), parse(TEXT));
      done(await person.ass('env', 'export', 'team/env', '--output', 'out.env'), /✓ Wrote 3 secrets to /);
      assert.deepEqual(parse(await person.read('out.env')), parse(TEXT));
    });

    test('file and namespace may be those of the folder, and --dry-run sends nothing', async (t) => {
      const person = await agent(t);
      await person.write('.env', TEXT);
      done(await person.ass('env', 'import', '-n', 'dry', '--dry-run'), /no changes made/);
      assert.equal(await server.valueOf('dry/PLAIN'), undefined);
      done(await person.ass('init', '--namespace', 'folder'), /Created .assrc/);
      done(await person.ass('env', 'import'), /secrets to folder/);
      assert.equal(await server.valueOf('folder/QUOTED'), 'two words');
    });

    test('a line that cannot be read is named, and nothing is imported', async (t) => {
      const person = await agent(t);
      await person.write('bad.env', 'A=1\nnot an entry\n');
      failed(
        await person.ass('env', 'import', 'bad.env', '-n', 'bad'),
        'content: line 2 is neither KEY=value nor a comment.',
      );
      assert.equal(await server.valueOf('bad/A'), undefined);
    });

    test('what one may not open is marked in the export, which goes on', async (t) => {
      const person = await agent(t, { allowed_namespaces: ['partly'], allowed_scopes: undefined });
      await server.put('partly/OPEN', { value: 'v' });
      await server.put('partly/SHUT', { value: 'not-to-be-shown', access_tier: 'sensitive' });
      const exported = await person.ass('env', 'export', 'partly');
      done(exported, /\nOPEN=v\n/, /\n# SHUT=<failed to fetch>\n/);
      assert.doesNotMatch(exported.stdout, /not-to-be-shown/);
      failed(await person.ass('env', 'export', 'other'), 'Permission denied.', /scopes do not allow/);
    });
  });
});
