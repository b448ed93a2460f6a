/** The gate of this suite: the real handler on a real server over facts in memory, started for one file. */
import { afterAll, beforeAll } from 'vitest';
import { startAuthServer, type Answer, type AuthServer, type Pairs } from '../support/auth-server.js';
import { createMemoryReader, createWorld, TOKEN, type MemoryFacts } from '../support/memory-facts.js';
import { askAs, type ProxyDialect, type Subrequest, type Target } from '../support/dialects.js';

export const LOGIN_URL = 'https://login.example.com/start';
export const BEARER: Pairs = [['Authorization', `Bearer ${TOKEN}`]];
export const COOKIE: Pairs = [['Cookie', `theme=dark; gatebell=${TOKEN}`]];
export const BROWSER: Pairs = [['Accept', 'text/html,application/xhtml+xml']];

export interface Gate {
  readonly port: number;
  /** Asks as a proxy would. */
  readonly ask: (
    dialect: ProxyDialect,
    target: Partial<Target>,
    client?: Pairs,
    change?: (subrequest: Subrequest) => Subrequest,
  ) => Promise<Answer>;
}

/** Node's own refusal of what is not HTTP: without a reason of the gate's, and the connection ends. */
const NOT_HTTP: Answer = { status: 400, headers: {}, body: '' };

/** Starts a gate before the tests of a file. */
export function useGate(
  options: Partial<Parameters<typeof startAuthServer>[0]> = {},
  facts: () => MemoryFacts = createWorld,
): Gate {
  let server: AuthServer;
  beforeAll(async () => {
    server = await startAuthServer({ reader: createMemoryReader(facts()), loginUrl: LOGIN_URL, ...options });
  });
  afterAll(() => server.stop());
  return {
    get port() {
      return server.port;
    },
    ask: async (dialect, target, client, change) => (await askAs(server, dialect, target, client, change)) ?? NOT_HTTP,
  };
}

const IDENTITY = ['remote-user', 'remote-name', 'remote-email', 'remote-groups', 'x-gatebell-role'] as const;

/** The identity in an answer; empty if there is none. */
export function identityOf(answer: Answer): readonly string[] {
  return IDENTITY.map(name => answer.headers[name] ?? '').filter(value => value !== '');
}

/** In short: the status, and why. */
export function verdictOf({ status, headers }: Answer): string {
  return `${status} ${headers['x-gatebell-reason'] ?? 'not HTTP'}`;
}
