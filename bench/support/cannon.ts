/** A program: the load of autocannon where wrk is missing. It is told the load as JSON, and prints one line of JSON. */
import { readFileSync } from 'node:fs';
import autocannon from 'autocannon';
import type { Load, Report } from './load.js';

const TIMEOUT_SECONDS = 2;

const { url, connections, seconds, headers, rotation } = JSON.parse(readFileSync(0, 'utf8')) as Load;
const values = rotation?.values ?? [];
let next = rotation?.first ?? 0;
/** Headers of the next request. */
function draw(): Record<string, string> {
  if (rotation === undefined) {
    return headers;
  }
  const place = rotation.order === 'random' ? Math.floor(Math.random() * values.length) : next++ % values.length;
  return { ...headers, [rotation.header]: values[place]! };
}

const timesMs: number[] = [];
const result = await autocannon({
  url,
  connections,
  duration: seconds,
  timeout: TIMEOUT_SECONDS,
  setupClient: client => {
    client.setHeaders(draw());
    client.on('response', (_status, _bytes, timeMs) => {
      timesMs.push(timeMs);
      if (rotation !== undefined) {
        client.setHeaders(draw());
      }
    });
  },
});
timesMs.sort((a, b) => a - b);
const percentileUs = (share: number): number =>
  Math.round((timesMs[Math.min(timesMs.length - 1, Math.floor(timesMs.length * share))] ?? 0) * 1_000);
const report: Report = {
  requests: timesMs.length,
  durationUs: Math.round(result.duration * 1e6),
  p50Us: percentileUs(0.5),
  p99Us: percentileUs(0.99),
  p999Us: percentileUs(0.999),
  refused: result['4xx'] + result['5xx'],
  failed: result.errors,
};
console.log(JSON.stringify(report));
