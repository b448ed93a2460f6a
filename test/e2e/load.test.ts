/** Both load generators of the benchmarks, on a server that counts. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { putLoad, type LoadGenerator } from '../../bench/support/load.js';

let server: Server;
let url: string;
let asked: number;
let seen: Map<string, number>;

beforeEach(async () => {
  asked = 0;
  seen = new Map();
  server = createServer((request, response) => {
    asked++;
    const name = String(request.headers['x-name']);
    seen.set(name, (seen.get(name) ?? 0) + 1);
    response.writeHead(request.headers['x-kind'] === 'good' && name !== 'c' ? 200 : 403, { 'Content-Length': 0 }).end();
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});

afterEach(
  () =>
    new Promise<void>(resolve => {
      server.close(() => resolve());
      server.closeAllConnections();
    }),
);

const GENERATORS: readonly LoadGenerator[] = ['wrk', 'autocannon'];

test.each(GENERATORS)('%s reports what it did', async generator => {
  const result = await putLoad(
    { url, connections: 4, seconds: 1, headers: { 'X-Kind': 'good', 'X-Name': 'a' } },
    generator,
  );
  expect(result.requests).toBeGreaterThan(0);
  // What was under way at the end is not counted.
  expect(asked - result.requests).toBeLessThanOrEqual(4);
  expect(result).toMatchObject({ refused: 0, failed: 0 });
  expect(result.p50Ms).toBeGreaterThan(0);
  expect(result.p99Ms).toBeGreaterThanOrEqual(result.p50Ms);
  expect(result.p999Ms).toBeGreaterThanOrEqual(result.p99Ms);
  expect([...seen.keys()]).toEqual(['a']);
});

test.each(GENERATORS)('%s draws a header each time, and counts refusals', async generator => {
  const rotation = { header: 'X-Name', values: ['a', 'b', 'c'], order: 'sequential' } as const;
  const result = await putLoad({ url, connections: 1, seconds: 1, headers: { 'X-Kind': 'good' }, rotation }, generator);
  const counts = ['a', 'b', 'c'].map(name => seen.get(name) ?? 0);
  expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
  expect(Math.abs(result.refused - counts[2]!)).toBeLessThanOrEqual(1);
  const random = await putLoad(
    { url, connections: 2, seconds: 1, headers: { 'X-Kind': 'good' }, rotation: { ...rotation, order: 'random' } },
    generator,
  );
  expect(random.refused).toBeGreaterThan(0);
  expect(random.refused).toBeLessThan(random.requests);
});
