/**
 * The gate under fire, a process of its own: the real handler on the real server, over facts in memory. Tells its port,
 * then its heap when asked.
 */
import { createAuthHandler } from '../../../src/auth/handler.js';
import { createHttpServer, listen } from '../../../src/http/server.js';
import { loopback } from '../../support/auth-server.js';
import { createMemoryReader } from '../../support/memory-facts.js';
import { createFuzzWorld, LOGIN_URL } from './fuzzed-apps.js';

/** What the process says. */
export type TargetMessage =
  | { readonly type: 'listening'; readonly url: string }
  /** Asked after a collection of garbage, with no connection left. */
  | {
      readonly type: 'measure';
      readonly heapBytes: number;
      readonly requests: number;
      readonly failures: readonly string[];
    };

/**
 * Short, so that half-sent requests end while somebody waits for it; not so short that a busy client is one that is
 * slow.
 */
const SENDING = { headersMs: 5_000, requestMs: 8_000, checkMs: 500 };

const failures: string[] = [];
let requests = 0;
const facts = createFuzzWorld();
const handler = createAuthHandler({
  reader: createMemoryReader(facts),
  cookieName: 'gatebell',
  loginUrl: LOGIN_URL,
  trustedProxies: loopback(),
  stripCredentials: true,
  observe: observation => {
    if (observation.event === 'decision_failed') {
      failures.push(String(observation.error));
    }
  },
});
const server = createHttpServer(
  (request, response) => {
    requests += 1;
    // What the facts note of themselves would grow for ever.
    facts.asked.length = 0;
    handler(request, response);
  },
  { limits: SENDING },
);

const say = (message: TargetMessage): void => void process.send?.(message);
const connectionsOf = (): Promise<number> =>
  new Promise((resolve, reject) =>
    server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))),
  );

let isAsked = false;
async function measure(): Promise<void> {
  if (!isAsked || (await connectionsOf()) > 0) {
    return;
  }
  isAsked = false;
  globalThis.gc?.();
  say({ type: 'measure', heapBytes: process.memoryUsage().heapUsed, requests, failures });
}
server.on('connection', socket => socket.on('close', () => setImmediate(() => void measure())));
process.on('message', () => {
  isAsked = true;
  void measure();
});
process.on('disconnect', () => process.exit());

say({ type: 'listening', url: await listen(server, '127.0.0.1', 0) });
