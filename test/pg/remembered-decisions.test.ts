/**
 * Two gates on one Postgres, one of which remembers no decision: whatever SQL changes and whoever asks, both give the
 * same answers, byte for byte.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createClientRateLimiter } from '../../src/auth/client-rate-limiter.js';
import { createFactReader } from '../../src/auth/facts.js';
import type { AuthOptions } from '../../src/auth/handler.js';
import { createJwtVerifier, type JwtVerifier } from '../../src/auth/jwt/verifier.js';
import { openBarrier, type Barrier } from '../../src/postgres/barrier.js';
import { systemRandom } from '../../src/time/clock.js';
import { createDice } from '../sim/dice.js';
import {
  createConnection,
  exchange,
  readAnswer,
  startAuthServer,
  type Answer,
  type AuthServer,
} from '../support/auth-server.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { subrequestBytes } from '../support/dialects.js';
import { addCredential } from '../support/gate-rows.js';
import { createInsideCoherence, type InsideCoherence } from '../support/inside.js';
import { AUDIENCE, ISSUER } from '../support/jwt-issuer.js';
import { createSimulatedClock, type SimulatedClock } from '../support/simulated-clock.js';
import { createRequests, KEYS, ROTATE, sqlChange, type Choose, type Request, type Tokens } from './any-change.js';

/** Changes, one after the other. */
const STEPS = 120;
/** Requests that are asked again and again; with each change one of them is another. */
const REQUESTS = 60;
const ASKED_PER_STEP = 25;
const REFRESH_MS = 60_000;

/** A coherence of its own, and two servers on it: one that strips credentials, and one that does not. */
interface Gate {
  readonly inside: InsideCoherence;
  readonly servers: readonly AuthServer[];
  readonly connections: readonly ReturnType<typeof createConnection>[];
  readonly clock: SimulatedClock;
  readonly jwt: JwtVerifier;
  /** Questions that were asked of facts. */
  questions: number;
}

let published: readonly (typeof KEYS)[number][] = KEYS;

let database: TestDatabase;
let barrier: Barrier;
let gates: readonly Gate[];
let tokens: Tokens;

async function startGate(replica: string, remembers: boolean): Promise<Gate> {
  const inside = createInsideCoherence({ connectionString: database.url, auditIntervalMs: 0, replica });
  const facts = createFactReader(inside.coherence, () => undefined);
  const clock = createSimulatedClock();
  const jwt = createJwtVerifier({
    issuer: ISSUER,
    audiences: [AUDIENCE],
    keys: {
      source: 'jwks',
      algorithms: ['ES256'],
      refreshMs: REFRESH_MS,
      fetchText: () => Promise.resolve(JSON.stringify({ keys: published.map(({ jwk }) => jwk) })),
    },
    claim: 'sub',
    leewayMs: 0,
    clock,
    random: systemRandom,
    observe: () => undefined,
  });
  jwt.start();
  const gate: Gate = { inside, servers: [], connections: [], clock, jwt, questions: 0 };
  const reader: AuthOptions['reader'] = {
    read(question, keep) {
      gate.questions += 1;
      return facts.read(question, remembers ? keep : undefined);
    },
  };
  const options: Pick<AuthOptions, 'reader'> & Partial<AuthOptions> = {
    reader,
    jwt,
    loginUrl: 'https://login.test/',
    limiter: createClientRateLimiter({ burst: 1_000_000 }),
    unknownAppStatus: 404,
  };
  const servers = await Promise.all(
    [false, true].map(stripCredentials => startAuthServer({ ...options, stripCredentials })),
  );
  Object.assign(gate, { servers, connections: servers.map(({ port }) => createConnection(port)) });
  inside.coherence.start();
  await becomeLive(inside);
  return gate;
}

/** Resolves when facts are served from memory. */
async function becomeLive(inside: InsideCoherence): Promise<void> {
  while (inside.coherence.state !== 'live') {
    await inside.seen('listener_state');
  }
}

beforeAll(async () => {
  database = await createTestDatabase();
  barrier = await openBarrier({ connectionString: database.url });
  await database.sql(`
    insert into gatebell.users (name, email, groups) values
      ('alice', 'alice@example.test', '{family,staff}'), ('bob', 'bob@example.test', '{}'), ('carol', null, '{}');
    insert into gatebell.apps (name, host) values ('photos', 'photos.test'), ('any', '*.any.test'), ('all', '*.test')`);
  tokens = {
    alice: await addCredential(database, 'alice'),
    bob: await addCredential(database, 'bob'),
    carol: await addCredential(database, 'carol', 'session'),
  };
  gates = [await startGate('remembers', true), await startGate('forgets', false)];
});

afterAll(async () => {
  for (const { inside, servers, connections, jwt } of gates) {
    connections.forEach(connection => connection.close());
    await Promise.all(servers.map(server => server.stop()));
    jwt.stop();
    await inside.coherence.stop();
  }
  await barrier.close();
  await database.drop();
});

async function ask(gate: Gate, { target, dialect, client, connection, server }: Request): Promise<Answer> {
  const subrequest = dialect.subrequest(target, client);
  const bytes = subrequestBytes(subrequest, connection === 'close' ? 'close' : 'keep-alive');
  const answer =
    connection === 'close'
      ? readAnswer(await exchange(gate.servers[server]!.port, bytes), subrequest.method === 'HEAD')!.answer
      : await gate.connections[server]!.send(
          connection === 'kept' ? bytes : bytes.replace(/^(\S+ \S+) HTTP\/1.1/, '$1 HTTP/1.0'),
        );
  const { date, ...headers } = answer!.headers;
  expect(Math.abs(Date.parse(date!) - Date.now())).toBeLessThan(5_000);
  return { ...answer!, headers };
}

/** Both answers; asked again if they differ, for between the two a moment may have come. */
async function askBoth(request: Request): Promise<readonly Answer[]> {
  const both = async (): Promise<readonly Answer[]> => [await ask(gates[0]!, request), await ask(gates[1]!, request)];
  const [one, other] = await both();
  return JSON.stringify(one) === JSON.stringify(other) ? [one!, other!] : both();
}

/** Changes something, and waits until both gates have applied it. */
async function change(text: string, choose: Choose): Promise<void> {
  const isLive = text.includes('pg_terminate_backend')
    ? gates.map(({ inside }) => inside.seen('listener_state').then(() => becomeLive(inside)))
    : [];
  if (text === ROTATE) {
    published = choose([KEYS, [KEYS[0]], [KEYS[1]]]);
    for (const { clock } of gates) {
      await clock.advance(REFRESH_MS);
    }
  } else {
    await database.sql(text);
  }
  await Promise.all(isLive);
  await barrier.pass();
}

test('both give the same answers', async () => {
  const choose = createDice('remembered decisions').pick;
  const next = createRequests(choose, tokens);
  const requests = Array.from({ length: REQUESTS }, next);
  const reasons = new Set<string | undefined>();
  const before = gates.map(({ questions }) => questions);
  for (let step = 0; step < STEPS; step += 1) {
    const text = sqlChange(choose);
    await change(text, choose);
    requests[choose([...requests.keys()])] = next();
    for (let times = 0; times < ASKED_PER_STEP; times += 1) {
      const request = choose(requests);
      const [one, other] = await askBoth(request);
      expect(one, JSON.stringify({ step, text, request })).toEqual(other);
      reasons.add(one!.headers['x-gatebell-reason']);
    }
  }
  expect([...reasons]).toEqual(expect.arrayContaining(['public', 'authenticated', 'granted', 'no_grant']));
  const [asked, askedWithoutMemory] = gates.map(({ questions }, at) => questions - before[at]!);
  expect(asked!, 'else nothing was remembered').toBeLessThan(askedWithoutMemory! * 0.8);
});
