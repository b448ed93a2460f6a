/** Lets browsers open apps at once, from a process of their own; see `burst.ts`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import type { Burst, BurstResult } from './burst.js';
import { endWithUs, programFile } from './program.js';

/**
 * Waits for the last answer. The program `support/burst` must have been built.
 * @throws when an answer did not come, or refused
 */
export async function openApps(burst: Burst): Promise<BurstResult> {
  const child = spawn(process.execPath, [programFile('support/burst')], { stdio: ['pipe', 'pipe', 'inherit'] });
  endWithUs(child);
  const exited = once(child, 'exit');
  child.stdin.end(JSON.stringify(burst));
  const output = await text(child.stdout);
  const [code] = (await exited) as [number | null];
  if (code !== 0) {
    throw new Error(`the browsers ended with exit code ${code}`);
  }
  const result = JSON.parse(output) as BurstResult;
  if (result.refused > 0) {
    throw new Error(`${result.refused} of ${result.answers} answers were refused, as with ${result.refusal}`);
  }
  return result;
}
