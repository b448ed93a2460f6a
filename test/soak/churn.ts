/**
 * Churn: users, apps, grants and credentials come and go, and everything is asked about, also what never was: random
 * tokens and unknown hosts. Real names and ids come again after a while, or the caches' bounded memory of what exists
 * would still fill hours later; made-up ones never do.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import type pg from 'pg';
import { createToken, hashToken } from '../../src/auth/token.js';
import { forwardHeaders, type Ask, type Replica } from '../support/replica.js';

/** How many names there are, and how many of them exist at a time. */
const NAMES = 300;
const LIVING = 100;

interface Resident {
  readonly id: number;
  readonly name: string;
  readonly host: string;
  readonly token: string;
}

export interface Churn {
  readonly requests: number;
  readonly changes: number;
  /** Goes on until it is paused; each can be done again and again. */
  resume(): void;
  /** Resolves when nothing is under way. */
  pause(): Promise<void>;
  close(): void;
}

async function ask(replica: Replica, agent: Agent, asked: Ask): Promise<void> {
  const request = httpRequest(`${replica.auth}/auth/forward`, { agent, headers: forwardHeaders(asked) });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.resume();
  await once(response, 'end');
}

/** Creates churn that is paused. @param client a connection of its own, of somebody who may write */
export function createChurn(client: pg.Client, replicas: readonly Replica[]): Churn {
  const residents = Array.from({ length: NAMES }, (_, index): Resident => {
    const name = `resident-${index}`;
    return { id: index + 1, name, host: `${name}.test`, token: createToken() };
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 2 });
  let running = new AbortController();
  let loops: Promise<unknown> = Promise.resolve();
  let [requests, changes, next] = [0, 0, 0];
  const random = (below: number): number => Math.floor(Math.random() * below);
  const living = (): Resident => residents[(next - 1 - random(LIVING) + NAMES) % NAMES]!;

  /** One moves in, with an app of the same name, and the one who has been there the longest moves out. */
  const change = async (): Promise<void> => {
    const [comes, goes] = [residents[next % NAMES]!, residents[(next + NAMES - LIVING) % NAMES]!];
    await client.query(
      `with u as (insert into gatebell.users (id, name) values ($1, $2) on conflict (id) do nothing returning id),
            a as (insert into gatebell.apps (id, name, host) values ($1, $2, $3)
              on conflict (id) do nothing returning id),
            c as (insert into gatebell.credentials (user_id, kind, token_hash) select id, 'token', decode($4, 'hex')
              from u)
       insert into gatebell.grants (user_id, app_id) select u.id, a.id from u, a`,
      [comes.id, comes.name, comes.host, hashToken(comes.token)],
    );
    await client.query('delete from gatebell.users where id = $1', [goes.id]);
    await client.query('delete from gatebell.apps where id = $1', [goes.id]);
    next = (next + 1) % NAMES;
    changes += 3;
  };

  const question = (): Ask => {
    const { host, token } = living();
    switch (random(4)) {
      case 0:
        return { host, token: createToken() };
      case 1:
        return { host: `${randomBytes(8).toString('hex')}.test`, token };
      default:
        return { host, token };
    }
  };

  const changeForever = async (stop: AbortSignal): Promise<void> => {
    while (!stop.aborted) {
      await change();
    }
  };
  const askForever = async (replica: Replica, stop: AbortSignal): Promise<void> => {
    while (!stop.aborted) {
      await ask(replica, agent, question());
      requests += 1;
    }
  };

  return {
    get requests() {
      return requests;
    },
    get changes() {
      return changes;
    },
    resume() {
      running = new AbortController();
      const { signal } = running;
      loops = Promise.all([
        changeForever(signal),
        ...[...replicas, ...replicas].map(replica => askForever(replica, signal)),
      ]);
      loops.catch(() => undefined);
    },
    async pause() {
      running.abort();
      await loops;
    },
    close() {
      agent.destroy();
    },
  };
}
