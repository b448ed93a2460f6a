/**
 * A session store in Redis, as oauth2-proxy and Authelia keep it: the session is a JSON text of 1 KiB under the
 * cookie's value. Which hosts there are, and for whom, is configuration that the program has in memory. Lighter than
 * the originals: the session is not encrypted.
 */
import { Redis } from 'ioredis';
import { createPool } from './postgres.js';
import { setting, type Identity, type Question } from './peer.js';

/** What is stored of a session. */
export interface Session {
  readonly user: string;
  readonly name: string;
  readonly email: string;
  readonly groups: readonly string[];
  readonly role: string;
  /** Milliseconds since 1970. */
  lastActivityMs: number;
  /** The identity provider's token: most of a real session's size. */
  readonly accessToken: string;
}

/** Seconds until a session that nobody uses is gone. */
export const SESSION_SECONDS = 3_600;

/** One access rule: the app behind a host, and whom it lets in. */
interface Rule {
  readonly app: string;
  readonly groups: readonly string[];
}

/** Key of a session in Redis. */
export const sessionKey = (token: string): string => `session:${token}`;

/** A connection to the Redis of `REDIS_PORT`. */
export function connectRedis(): Redis {
  return new Redis({ host: '127.0.0.1', port: Number(setting('REDIS_PORT')), enableAutoPipelining: true });
}

/** The access rules, read once. */
export async function readRules(): Promise<ReadonlyMap<string, Rule>> {
  const pool = createPool();
  const { rows } = await pool.query<{ host: string; name: string }>('select host, name from gatebell.apps');
  await pool.end();
  return new Map(rows.map(({ host, name }) => [host, { app: name, groups: ['family'] }]));
}

/** Reads the session; null if there is none. */
export async function readSession(redis: Redis, { token }: Question): Promise<Session | null> {
  const text = await redis.get(sessionKey(token));
  return text === null ? null : (JSON.parse(text) as Session);
}

/** Who asks, if the rules let them in. */
export function admit(
  rules: ReadonlyMap<string, Rule>,
  { host }: Question,
  { user, name, email, groups, role }: Session,
): Identity | null {
  const rule = rules.get(host);
  return rule?.groups.some(group => groups.includes(group)) === true
    ? { user, name, email, groups: groups.join(','), app: rule.app, role }
    : null;
}
