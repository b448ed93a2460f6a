/** Whether LISTEN works on this connection: a fence is sent, and waited for. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createHeardFences } from '../../coherence/proof/heard-fences.js';
import type { FenceReceipt } from '../../coherence/proof/fence.js';
import { parseMessage } from '../../coherence/signal.js';
import { createSubscriptionOpener } from '../../postgres/listen.js';
import { errorText } from '../../ops/log-lines.js';
import type { Database } from '../../postgres/pool.js';
import { sqlState } from '../../postgres/sql-errors.js';
import type { CommandContext } from '../context.js';
import type { Check } from './check.js';

const ECHO_MS = 2_000;
/** Protocol violation: what PgBouncer answers to start-up options. */
const STARTUP_REFUSED = '08P01';

const POOLER =
  'this looks like a connection pooler: keep DATABASE_URL, and set GATEBELL_LISTEN_URL to a direct connection';

/** An error of connecting, with the hint that it may be a pooler's. */
export const connectionProblem = (error: unknown): string =>
  `${errorText(error)}${sqlState(error) === STARTUP_REFUSED ? `; ${POOLER}` : ''}`;

/** LISTENs, sends a fence from the pool, and waits for it. */
export async function hearFence(context: CommandContext, database: Database): Promise<Check> {
  const name = 'LISTEN delivers what others send';
  const heard = createHeardFences();
  const abort = new AbortController();
  const variable = context.config.listenUrl === null ? 'DATABASE_URL' : 'GATEBELL_LISTEN_URL';
  let receipt: FenceReceipt | null = null;
  let arrive: (isHeard: boolean) => void = () => undefined;
  const arrived = new Promise<boolean>(resolve => {
    arrive = resolve;
  });
  const look = (): void => {
    if (receipt !== null && heard.hasHeard(receipt.bound, receipt.serverId)) {
      arrive(true);
    }
  };
  try {
    const subscription = await createSubscriptionOpener(database.listenConfig)(
      context.config.channel,
      {
        onMessage: payload => {
          const message = parseMessage(payload);
          if (message.type === 'fence') {
            heard.hear(message);
            look();
          }
        },
        onLost: () => undefined,
      },
      abort.signal,
    );
    try {
      receipt = await database.askFence('always', subscription.backend, false);
      heard.learn(receipt);
      look();
      if (receipt.listener === 'absent') {
        return { name, ok: false, detail: `the pool reads from another server than ${variable} leads to` };
      }
      if (await Promise.race([arrived, sleep(ECHO_MS, false, { signal: abort.signal })])) {
        return { name, ok: true, detail: `a fence came back through ${variable}` };
      }
      return {
        name,
        ok: false,
        detail:
          receipt.channel === context.config.channel
            ? 'LISTEN was accepted, but a fence sent from another connection ' +
              `did not arrive within ${ECHO_MS} ms; ${POOLER}`
            : `the triggers signal on channel '${receipt.channel}', GATEBELL_CHANNEL is ` +
              `'${context.config.channel}': set it, or run "gatebell migrate up" with the one that you want`,
      };
    } finally {
      subscription.close();
    }
  } catch (error) {
    return { name, ok: false, detail: connectionProblem(error) };
  } finally {
    abort.abort();
  }
}
