/**
 * How long the gate works on one request: the real handler on the real server, in this process, over connections that
 * are no sockets.
 */
import { Duplex } from 'node:stream';
import { createAuthHandler } from '../../../src/auth/handler.js';
import { createJwtVerifier } from '../../../src/auth/jwt/verifier.js';
import { parseJwtKey } from '../../../src/auth/jwt/key.js';
import { systemClock, systemRandom } from '../../../src/time/clock.js';
import { createHttpServer } from '../../../src/http/server.js';
import { loopback } from '../../support/auth-server.js';
import { createSigningKey } from '../../support/jwt-issuer.js';
import { createMemoryReader } from '../../support/memory-facts.js';
import { createFuzzWorld, LOGIN_URL, USER_TOKENS } from '../fuzz/fuzzed-apps.js';
import { JWT_ISSUER, questionBytes, type Genome } from './genome.js';

/** Measures requests. */
export interface Meter {
  /** Milliseconds of the quickest of several runs, so that other work on the machine does not count. */
  measure(genome: Genome, runs: number): Promise<number>;
  /** What the gate said last. */
  readonly status: number;
}

/** A connection whose other end is this program. */
class Connection extends Duplex {
  readonly remoteAddress = '127.0.0.1';
  readonly remoteFamily = 'IPv4';
  onAnswer: ((status: number) => void) | null = null;
  /** Whether what comes after the last answer would not be read. */
  isLast = false;
  setTimeout(): this {
    return this;
  }
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
  override _read(): void {}
  override _write(chunk: Buffer | string, _: BufferEncoding, done: () => void): void {
    // Heads are written with their bodies, which are short.
    this.onAnswer?.(Number(String(chunk).slice(9, 12)));
    done();
  }
}

/** Creates a meter over a gate of its own. */
export function createMeter(): Meter {
  const facts = createFuzzWorld();
  const reader = createMemoryReader(facts);
  const jwt = createJwtVerifier({
    issuer: JWT_ISSUER,
    audiences: ['gatebell.test'],
    keys: { source: 'key', key: parseJwtKey(createSigningKey('HS256').text)! },
    claim: 'sub',
    leewayMs: 0,
    clock: systemClock,
    random: systemRandom,
    observe: () => undefined,
  });
  const handler = createAuthHandler({
    reader,
    cookieName: 'gatebell',
    jwt,
    loginUrl: LOGIN_URL,
    trustedProxies: loopback(),
    stripCredentials: true,
    observe: () => undefined,
  });
  const server = createHttpServer((request, response) => {
    // What the facts note of themselves would grow for ever.
    facts.asked.length = 0;
    handler(request, response);
  });
  let number = 0;
  let status = 0;

  const connect = (): Connection => {
    const connection = new Connection();
    // Refused by Node's parser, it is closed.
    connection.on('error', () => undefined);
    server.emit('connection', connection);
    return connection;
  };
  const send = (connection: Connection, bytes: Buffer): Promise<number> =>
    new Promise(resolve => {
      const startMs = performance.now();
      const end = (answered: number): void => {
        connection.onAnswer = null;
        connection.off('close', closed);
        status = answered;
        resolve(performance.now() - startMs);
      };
      const closed = (): void => end(0);
      connection.onAnswer = end;
      connection.once('close', closed);
      connection.push(bytes);
    });
  const next = (genome: Genome): Buffer => questionBytes(genome, USER_TOKENS[0]!, (number += 1));

  let own = connect();
  return {
    get status() {
      return status;
    },
    async measure(genome, runs) {
      let best = Infinity;
      for (let run = 0; run < runs; run += 1) {
        own = own.destroyed || !own.writable || own.isLast ? connect() : own;
        const tookMs = await send(own, next(genome));
        own.isLast = status === 0 || status === 400 || status === 431;
        // What Node itself refuses never comes to the gate.
        best = Math.min(best, tookMs);
      }
      return best;
    },
  };
}
