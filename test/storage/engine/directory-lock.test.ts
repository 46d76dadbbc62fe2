/** One process per data folder: whoever loses both says so and touches nothing. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs, { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { acquireDirectoryLock, FolderHeldError } from '../../../src/storage/engine/directory-lock.ts';
import { TAKEOVER_ROUNDS } from '../../support/effort.ts';
import { startNode } from '../../support/processes.ts';
import { CLI } from '../../support/programs.ts';

const LOCK_MODULE = new URL('../../../src/storage/engine/directory-lock.js', import.meta.url).href;
/** A process id above what Linux gives out. */
const NOBODY = 2 ** 30;

async function aFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'writ-test-lock-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

const lockIn = (folder: string): string => join(folder, 'writ.lock');

/** Takes the lock, says so and keeps it until it is killed. */
const HOLD = `
  const { acquireDirectoryLock } = await import(${JSON.stringify(LOCK_MODULE)});
  acquireDirectoryLock(process.argv[1]);
  console.log('held');
  setInterval(() => {}, 1000);
`;

async function heldByAnotherProcess(t: TestContext, folder: string) {
  const holder = await startNode(t, ['--input-type=module', '-e', HOLD, folder], {});
  if (!holder.stdout().includes('held')) await once(holder.child.stdout ?? holder.child, 'data');
  assert.equal(holder.stdout().trim(), 'held', holder.stderr());
  return holder;
}

test('a second opener is refused and named the holder, and the lock stays', async (t) => {
  const folder = await aFolder(t);
  const holder = await heldByAnotherProcess(t, folder);
  const before = await readFile(lockIn(folder), 'utf8');
  assert.throws(
    () => acquireDirectoryLock(folder),
    (error) => {
      assert.ok(error instanceof FolderHeldError);
      assert.match(error.message, new RegExp(`\\b${holder.child.pid}\\b`));
      return true;
    },
  );
  assert.equal(await readFile(lockIn(folder), 'utf8'), before);
  assert.deepEqual(await readdir(folder), ['writ.lock']);
});

test('the same process is refused a second time', async (t) => {
  const folder = await aFolder(t);
  const lock = acquireDirectoryLock(folder);
  assert.throws(() => acquireDirectoryLock(folder), FolderHeldError);
  lock.release();
  acquireDirectoryLock(folder).release();
  assert.deepEqual(await readdir(folder), []);
});

test('the lock of a killed process is taken over', async (t) => {
  const folder = await aFolder(t);
  const holder = await heldByAnotherProcess(t, folder);
  await holder.kill();
  assert.ok(existsSync(lockIn(folder)));
  const lock = acquireDirectoryLock(folder);
  assert.equal(JSON.parse(await readFile(lockIn(folder), 'utf8')).pid, process.pid);
  lock.release();
});

test('a process id that belongs to a later process does not hold the folder', {
  skip: existsSync('/proc/self/stat') ? false : 'the platform does not tell when a process started',
}, async (t) => {
  const folder = await aFolder(t);
  await writeFile(lockIn(folder), JSON.stringify({ pid: process.ppid, startedAt: '1' }));
  acquireDirectoryLock(folder).release();
});

for (const [what, content] of Object.entries({
  'an empty lock': '',
  'a lock cut short': '{"pid":12',
  'a lock that is no object': '7',
  'a lock of nobody': JSON.stringify({ pid: NOBODY, startedAt: '1' }),
})) {
  test(`${what} is taken over`, async (t) => {
    const folder = await aFolder(t);
    await writeFile(lockIn(folder), content);
    const lock = acquireDirectoryLock(folder);
    assert.equal(JSON.parse(await readFile(lockIn(folder), 'utf8')).pid, process.pid);
    lock.release();
  });
}

test('a marker left by a process that died while it took over does not close the folder for ever', async (t) => {
  const folder = await aFolder(t);
  const dead = JSON.stringify({ pid: NOBODY, startedAt: '1' });
  await writeFile(lockIn(folder), dead);
  await writeFile(`${lockIn(folder)}.takeover-${NOBODY}.1`, dead);
  acquireDirectoryLock(folder).release();
  assert.deepEqual(await readdir(folder), []);
});

test('releasing does not remove the lock of whoever came after', async (t) => {
  const folder = await aFolder(t);
  const lock = acquireDirectoryLock(folder);
  const other = JSON.stringify({ pid: process.ppid, startedAt: null });
  await writeFile(lockIn(folder), other);
  lock.release();
  assert.equal(await readFile(lockIn(folder), 'utf8'), other);
});

test('a contender that finds the lock gone does not delete the one that another takes meanwhile', async (t) => {
  const folder = await aFolder(t);
  await writeFile(lockIn(folder), JSON.stringify({ pid: NOBODY, startedAt: '1' }));
  const winner = JSON.stringify({ pid: process.ppid, startedAt: null });
  // The steps of the quick contender, put between those of the slow one: it removes the stale lock after the slow
  // one has failed to link, and takes the folder before the slow one removes what it believes to be stale.
  const { readFileSync, rmSync, writeFileSync } = fs;
  let reads = 0;
  let winnerHolds = false;
  t.mock.method(fs, 'readFileSync', (...args: Parameters<typeof readFileSync>) => {
    if (args[0] === lockIn(folder) && reads++ === 0) rmSync(lockIn(folder));
    return readFileSync(...args);
  });
  t.mock.method(fs, 'rmSync', (...args: Parameters<typeof rmSync>) => {
    if (args[0] === lockIn(folder) && !existsSync(lockIn(folder))) {
      writeFileSync(lockIn(folder), winner);
      winnerHolds = true;
    }
    rmSync(...args);
  });
  syncBuiltinESMExports();
  let slowHolds = true;
  try {
    acquireDirectoryLock(folder);
  } catch (error) {
    assert.ok(error instanceof FolderHeldError);
    slowHolds = false;
  } finally {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  }
  assert.ok(!(winnerHolds && slowHolds), 'both contenders hold the folder');
});

/** Reads one folder per line; says whether it got it, and holds what it got. */
const CONTEND = `
  const { createInterface } = await import('node:readline');
  const { acquireDirectoryLock } = await import(${JSON.stringify(LOCK_MODULE)});
  console.log('ready');
  for await (const line of createInterface({ input: process.stdin })) {
    try { acquireDirectoryLock(line); console.log('held'); }
    catch (error) { console.log(error.name === 'FolderHeldError' ? 'refused' : 'failed ' + error.message); }
  }
`;

test('of several processes that find a stale lock exactly one takes it, round after round', async (t) => {
  const CONTENDERS = 6;
  const parent = await aFolder(t);
  const { spawn } = await import('node:child_process');
  const contenders = await Promise.all(
    Array.from({ length: CONTENDERS }, async () => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', CONTEND], {
        stdio: ['pipe', 'pipe', 'inherit'],
        cwd: parent,
      });
      const ended = once(child, 'exit');
      t.after(async () => {
        child.kill('SIGKILL');
        await ended;
      });
      const { createInterface } = await import('node:readline');
      const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      assert.equal((await answers.next()).value, 'ready');
      return { ask: (line: string) => child.stdin.write(`${line}\n`), answers };
    }),
  );
  for (let round = 0; round < TAKEOVER_ROUNDS; round += 1) {
    const folder = await mkdtemp(join(parent, 'round-'));
    const dead = JSON.stringify({ pid: NOBODY, startedAt: '1' });
    await writeFile(lockIn(folder), dead);
    // Every third round somebody died in the middle of a take-over as well.
    if (round % 3 === 0) await writeFile(`${lockIn(folder)}.takeover-${NOBODY}.1`, dead);
    for (const contender of contenders) contender.ask(folder);
    const said = await Promise.all(contenders.map(async ({ answers }) => (await answers.next()).value));
    const held = said.filter((answer) => answer === 'held').length;
    assert.equal(held, 1, `round ${round}: ${said.join(', ')}`);
    assert.ok(
      said.every((answer) => answer === 'held' || answer === 'refused'),
      said.join(', '),
    );
  }
});

test('a command on a folder in use exits 2 and says who holds it', async (t) => {
  const folder = await aFolder(t);
  const holder = await heldByAnotherProcess(t, folder);
  const command = await startNode(t, [CLI, 'migrate'], { DATA_DIR: folder });
  assert.equal(await command.ended, 2);
  assert.match(command.stderr(), new RegExp(`in use by process ${holder.child.pid}\\b`));
  assert.equal(command.stdout(), '');
});
