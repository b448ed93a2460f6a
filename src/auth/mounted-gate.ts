/**
 * The gate as programs mount it in a server of their own: on a gatebell, with options that have defaults and are
 * checked. Facts are cached once for each gatebell, however many handlers and readers stand on it.
 */
import { BlockList, isIP } from 'node:net';
import type { Reader } from '../coherence/facts/reader.js';
import { coherenceOf, type Gatebell } from '../postgres/gatebell.js';
import { createFactReader as createReader, type BadRow, type FactTypes } from './facts.js';
import { createAuthHandler as createHandler, type AuthHandler, type AuthObservation } from './handler.js';

/** Options of `createAuthHandler`. */
export interface AuthHandlerOptions {
  /**
   * Who may ask: addresses and ranges of your proxies, such as `10.0.0.0/8` and `::1`; or a `BlockList` of `node:net`
   * with them. If your server listens on a Unix socket, nobody is trusted there: a peer has no address.
   */
  readonly trustedProxies: readonly string[] | BlockList;
  /** What the proxies show in `X-Gatebell-Secret`. Default null: nothing. */
  readonly proxySecret?: string | null;
  /** Name of the cookie that carries a session. Default `gatebell`. */
  readonly cookieName?: string;
  /** Where browsers are sent to sign in; the address to return to goes along in `rd`. Default null: they get 401. */
  readonly loginUrl?: string | null;
  /** What an unknown host is answered with, where the proxy can tell it. Default 403. */
  readonly unknownAppStatus?: 403 | 404;
  /**
   * Whether a 200 carries `Cookie` and `Authorization` without the credential, for the proxy to pass on. Default false.
   */
  readonly stripCredentials?: boolean;
  /** Requests that may wait for facts at once; those beyond are answered 503 at once. Default 10,000. */
  readonly waitingMax?: number;
  /** Receives every decision and what goes wrong. Must not throw. Default: nobody does. */
  readonly observe?: (observation: AuthObservation) => void;
  /** Receives rows that cannot be used; their apps are denied. Must not throw. Default: nobody does. */
  readonly onBadRow?: (row: BadRow) => void;
}

const COOKIE = 'gatebell';
const PREFIX_MAX = { 4: 32, 6: 128 } as const;

function trust(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [, address = '', prefix] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(range) ?? [];
    const version = isIP(address);
    if ((version !== 4 && version !== 6) || Number(prefix ?? 0) > PREFIX_MAX[version]) {
      throw new TypeError(`trustedProxies ${JSON.stringify(range)} is not allowed: it must be an address or a range`);
    }
    list.addSubnet(address, Number(prefix ?? PREFIX_MAX[version]), version === 4 ? 'ipv4' : 'ipv6');
  }
  return list;
}

interface SharedFacts {
  readonly reader: Reader<FactTypes>;
  readonly listeners: Set<(row: BadRow) => void>;
}

const shared = new WeakMap<Gatebell, SharedFacts>();

/**
 * The facts of the gate, for questions of your own: users, apps, routes and grants by their keys. A question is a pure,
 * synchronous function that names what it lacks, until it lacks nothing. It is answered at once when memory has all
 * facts, else as a promise.
 *
 * @param onBadRow receives rows that cannot be used. Must not throw
 * @throws TypeError if the gatebell is not one
 * @example
 * const reader = createFactReader(gatebell);
 * const name = await reader.read(facts => {
 *   const user = facts.get('user', ['7']);
 *   return user === undefined ? { lacks: [{ topic: 'user', key: ['7'] }] } : { answer: user?.name, strong: false };
 * });
 */
export function createFactReader(gatebell: Gatebell, onBadRow?: (row: BadRow) => void): Reader<FactTypes> {
  let facts = shared.get(gatebell);
  if (facts === undefined) {
    const listeners = new Set<(row: BadRow) => void>();
    const reader = createReader(coherenceOf(gatebell), row => {
      for (const listener of listeners) {
        listener(row);
      }
    });
    facts = { reader, listeners };
    shared.set(gatebell, facts);
  }
  if (onBadRow !== undefined) {
    facts.listeners.add(onBadRow);
  }
  return facts.reader;
}

/**
 * The auth endpoints for any server that calls `(request, response)`: `/auth/forward` (and `/internal/auth`),
 * `/auth/nginx`, `/auth/envoy/*`, `/auth/haproxy`. All other paths go to `next`, or are answered 404 without one. It
 * never throws.
 *
 * @throws TypeError if the gatebell is not one, or `trustedProxies` is malformed
 * @example
 * const gatebell = createGatebell({ connectionString: process.env.DATABASE_URL });
 * createServer(createAuthHandler(gatebell, { trustedProxies: ['127.0.0.1'] })).listen(4280);
 */
export function createAuthHandler(gatebell: Gatebell, options: AuthHandlerOptions): AuthHandler {
  const { trustedProxies, onBadRow, ...others } = options;
  return createHandler({
    cookieName: COOKIE,
    loginUrl: null,
    observe: () => undefined,
    ...others,
    reader: createFactReader(gatebell, onBadRow),
    trustedProxies: trustedProxies instanceof BlockList ? trustedProxies : trust(trustedProxies),
  });
}
