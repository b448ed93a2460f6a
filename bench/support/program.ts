/** Programs that are measured, each a process of its own, built without a loader that would cost it anything. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Command, Reply } from '../peers/commands.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const OUT = path.join(ROOT, '.bench');
/** Of `/proc/<pid>/stat`; 100 per second on every Linux that Node runs on. */
const TICK_MS = 10;

/** A running program. */
export interface Program {
  /** `http://127.0.0.1:…` */
  readonly url: string;
  readonly pid: number;
  /**
   * Gives a command to a program that obeys some, one at a time, and returns its answer.
   * @throws when it could not be done
   */
  command(name: string, argument?: unknown): Promise<unknown>;
  stop(): Promise<void>;
}

const children = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of children) {
    child.kill('SIGKILL');
  }
});

/** Ends the child when this process does, however it does. */
export function endWithUs(child: ChildProcess): void {
  children.add(child);
  child.once('exit', () => children.delete(child));
}

/** Builds programs below `bench/`, named as `peers/floor`; the folder that they are in afterwards is `.bench`. */
export async function buildPrograms(names: readonly string[]): Promise<void> {
  await build({
    entryPoints: names.map(name => path.join(ROOT, 'bench', `${name}.ts`)),
    outbase: path.join(ROOT, 'bench'),
    outdir: OUT,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'silent',
  });
}

/** Where a built program is. */
export const programFile = (name: string): string => path.join(OUT, `${name}.js`);

async function give(child: ChildProcess, exited: Promise<unknown[]>, command: Command): Promise<unknown> {
  const replied = once(child, 'message');
  child.send(command);
  const lost = exited.then(([code]) => {
    throw new Error(`the program ended with exit code ${String(code)} before it had done: ${command.name}`);
  });
  const [{ answer, problem }] = (await Promise.race([replied, lost])) as [Reply];
  if (problem !== null) {
    throw new Error(`${command.name}: ${problem}`);
  }
  return answer;
}

/** Starts a built program and waits until it is ready. */
export async function startProgram(name: string, env: Readonly<Record<string, string>>): Promise<Program> {
  const child = spawn(process.execPath, [programFile(name)], {
    stdio: ['pipe', 'pipe', 'inherit', 'ipc'],
    env: { ...process.env, NODE_ENV: 'production', ...env },
  });
  endWithUs(child);
  const exited = once(child, 'exit');
  const line = await Promise.race([
    once(createInterface({ input: child.stdout! }), 'line').then(([text]) => String(text)),
    exited.then(([code]) => {
      throw new Error(`${name} ended with exit code ${code} before it accepted connections`);
    }),
  ]);
  const { port } = JSON.parse(line) as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid!,
    command: (name, argument = null) => give(child, exited, { name, argument }),
    async stop() {
      child.stdin?.end();
      await exited;
    },
  };
}

/**
 * Milliseconds of processor time that a process has used, in user and in kernel mode, to 10 ms; null where there is no
 * `/proc`.
 */
export function processorMs(pid: number): number | null {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return null;
  }
  // The name in parentheses may hold spaces; utime and stime are the 12th and 13th fields after it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/**
 * Milliseconds that a process with one thread has run, to the nanosecond; null where the kernel does not say. For
 * processes that run too little for {@link processorMs}: a hundred that wake for a moment each come to nothing there.
 */
export function exactProcessorMs(pid: number): number | null {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
  } catch {
    return null;
  }
}

/** Resident memory of a process in bytes; null where there is no `/proc`. */
export function residentBytes(pid: number): number | null {
  try {
    const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return line === null ? null : Number(line[1]) * 1_024;
  } catch {
    return null;
  }
}
