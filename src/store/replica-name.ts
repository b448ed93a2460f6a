/** What a replica is called, and by which name Postgres shows its connections. */
import { hostname } from 'node:os';

/** Host name and process id: at most 48 printable ASCII characters. */
export function defaultReplica(): string {
  const host = hostname().replace(/[^\x21-\x7e]/g, '-');
  return `${host.slice(0, 40)}-${process.pid}`.slice(0, 48);
}

/** What a replica's connections are called: the listening one so, the others with `/pool` behind it. */
export function applicationNameOf(replica: string): string {
  return `gatebell/${replica}`;
}
