/**
 * Many replicas in one process that each prove themselves with fences of their own, as one does without sharing: each
 * listens, sends a message of its own to the channel that all hear once in an interval, and waits for it.
 */
import pg from 'pg';
import { runMembers, type Counter, type Member } from './members.js';
import { ready, setting } from './peer.js';

/** As Gatebell's, by default. */
const LEASE_MS = 3_000;
const FENCE_INTERVAL_MS = 1_000;
const CHANNEL = 'fence_each';

let started = 0;

async function startMember(counter: Counter): Promise<Member> {
  const name = `${process.pid}-${++started}`;
  const client = new pg.Client({ connectionString: setting('DATABASE_URL') });
  client.on('error', () => undefined);
  await client.connect();
  await client.query(`listen ${CHANNEL}`);

  let provenMs = -Infinity;
  let number = 0;
  let sentMs = 0;
  let timer: NodeJS.Timeout | null = null;
  let sending: Promise<unknown> = Promise.resolve();
  const echoed = new Promise<void>(resolve => {
    client.on('notification', ({ payload }) => {
      counter.delivery();
      if (payload === `${name}/${number}`) {
        provenMs = sentMs;
        resolve();
      }
    });
  });
  const send = async (): Promise<void> => {
    number++;
    sentMs = performance.now();
    counter.question();
    await client.query('select pg_notify($1, $2)', [CHANNEL, `${name}/${number}`]);
    timer = setTimeout(go, Math.max(0, sentMs + FENCE_INTERVAL_MS - performance.now()));
  };
  const go = (): void => {
    sending = send();
  };

  go();
  await echoed;
  return {
    get boundMs() {
      const boundMs = performance.now() - provenMs;
      return boundMs <= LEASE_MS ? boundMs : null;
    },
    async stop() {
      await sending;
      clearTimeout(timer ?? undefined);
      await client.end();
    },
  };
}

runMembers(startMember);
ready(0);
