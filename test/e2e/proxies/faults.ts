/** Replicas that stop, are killed, or are not there. */
import { Agent } from 'node:http';
import { expect } from 'vitest';
import { bearer, call, type Reply } from '../../support/proxy-client.js';
import type { Behaviour } from './behaviours.js';
import { gateOf, type Stage } from './stage.js';

const CLIENTS = 6;
const AFTER_REQUESTS = 40;
/** Nothing listens on the port of tcpmux. */
const NOBODY = { auth: '127.0.0.1:1', ops: '127.0.0.1:1' };

interface Load {
  readonly allowed: ReadonlySet<number>;
  readonly denied: ReadonlySet<number>;
}

/** Clients that may and that may not pass, in turn, on open connections, until some time after `fault`. */
async function loadThrough({ world }: Stage, port: number, fault: () => Promise<unknown>): Promise<Load> {
  const allowed = new Set<number>();
  const denied = new Set<number>();
  const people = [bearer(world.alice), bearer(world.bob), []];
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  let over = false;
  let warm = 0;
  let start: () => void = () => undefined;
  const warmedUp = new Promise<void>(resolve => {
    start = resolve;
  });
  try {
    const clients = Array.from({ length: CLIENTS }, async (_, client) => {
      for (let after = 0; after < AFTER_REQUESTS; after += Number(over)) {
        const person = (client + warm++) % people.length;
        if (warm === CLIENTS * 10) {
          start();
        }
        const { status } = await call(port, { path: '/album', headers: people[person]!, agent });
        (person === 0 ? allowed : denied).add(status);
      }
    });
    await warmedUp;
    await fault();
    over = true;
    await Promise.all(clients);
  } finally {
    agent.destroy();
  }
  return { allowed, denied };
}

/** Every request that reached the app was alice's. */
function expectNobodyElse({ app }: Stage, since: number): void {
  const users = new Set(app.received.slice(since).map(({ headers }) => headers['remote-user']?.join()));
  expect([...users]).toEqual(['alice']);
}

export const FAULTS: readonly Behaviour[] = [
  {
    title: 'a replica that stops in order loses no request; whether that is certain',
    async run(stage) {
      const { proxy, replicas, app, replica, front } = stage;
      const leaving = await replica('leaving');
      const { port } = await front({ gates: [leaving, replicas[0]!].map(gateOf) });
      const since = app.received.length;
      const { allowed, denied } = await loadThrough(stage, port, () => leaving.stop());
      const cut = proxy.retriesCuts ? [] : proxy.unanswered;
      expect([200, ...cut]).toEqual(expect.arrayContaining([...allowed]));
      expect([401, 403, ...cut]).toEqual(expect.arrayContaining([...denied]));
      expectNobodyElse(stage, since);
      return proxy.retriesCuts ? undefined : 'but where a connection is cut just then';
    },
  },
  {
    title: 'a replica killed under load: the proxy goes on with the other, and nobody passes who should not',
    async run(stage) {
      const { proxy, replicas, app, replica, front } = stage;
      const doomed = await replica('doomed');
      const { port } = await front({ gates: [doomed, replicas[0]!].map(gateOf) });
      const since = app.received.length;
      const { allowed, denied } = await loadThrough(stage, port, () => {
        doomed.child.kill('SIGKILL');
        return doomed.exited;
      });
      expect(allowed).toContain(200);
      expect([200, ...proxy.unanswered]).toEqual(expect.arrayContaining([...allowed]));
      expect([401, 403, ...proxy.unanswered]).toEqual(expect.arrayContaining([...denied]));
      expectNobodyElse(stage, since);
      // The other one has it all now.
      const later: Reply[] = [];
      for (let i = 0; i < 10; i++) {
        later.push(await call(port, { path: '/album', headers: bearer(stage.world.alice) }));
      }
      expect(later.map(({ status }) => status)).toEqual(later.map(() => 200));
    },
  },
  {
    title: 'no replica: nothing reaches the app, not even what is public; what the client gets',
    async run({ proxy, world, app, front }) {
      const { port } = await front({ gates: [NOBODY] });
      const before = app.received.length;
      const statuses = new Set<number>();
      for (const asked of [{ path: '/share/x' }, { headers: bearer(world.alice) }, { method: 'POST', body: 'x' }]) {
        statuses.add((await call(port, asked)).status);
      }
      expect(app.received).toHaveLength(before);
      expect(proxy.unanswered).toEqual(expect.arrayContaining([...statuses]));
      return proxy.unanswered.join(' or ');
    },
  },
];
