/**
 * Guarantees what the image and docker-compose.yml promise: nothing of the build in the image, no privilege, no
 * default password, a server that owns nothing, and that nothing is lost when every container goes.
 * The last part needs a Docker engine with compose and some minutes:
 *   WRIT_TEST_DOCKER=1 npm test -- test/repo/container.test.ts --test-timeout=900000
 * An engine without BuildKit needs DOCKER_BUILDKIT=0 as well.
 */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { SENT_COLUMNS } from '../../src/storage/audit/audit-store.ts';
import { commandsOf } from '../commands/procedures.ts';
import { freePort } from '../support/free-port.ts';
import { readText } from '../support/markdown.ts';

const run = promisify(execFile);

describe('the image', () => {
  const dockerfile = readText('Dockerfile').replace(/\\\n\s*/g, '');
  const stages = dockerfile.split(/^(?=FROM )/m).slice(1);
  const last = stages.at(-1) ?? '';

  test('takes from the build what runs, and nothing else', () => {
    const copied = [...last.matchAll(/^(?:COPY|ADD) (.*)$/gm)].map((match) => match[1] ?? '');
    assert.deepEqual(copied, [
      '--from=packages /app/node_modules node_modules',
      '--from=build /app/package.json package.json',
      '--from=build /app/LICENSE LICENSE',
      '--from=build /app/migrations migrations',
      '--from=build /app/dist dist',
      '--from=build /app/docker/writ /usr/local/bin/writ',
    ]);
    assert.match(stages.find((stage) => / AS packages$/m.test(stage)) ?? '', /npm ci --omit=dev/);
  });

  test('installs nothing in its last stage and has no package manager', () => {
    const commands = [...last.matchAll(/^RUN (.*)$/gm)].map((match) => match[1] ?? '');
    assert.equal(commands.length, 1);
    assert.match(commands[0] ?? '', /^rm -rf \/usr\/local\/lib\/node_modules .*\/usr\/local\/bin\/npm /);
    assert.doesNotMatch(commands.join(), /apt-get|npm (ci|install|i)\b|curl|wget/);
  });

  test('runs as an ordinary user and asks the server for its health', () => {
    assert.deepEqual(
      [...last.matchAll(/^USER (.*)$/gm)].map((match) => match[1]),
      ['node'],
    );
    assert.match(last, /^HEALTHCHECK .*CMD \["writ", "health"\]$/m);
    assert.match(last, /^ENTRYPOINT \["writ"\]$/m);
    assert.match(last, /^CMD \["serve"\]$/m);
  });

  test('leaves no shell between the engine’s signals and the server', () => {
    assert.match(readText('docker/writ'), /\nexec node \/app\/dist\/cli\.js "\$@"\n$/);
  });

  test('is built from named files only, so that no secret or history reaches the builder', () => {
    const lines = readText('.dockerignore').split('\n');
    const rules = lines.filter((line) => line !== '' && !line.startsWith('#'));
    assert.equal(rules[0], '*');
    const sent = rules.slice(1).map((rule) => rule.replace(/^!/, ''));
    const read = [...dockerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap((match) =>
      (match[1] ?? '').split(' '),
    );
    assert.deepEqual(sent.toSorted(), [...new Set(read)].toSorted());
    for (const path of sent) assert.ok(existsSync(path), `${path} does not exist`);
  });
});

describe('docker-compose.yml', () => {
  const compose = readText('docker-compose.yml');
  const services = blocksOf(blocksOf(compose).get('services') ?? '');
  const service = (name: string): string => services.get(name) ?? assert.fail(`there is no service ${name}`);

  test('starts each service only when what it needs is there', () => {
    const gates = Object.fromEntries(
      [...services.keys()].map((name) => [
        name,
        Object.fromEntries(
          [...service(name).matchAll(/^ +(\w+): \{ condition: (\w+) \}$/gm)].map((match) => [
            match[1],
            match[2],
          ]),
        ),
      ]),
    );
    assert.deepEqual(gates, {
      secrets: {},
      postgres: { secrets: 'service_completed_successfully' },
      migrate: { postgres: 'service_healthy' },
      grants: { migrate: 'service_completed_successfully' },
      writ: { postgres: 'service_healthy', grants: 'service_completed_successfully' },
    });
    assert.match(service('postgres'), /test: \['CMD', 'pg_isready'/);
  });

  test('publishes Writ to this machine and nothing else to anybody', () => {
    const published = [...services].filter(([, text]) => /^ *(ports|network_mode: host)\b/m.test(text));
    assert.deepEqual(
      published.map(([name]) => name),
      ['writ'],
    );
    assert.match(service('writ'), /^ +- \$\{WRIT_PUBLISH:-127\.0\.0\.1:3000\}:3000$/m);
    assert.match(compose, /^ {2}database:\n {4}internal: true$/m);
  });

  test('holds no password and asks for none', () => {
    assert.doesNotMatch(compose, /postgres(ql)?:\/\//);
    assert.doesNotMatch(compose, /^\s*-?\s*\w*(PASSWORD|SECRET|MASTER_KEY)\w*(?<!_FILE)\s*[:=]/m);
    assert.doesNotMatch(compose, /\bPGPASSWORD=(?!\$\$\(cat )/);
    assert.doesNotMatch(compose, /HOST_AUTH_METHOD|\$\{\w*(PASSWORD|SECRET|KEY)/);
    assert.match(readText('docker/secrets.sh'), /\/dev\/urandom/);
  });

  test('shows the owner’s password to nobody who serves', () => {
    const mounts = (volume: string): string[] =>
      [...services].filter(([, text]) => text.includes(`- ${volume}:`)).map(([name]) => name);
    assert.deepEqual(mounts('owner-password'), ['secrets', 'postgres', 'migrate', 'grants']);
    assert.deepEqual(mounts('app-password'), ['secrets', 'grants', 'writ']);
    assert.deepEqual(mounts('writ-data'), ['writ']);
  });

  test('gives Writ a root file system that it cannot write and no privilege', () => {
    for (const name of ['writ', 'migrate']) {
      assert.match(service(name), /^ +read_only: true$/m);
      assert.match(service(name), /^ +cap_drop: \[ALL\]$/m);
      assert.doesNotMatch(service(name), /cap_add|privileged/);
    }
    for (const text of services.values()) assert.match(text, /security_opt: \['no-new-privileges:true'\]/);
  });
});

describe('the role that serves', () => {
  const grants = readText('docker/grants.sql').replace(/^--.*$/gm, '');

  test('is given no right to change a table’s shape, to empty it, or to rewrite the audit trail', () => {
    const given = [...grants.matchAll(/\bgrant ([a-z, ]+?) on ([\w. %]+?) to writ_app/g)].map(
      ([, rights, on]) => `${rights} on ${on}`,
    );
    assert.deepEqual(given, [
      'connect on database %I',
      'usage on schema public',
      'select, insert, update on all tables in schema public',
      'usage, select on all sequences in schema public',
      'delete on %s',
      'select on public.audit_events',
      'select on public.audit_epochs',
      'select on public.schema_migrations',
    ]);
    assert.match(
      grants,
      /revoke all on table %s from writ_app[^;]*pg_partition_tree\('public\.audit_events'\)/,
    );
  });

  test('may say of an event what Writ sends, and neither its time nor its transaction', () => {
    const [, listed = ''] =
      /grant insert \(([\w, ]+)\)\s+on public\.audit_events to writ_app/.exec(grants) ?? [];
    assert.deepEqual(listed.split(', '), SENT_COLUMNS);
    for (const column of ['created_at', 'xact', 'epoch']) assert.ok(!SENT_COLUMNS.includes(column));
  });

  test('may delete from exactly the tables that Writ deletes from', () => {
    const source = readdirSync('src/storage', { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => readText(`src/storage/${file}`))
      .join('\n');
    const deleted = [...source.matchAll(/\bdelete\s+from\s+(\w+)/gi)].map((match) => match[1] ?? '');
    const granted = [...grants.matchAll(/to_regclass\('public\.(\w+)'\)/g)].map((match) => match[1] ?? '');
    assert.deepEqual(granted.toSorted(), [...new Set(deleted)].toSorted());
    assert.doesNotMatch(source, /\borm\s*\.delete\(/, 'a deletion that this test cannot read');
  });
});

test('docker compose up on a fresh clone', { skip: whyNoDocker() }, async (t) => {
  const project = `writ-test-${process.pid}`;
  const folder = await mkdtemp(join(tmpdir(), 'writ-compose-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const env = { ...process.env, WRIT_IMAGE: project, WRIT_PUBLISH: `127.0.0.1:${port}`, ISSUER_URL: url };
  let adminKey: string;
  let agentKey: string;

  const docker = async (...args: string[]): Promise<string> =>
    (await run('docker', args, { cwd: folder, env, maxBuffer: 1024 ** 3 })).stdout;
  const compose = (...args: string[]): Promise<string> => docker('compose', '-p', project, ...args);
  const inWrit = (script: string): Promise<string> => compose('exec', '-T', 'writ', 'sh', '-c', script);
  const asOwner = async (statement: string): Promise<string> =>
    (
      await compose('exec', '-T', 'postgres', 'psql', '-XAtU', 'writ_owner', '-d', 'writ', '-c', statement)
    ).trim();

  const ready = async (): Promise<void> => {
    for (let attempt = 0; attempt < 1200; attempt += 1) {
      // The engine's proxy takes a connection before Writ does and closes it unanswered; in Node.js 20 `fetch`
      // then never settles, and an abort timer would not keep the process waiting.
      const answer = fetch(`${url}/ready`).catch(() => undefined);
      const response = await Promise.race([answer, delay(1000)]);
      if (response?.status === 200) return;
      await delay(250);
    }
    assert.fail(
      `Writ is not ready:\n${await compose('ps', '--all')}\n${await compose('logs', '--tail', '20')}`,
    );
  };

  const keysInLog = async (...args: string[]): Promise<string[]> =>
    (await compose('logs', '--no-log-prefix', ...args, 'writ')).match(/ak_(live|test)_[0-9a-f]{64}/g) ?? [];

  const call = async (path: string, key: string, body?: object) => {
    const response = await fetch(`${url}${path}`, {
      headers: { 'x-api-key': key, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };

  const issue = async (): Promise<string> => {
    const plan = { goal: 'look', steps: [{ action: 'get_weather', mcp: 'weather-mcp' }] };
    const issued = await call('/token/issue', agentKey, { plan });
    assert.equal(issued.status, 200);
    return String(issued.body['token_id']);
  };

  /** What has to outlive the containers. */
  const memory = async () => ({
    tokens: (await asOwner('select jti from intent_tokens order by jti')).split('\n'),
    events: await asOwner('select count(*) from audit_events'),
    masterKey: await inWrit('sha256sum </var/lib/writ/master.key'),
    publicKeys: await (await fetch(`${url}/.well-known/jwks.json`)).text(),
  });

  /** The SQLSTATE of each statement, or 'ok', as the image's own driver sees it with what Writ is given. */
  const asServingRole = async (statements: readonly string[]): Promise<string[]> => {
    const program = `
      const { default: pg } = await import('/app/node_modules/pg/lib/index.js');
      const url = (await import('node:fs')).readFileSync(process.env.DATABASE_URL_FILE, 'utf8').trim();
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      const answers = [];
      for (const statement of ${JSON.stringify(statements)}) {
        answers.push(await client.query(statement).then(() => 'ok', (error) => error.code));
      }
      await client.end();
      console.log(JSON.stringify(answers));`;
    const said = await compose('exec', '-T', 'writ', 'node', '--input-type=module', '-e', program);
    return JSON.parse(said) as string[];
  };

  const cleanUp = async (): Promise<void> => {
    await compose('down', '--volumes', '--timeout', '5').catch(() => {});
    await docker('image', 'rm', project).catch(() => {});
    await rm(folder, { recursive: true, force: true });
  };
  t.after(cleanUp);
  const clone = [
    'Dockerfile',
    '.dockerignore',
    'docker-compose.yml',
    'docker',
    'scripts',
    'src',
    'migrations',
  ];
  clone.push('package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'LICENSE');
  for (const path of clone) await cp(path, join(folder, path), { recursive: true });
  await compose('up', '--detach');
  await ready();

  await t.test('gives a server whose first log shows an administrator’s key that works', async () => {
    adminKey = (await keysInLog())[0] ?? assert.fail('the log shows no key');
    assert.deepEqual(new Set(await keysInLog()), new Set([adminKey]));
    const agent = await call('/v1/agents', adminKey, { name: 'courier' });
    assert.equal(agent.status, 201);
    agentKey = String(agent.body['api_key']);
    await issue();
  });

  await t.test(
    'runs as an ordinary user without privileges on a file system that it cannot write',
    async () => {
      assert.equal((await inWrit('id -u')).trim(), '1000');
      const refused = await inWrit(
        'for f in /x /app/x /etc/x; do touch $f 2>/dev/null || echo refused; done',
      );
      assert.deepEqual(refused.trim().split('\n'), ['refused', 'refused', 'refused']);
      assert.match(await inWrit('cat /proc/1/status'), /^CapBnd:\t0+\n(?:.*\n)*NoNewPrivs:\t1$/m);
      assert.match(await inWrit("tr '\\0' ' ' </proc/1/cmdline"), /^node \/app\/dist\/cli\.js serve $/);
      assert.equal((await inWrit('stat -c "%a %u" /var/lib/writ/master.key')).trim(), '600 1000');
    },
  );

  await t.test('has neither sources nor tools of the build in the image', async () => {
    assert.equal((await inWrit('command -v npm npx tsc cc make; ls /app/src 2>/dev/null; true')).trim(), '');
    assert.deepEqual((await inWrit('ls /app')).trim().split('\n'), [
      'LICENSE',
      'dist',
      'migrations',
      'node_modules',
      'package.json',
    ]);
    assert.equal(
      (await inWrit("find /app/dist -type f ! -name '*.js' ! -name embedded-template.br")).trim(),
      '',
    );
    assert.equal(
      (await inWrit('cd /app/node_modules && ls -d typescript tsx drizzle-kit 2>/dev/null; true')).trim(),
      '',
    );
  });

  await t.test('serves with a role that owns nothing, and whose password no inspection shows', async () => {
    const role = "'writ_app'::regrole";
    assert.equal(await asOwner(`select count(*) from pg_class where relowner = ${role}`), '0');
    assert.equal(
      await asOwner(`select rolsuper or rolcreatedb or rolcreaterole from pg_roles where oid = ${role}`),
      'f',
    );
    assert.match(
      await asOwner(
        "select string_agg(distinct usename, ',') from pg_stat_activity where application_name = 'writ'",
      ),
      /^writ_app$/,
    );
    const password = await inWrit('cat /run/writ/app/password');
    assert.match(password, /^[0-9a-f]{64}$/);
    const container = (await compose('ps', '--quiet', 'writ')).trim();
    assert.ok(!(await docker('inspect', container)).includes(password));
    assert.equal((await inWrit('ls /run/writ')).trim(), 'app');
  });

  await t.test('refuses that role everything that would rewrite the audit trail or the schema', async () => {
    const statements = [
      "update audit_events set actor_id = 'x'",
      'delete from audit_events',
      'truncate audit_events',
      "update audit_events_default set actor_id = 'x'",
      'delete from audit_events_default',
      'truncate audit_events_default',
      'insert into audit_events_default select * from audit_events',
      'alter table audit_events disable trigger all',
      'drop table heartbeat',
      'delete from agents',
      'truncate agents',
      'create table mine (x int)',
      'create temporary table mine (x int)',
      'create schema mine',
      'delete from schema_migrations',
      'set role writ_owner',
    ];
    const answers = await asServingRole(statements);
    assert.deepEqual(
      answers,
      statements.map(() => '42501'),
    );
    assert.deepEqual(await asServingRole(['select 1 from audit_events limit 1']), ['ok']);
  });

  await t.test('publishes no port of Postgres', async () => {
    const container = (await compose('ps', '--quiet', 'postgres')).trim();
    assert.equal((await docker('port', container)).trim(), '');
  });

  for (const [name, again] of Object.entries({
    'a restart of every container': [['restart']],
    'down and up': [['down'], ['up', '--detach']],
    'killing every container': [['kill'], ['up', '--detach']],
  })) {
    await t.test(`loses nothing by ${name}`, async () => {
      const token = await issue();
      const before = await memory();
      const startedAt = new Date().toISOString();
      for (const args of again) await compose(...args);
      await ready();
      assert.deepEqual(await memory(), before);
      assert.ok(before.tokens.includes(token));
      assert.equal((await call('/v1/agents', adminKey)).status, 200);
      await issue();
      assert.deepEqual(await keysInLog('--since', startedAt), [], 'a later start shows a key');
    });
  }

  await t.test('changes its master key as docs/keys.md says', async () => {
    const shell = (script: string) =>
      run('sh', ['-ec', script.replaceAll('compose exec', 'compose exec -T')], {
        cwd: folder,
        env: { ...env, COMPOSE_PROJECT_NAME: project },
        maxBuffer: 1024 ** 3,
      });
    const masterKeys = async () => {
      const { stdout } = await shell('docker compose exec writ writ kek status --json');
      const { keys } = JSON.parse(stdout) as { keys: readonly { kek_id: string; state: string }[] };
      return keys.map(({ kek_id: id, state }) => [id, state] as const);
    };
    const steps = commandsOf('To change the master key with compose');
    assert.equal(steps.length, 4);
    const [[first = ''] = []] = await masterKeys();
    const [keep = '', tell = '', rotate = '', forget = ''] = steps;
    await shell(keep);
    await shell(tell);
    await ready();
    await shell(rotate);
    const states = new Map(await masterKeys());
    assert.deepEqual([states.size, states.get(first)], [2, 'retired']);
    assert.ok([...states.values()].includes('active'));
    await shell(`sed -i /MASTER_KEY_PREVIOUS_FILE/d .env\n${forget}`);
    await ready();
    assert.match((await inWrit('ls /var/lib/writ')).trim(), /^(?!.*previous)/s);
    assert.equal((await call('/v1/agents', adminKey)).status, 200);
    await issue();
  });
});

/** The blocks of YAML that hang under keys at the outermost indentation of `text`. */
function blocksOf(text: string): Map<string, string> {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.trim().startsWith('#'));
  const indent = /^ */.exec(lines[0] ?? '')?.[0] ?? '';
  const blocks = new Map<string, string>();
  let name = '';
  for (const line of lines) {
    const key = line.startsWith(indent) ? /^(\w[\w-]*):/.exec(line.slice(indent.length))?.[1] : undefined;
    if (key === undefined) blocks.set(name, `${blocks.get(name) ?? ''}${line}\n`);
    else {
      name = key;
      blocks.set(name, '');
    }
  }
  return blocks;
}

/** `false`, or why the stack cannot be run here. */
function whyNoDocker(): string | false {
  if (process.env['WRIT_TEST_DOCKER'] !== '1') return 'WRIT_TEST_DOCKER=1 is not set';
  const answers = (...args: string[]): boolean =>
    spawnSync('docker', args, { stdio: 'ignore', timeout: 60_000 }).status === 0;
  if (!answers('info')) return 'no Docker engine answers';
  return answers('compose', 'version') ? false : 'this Docker has no compose';
}
