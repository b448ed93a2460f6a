/** A client that sends what no ordinary one sends, while another one goes about its business. */
import { Agent } from 'node:http';
import { expect } from 'vitest';
import { HEADER_SIZES, oddRequests, sendOdd } from '../../support/odd-requests.js';
import { bearer, bytesOf, call, exchangeBytes, statusesOf } from '../../support/proxy-client.js';
import type { Behaviour } from './behaviours.js';
import type { Stage } from './stage.js';

const HOST = 'photos.test';
/** Connections that the odd client uses at once. */
const ODD_CLIENTS = 4;
/** What a proxy says when a replica has failed. (501 and 505 are its own words about a method or a version.) */
const FAILURES = [500, 502, 503, 504];

/** Statuses of the ordinary client's requests, by who asks, until `work` is done. */
async function ordinaryWhile({ world, port }: Stage, work: Promise<void>): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  const agent = new Agent({ keepAlive: true });
  const progress = { isOver: false };
  const over = work.finally(() => {
    progress.isOver = true;
  });
  try {
    while (!progress.isOver) {
      for (const [who, headers] of [['alice', bearer(world.alice)] as const, ['nobody', []] as const]) {
        const { status } = await call(port, { path: '/album', headers, agent });
        counts[`${who} ${status}`] = (counts[`${who} ${status}`] ?? 0) + 1;
      }
    }
    await over;
  } finally {
    agent.destroy();
  }
  return counts;
}

/** Sends all of them on a few connections at once. */
async function sendAll<T>(all: readonly T[], send: (one: T) => Promise<void>): Promise<void> {
  const left = [...all];
  await Promise.all(
    Array.from({ length: ODD_CLIENTS }, async () => {
      for (let one = left.shift(); one !== undefined; one = left.shift()) {
        await send(one);
      }
    }),
  );
}

const decisionsOf = async ({ replicas }: Stage): Promise<number[]> =>
  Promise.all(
    replicas.map(async replica => {
      const { body } = await replica.get('/metrics');
      return [...body.matchAll(/^gatebell_decisions_total\{.*\} (\d+)$/gm)].reduce((sum, [, n]) => sum + Number(n), 0);
    }),
  );

async function expectAllReplicasAsked(stage: Stage): Promise<void> {
  const before = await decisionsOf(stage);
  for (let i = 0; i < 12; i++) {
    await stage.call({ path: '/album' });
  }
  const after = await decisionsOf(stage);
  expect(after.map((count, index) => count > before[index]!)).toEqual(after.map(() => true));
}

export const ODD_CLIENTS_BEHAVIOURS: readonly Behaviour[] = [
  {
    title: 'a client sends hundreds of malformed and odd requests: another one notices nothing; which are answered 5xx',
    async run(stage) {
      const odd = ['/_gatebell/login', '/album'].flatMap(target =>
        oddRequests({ target, host: HOST }).map(one => ({ ...one, name: `${target}: ${one.name}` })),
      );
      const failures: string[] = [];
      const work = sendAll(odd, async one => {
        const { text } = await sendOdd(stage.port, one);
        const failed = statusesOf(text).filter(status => FAILURES.includes(status));
        if (failed.length > 0) {
          failures.push(`${one.name}: ${failed.join()}`);
        }
      });
      const counts = await ordinaryWhile(stage, work);
      expect(Object.keys(counts).toSorted()).toEqual(['alice 200', 'nobody 401']);
      await expectAllReplicasAsked(stage);
      // A proxy that hands on a body while it comes learns too late that it is malformed or incomplete, and says what
      // it says of a replica that failed.
      expect(failures.filter(failure => !/Transfer-Encoding: chunked|ends early/.test(failure))).toEqual([]);
      return failures.length === 0 ? 'none' : 'malformed bodies';
    },
  },
  {
    title: 'header sections of 4 kB to 1 MB: passed on, or 400 or 431, complete; a section of 16 kB passes',
    async run(stage) {
      const seen: string[] = [];
      const send = async (size: number): Promise<void> => {
        const lines = Array.from(
          { length: Math.ceil(size / 4_096) },
          (_, index) => [`X-Part-${index}`, 'x'.repeat(4_060)] as const,
        );
        const headers = [['Host', HOST] as const, ...bearer(stage.world.alice), ...lines];
        const text = await exchangeBytes(stage.port, bytesOf('GET /album HTTP/1.1', headers));
        seen.push(`${size <= 16_384 ? 'small' : size > 262_144 ? 'huge' : 'large'} ${statusesOf(text).join()}`);
      };
      const counts = await ordinaryWhile(stage, sendAll(HEADER_SIZES, send));
      expect(Object.keys(counts).toSorted()).toEqual(['alice 200', 'nobody 401']);
      // Far beyond its buffer, HAProxy may reset the connection behind its own 400: the gate has seen nothing of such a
      // request.
      const allowed = ['huge ', 'small 200', 'large 200', 'large 400', 'large 431', 'huge 400', 'huge 431'];
      expect(seen.filter(one => !allowed.includes(one))).toEqual([]);
      await expectAllReplicasAsked(stage);
    },
  },
];
