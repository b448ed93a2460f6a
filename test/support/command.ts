/** Runs the built command, or a shell, to its end. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { CLI } from './replica.js';

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program without input. */
export async function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

/** Runs `gatebell` with these words, on this database or on none. */
export function gatebell(words: readonly string[], databaseUrl = '', env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  return run(process.execPath, [CLI, ...words], { DATABASE_URL: databaseUrl, ...env });
}
