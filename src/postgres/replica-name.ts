/** The name of a replica, and the names of its connections in Postgres. */
import { hostname } from 'node:os';
import { MARK_LENGTH } from '../coherence/proof/server.js';

const PREFIX = 'gatebell/';
const POOL_SUFFIX = '/pool';

/** A LIKE pattern of the application names of all replicas. */
export const LISTENER_NAMES: string = `${PREFIX}%`;

/** 1 to 48 printable ASCII characters without a space, and not the name of somebody's pool. */
export function isReplicaName(text: string): boolean {
  return /^[\x21-\x7e]{1,48}$/.test(text) && !text.endsWith(POOL_SUFFIX);
}

/** Host name and process id. */
export function defaultReplica(): string {
  const host = hostname().replace(/[^\x21-\x7e]/g, '-');
  return `${host.slice(0, 40)}-${process.pid}`.slice(0, 48);
}

/**
 * What a replica's connections are called: the listening one with its mark behind it, those of its pool with `/pool`.
 */
export function applicationNameOf(replica: string): string {
  return PREFIX + replica;
}

/** Whose connection has this name. */
export function replicaOf(applicationName: string): { readonly replica: string; readonly isPool: boolean } {
  const name = applicationName.slice(PREFIX.length);
  if (name.endsWith(POOL_SUFFIX)) {
    return { replica: name.slice(0, -POOL_SUFFIX.length), isPool: true };
  }
  return { replica: name.at(-MARK_LENGTH) === '#' ? name.slice(0, -MARK_LENGTH) : name, isPool: false };
}
