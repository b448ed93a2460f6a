/** The worker's side of `lives.ts`: lives one life after the other. */
import { parentPort } from 'node:worker_threads';
import type { Order } from './lives.js';
import { outsideOfPromises } from './simulated-promises.js';
import { simulate, type Outcome } from './simulated-world.js';

// Nobody reads the stacks of errors that are part of the story, and writing them down takes a quarter of the time.
Error.stackTraceLimit = 0;

let unhandled: unknown;
process.on('unhandledRejection', error => {
  unhandled ??= error;
});

/** A rejection that nobody handles would have ended the process. It is reported only when the life is over. */
async function live({ profile, seed, options }: Order): Promise<Outcome> {
  const outcome = await outsideOfPromises(() => simulate(profile, seed, options));
  await outsideOfPromises(() => undefined);
  const problem = `a promise was rejected and nobody took notice: ${String(unhandled)}`;
  const violation = unhandled === undefined ? outcome.violation : { kind: 'G6' as const, problem, atMs: Infinity };
  unhandled = undefined;
  return { ...outcome, violation };
}

parentPort!.on('message', (order: Order) => {
  void live(order).then(outcome => {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker has no origin
    parentPort!.postMessage(outcome);
  });
});
