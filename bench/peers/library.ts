/**
 * Gatebell as a library, in a server of one's own. It takes the time when the caches have forgotten a grant, and counts
 * who sees a grant afterwards. It listens, and answers, when it is told to, so that it takes nothing from others while
 * they are measured.
 */
import { BlockList } from 'node:net';
import { createFactReader, type FactTypes } from '../../src/auth/facts.js';
import { createAuthHandler, type AuthHandler } from '../../src/auth/handler.js';
import type { Facts, Reader } from '../../src/coherence/facts/reader.js';
import { createPostgresCoherence, type PostgresCoherence } from '../../src/postgres/coherence.js';
import { hostNowMs } from '../support/host-clock.js';
import { createTimeRecord, obey, type Times } from './commands.js';
import { serve, setting } from './peer.js';

/** What a process has seen since it was asked last. */
export interface Seen {
  /** When each grant was forgotten, by the number of its user. */
  readonly times: Times;
  /** How often a decision asked for a grant that had been forgotten before, and got an answer. */
  readonly looksAfter: number;
  /** How often it got the old grant. */
  readonly staleAfter: number;
}

const forgotten = createTimeRecord();
const names = new Set<string>();
let looksAfter = 0;
let staleAfter = 0;
let coherence: PostgresCoherence | null = null;
let answer: AuthHandler | null = null;

/** The facts, and a note of what is seen of a grant that was forgotten: nobody grants it again. */
function watched(facts: Facts<FactTypes>): Facts<FactTypes> {
  return {
    get serverTimeMs() {
      return facts.serverTimeMs;
    },
    hasCome: timeMs => facts.hasCome(timeMs),
    get(topic, key) {
      const value = facts.get(topic, key);
      if (topic === 'grant' && value !== undefined && names.has(key[0]!)) {
        looksAfter++;
        staleAfter += value === null ? 0 : 1;
      }
      return value;
    },
  };
}

async function listen(): Promise<void> {
  let becomeLive = (): void => undefined;
  const live = new Promise<void>(resolve => {
    becomeLive = resolve;
  });
  coherence = createPostgresCoherence({
    connectionString: setting('DATABASE_URL'),
    observe: observation => {
      if (observation.event === 'listener_state' && observation.to === 'live') {
        becomeLive();
      }
    },
  });
  const reader = createFactReader(coherence, () => undefined);
  const watchedReader: Reader<FactTypes> = { read: question => reader.read(facts => question(watched(facts))) };
  const trustedProxies = new BlockList();
  trustedProxies.addAddress('127.0.0.1');
  answer = createAuthHandler({
    reader: watchedReader,
    cookieName: 'gatebell',
    loginUrl: null,
    trustedProxies,
    observe: () => undefined,
  });
  // Called when the caches have forgotten.
  coherence.on('grant', ({ keys }) => {
    const atMs = hostNowMs();
    if (keys?.length === 1) {
      forgotten.note(keys[0]![0]!, atMs);
      names.add(keys[0]![0]!);
    }
  });
  coherence.start();
  await live;
}

async function rest(): Promise<void> {
  answer = null;
  await coherence?.stop();
  coherence = null;
}

function collect(): Seen {
  const seen = { times: forgotten.take(), looksAfter, staleAfter };
  looksAfter = 0;
  staleAfter = 0;
  return seen;
}

obey({ listen, rest, collect });
serve((request, response) => {
  if (answer === null) {
    response.writeHead(503, { 'Content-Length': 0 }).end();
  } else {
    answer(request, response);
  }
});
