/**
 * The readers: on every replica a few that ask one question after the other, as a proxy does, over kept-alive
 * connections, and note when each was sent and answered. One that waits for long asks the next question beside: a
 * replica that wakes up finds questions of all ages.
 */
import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { forwardHeaders } from '../support/replica.js';
import type { Answer } from './answer.js';
import { HOST, PEOPLE, ROUTES, type Person, type Route } from './people.js';

/** A replica, wherever it is now; null while there is none. */
export interface Asked {
  readonly name: string;
  readonly authUrl: string | null;
  /** Whether several processes answer. */
  readonly hasWorkers: boolean;
}

export interface Readers {
  /** Questions that got no answer: the replica was gone, or broke off. */
  readonly unanswered: number;
  /** Hands out what was answered since the last call. */
  take(): Answer[];
  stop(): Promise<void>;
}

const PAUSE_MS = 6;
/** Between two questions to a replica that is not there. */
const GONE_MS = 50;
const IMPATIENT_MS = 300;
const ANSWER_MS = 20_000;
const OUTSTANDING_MAX = 10;
/** What the readers of one replica ask for. */
const READERS: readonly (readonly Route[])[] = [['granted', 'granted', 'authenticated'], ['granted'], ['strong']];

/** Asks once. Rejects when no answer comes. */
export async function ask(
  { name, authUrl, hasWorkers }: Asked,
  { name: person, token }: Person,
  route: Route,
  agent: Agent,
): Promise<Answer> {
  if (authUrl === null) {
    throw new Error(`${name} is not there`);
  }
  const request = httpRequest(`${authUrl}/auth/forward`, {
    agent,
    headers: forwardHeaders({ host: HOST, uri: ROUTES[route], token }),
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  const sentMs = performance.now();
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const answeredMs = performance.now();
  response.resume();
  const { statusCode = 0, headers } = response;
  const text = (header: string): string => String(headers[header] ?? '');
  return {
    replica: name,
    process: hasWorkers ? `${name}:${response.socket.localPort}` : name,
    person,
    route,
    sentMs,
    answeredMs,
    status: statusCode,
    reason: text('x-gatebell-reason'),
    user: text('remote-user'),
    app: text('x-gatebell-app'),
    role: text('x-gatebell-role'),
    email: text('remote-email'),
  };
}

/** Starts asking. */
export function startReaders(replicas: readonly Asked[]): Readers {
  const stopped = new AbortController();
  let answers: Answer[] = [];
  let unanswered = 0;
  const agents: Agent[] = [];

  const read = async (replica: Asked, routes: readonly Route[]): Promise<void> => {
    const agent = new Agent({ keepAlive: true });
    agents.push(agent);
    let outstanding = 0;
    while (!stopped.signal.aborted) {
      const person = PEOPLE[Math.floor(Math.random() * PEOPLE.length)]!;
      const route = routes[Math.floor(Math.random() * routes.length)]!;
      outstanding += 1;
      const asked = ask(replica, person, route, agent)
        .then(
          answer => {
            answers.push(answer);
            return PAUSE_MS;
          },
          () => {
            unanswered += 1;
            return GONE_MS;
          },
        )
        .finally(() => {
          outstanding -= 1;
        });
      const pauseMs = await Promise.race([asked, sleep(IMPATIENT_MS).then(() => 0)]);
      await (outstanding < OUTSTANDING_MAX ? sleep(pauseMs) : asked);
    }
  };
  const loops = Promise.all(replicas.flatMap(replica => READERS.map(routes => read(replica, routes))));

  return {
    get unanswered() {
      return unanswered;
    },
    take() {
      const taken = answers;
      answers = [];
      return taken;
    },
    async stop() {
      stopped.abort();
      for (const agent of agents) {
        agent.destroy();
      }
      await loops;
    },
  };
}
