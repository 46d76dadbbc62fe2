/** Guarantees that the migrations make the schema that the code has. Works on a copy; the working tree stays as it is. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';

const run = promisify(execFile);
const SCHEMA = 'src/storage/schema.ts';

test('drizzle-kit finds nothing to add to the migrations', async (t) => {
  const copy = await copyOfRepository(t);
  const before = await migrationsIn(copy);
  await generate(copy);
  assert.deepEqual(await migrationsIn(copy), before);
});

test('a column without a migration would be found', async (t) => {
  const copy = await copyOfRepository(t);
  const before = await migrationsIn(copy);
  const schema = await readFile(join(copy, SCHEMA), 'utf8');
  const planted = schema.replace("email: text('email'),", "email: text('email'), planted: text('planted'),");
  assert.notEqual(planted, schema);
  await writeFile(join(copy, SCHEMA), planted);
  await generate(copy);
  const added = (await migrationsIn(copy)).filter(([name]) => !before.some(([known]) => known === name));
  assert.match(added.map(([, text]) => text).join('\n'), /ADD COLUMN "planted" text/);
});

async function copyOfRepository(t: TestContext): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), 'writ-schema-'));
  t.after(() => rm(copy, { recursive: true, force: true }));
  for (const path of ['src', 'migrations', 'drizzle.config.ts', 'package.json', 'tsconfig.json']) {
    await cp(path, join(copy, path), { recursive: true });
  }
  await symlink(resolve('node_modules'), join(copy, 'node_modules'));
  return copy;
}

/** Without a terminal, so that a question which only a person can answer fails instead of waiting. */
async function generate(copy: string): Promise<void> {
  const program = join(copy, 'node_modules/drizzle-kit/bin.cjs');
  const running = run(process.execPath, [program, 'generate'], { cwd: copy, timeout: 600_000 });
  running.child.stdin?.end();
  await running;
}

async function migrationsIn(copy: string): Promise<[name: string, text: string][]> {
  const names = await readdir(join(copy, 'migrations'), { recursive: true });
  const files = names.filter((name) => /\.(sql|json)$/.test(name)).sort();
  assert.ok(files.length >= 3);
  return Promise.all(
    files.map(
      async (name): Promise<[string, string]> => [
        name,
        await readFile(join(copy, 'migrations', name), 'utf8'),
      ],
    ),
  );
}
