/** `gatebell dev`: the commands that it prints are pasted into a shell, as they are. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { run } from '../support/command.js';
import { CLI } from '../support/replica.js';

let child: ChildProcess | null = null;

afterEach(async () => {
  if (child !== null && child.exitCode === null && child.signalCode === null) {
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  }
});

/** Starts it on free ports and returns what it printed up to the end of its guide. */
async function startDev(replicas: number, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const started = spawn(process.execPath, [CLI, 'dev', '--port', '0', '--replicas', String(replicas)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
  child = started;
  let printed = '';
  started.stdout.setEncoding('utf8');
  return new Promise((resolve, reject) => {
    started.stdout.on('data', (text: string) => {
      printed += text;
      if (printed.includes('--help\n')) {
        resolve(printed);
      }
    });
    started.on('exit', code => {
      reject(new Error(`it ended with exit code ${code}: ${printed}`));
    });
  });
}

/** The line that says so, without numbers. */
const saysUp = (text: string): string | undefined =>
  /^Gatebell is up.*$/m.exec(text)?.[0].replaceAll(/\d+(?:\.\d+)*/g, 'N');
const indented = (printed: string): string[] =>
  printed
    .split('\n')
    .flatMap(line => (/^ {2}(?:(?:curl|node|psql|export) |DATABASE_URL=)/.test(line) ? [line.trim()] : []));
const shell = async (command: string): Promise<string> => {
  const { code, stdout, stderr } = await run('sh', ['-c', command]);
  expect(`${code} ${stderr}`).toBe('0 ');
  return stdout;
};

test('allow, revoke in SQL, denied on every replica: pasted as printed', async () => {
  const printed = await startDev(3);
  expect(saysUp(printed)).toMatch(/^Gatebell is up: N replicas on a real Postgres/);
  expect(saysUp(readFileSync(new URL('../../README.md', import.meta.url), 'utf8'))).toBe(saysUp(printed));
  const [allow, revoke, ...rest] = indented(printed);
  const denied = rest.slice(0, 3);
  const [connection, giveBack, help] = rest.slice(3);

  expect(await shell(allow!)).toMatch(/200 OK[^]*Remote-User: alice/);
  for (const ask of denied) {
    expect(await shell(ask)).toBe('200 granted\n');
  }
  await shell(revoke!);
  // Each command starts a process: far longer than a notification takes.
  for (const ask of denied) {
    expect(await shell(ask)).toBe('403 no_grant\n');
  }
  await shell(`${connection!}\n${giveBack!}`);
  expect(await shell(denied[2]!)).toBe('200 granted\n');
  expect(await shell(help!)).toContain('Usage: gatebell');
  expect(await shell(`${connection!}\nnode ${CLI} doctor`)).toContain('All is well.');
});

test('on a machine without curl and psql, it prints what Node can do', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'gatebell-path-'));
  await symlink(process.execPath, path.join(folder, 'node'));
  await symlink((await shell('command -v id')).trim(), path.join(folder, 'id'));
  const printed = await startDev(1, { PATH: folder });
  await rm(folder, { recursive: true });
  const commands = indented(printed);
  expect(commands[0]).toMatch(/^node -e 'fetch/);
  expect(await shell(commands[0]!)).toMatch(/^200 Headers/);
  expect(commands[1]).toMatch(/^DATABASE_URL=.* node .*cli\.js sql /);
  expect(await shell(commands[1]!)).toContain('DELETE 1');
  expect(await shell(commands[2]!)).toBe('403 no_grant\n');
});

test('the reader of the output may leave early; it still cleans up', async () => {
  const printed = await startDev(1);
  const directory = await dataDirectory(printed);
  const running = child!;
  const ended = once(running, 'exit');
  running.stdout?.destroy();
  running.kill('SIGTERM');
  expect(await ended).toEqual([0, null]);
  expect(existsSync(directory)).toBe(false);
});

test('killed, it leaves no replica, no Postgres and no folder behind', async () => {
  const printed = await startDev(2);
  const directory = await dataDirectory(printed);
  const replicas = [...printed.matchAll(/auth (http:\S+)/g)].map(([, url]) => url!);
  expect(replicas).toHaveLength(2);
  child?.kill('SIGKILL');
  for (const url of replicas) {
    while (
      await fetch(url).then(
        () => true,
        () => false,
      )
    ) {
      // Asked until nobody is there.
    }
  }
  while (existsSync(directory)) {
    await new Promise(resolve => {
      setImmediate(resolve);
    });
  }
});

test('SIGINT stops everything and leaves nothing behind', async () => {
  const printed = await startDev(1);
  const directory = await dataDirectory(printed);
  const running = child!;
  const ended = once(running, 'exit');
  expect(existsSync(directory)).toBe(true);
  running.kill('SIGINT');
  expect(await ended).toEqual([0, null]);
  expect(existsSync(directory)).toBe(false);
});

/** Where the Postgres of a running `dev` keeps its data. */
async function dataDirectory(printed: string): Promise<string> {
  const url = /postgres:\/\/\S+/.exec(printed)?.[0] ?? '';
  const { stdout } = await run(process.execPath, [CLI, 'sql', '--json', 'show data_directory'], {
    DATABASE_URL: url,
  });
  const [result] = JSON.parse(stdout) as [{ rows: [{ data_directory: string }] }];
  return result.rows[0].data_directory;
}
