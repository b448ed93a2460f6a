/**
 * A program: load over ports and over Unix sockets alike, which wrk cannot do. It writes the same bytes again and again
 * and looks for the end of each answer, so that it costs less than what it measures. It is told the load as JSON, and
 * prints one line of JSON.
 */
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import type { PlainLoad, Report } from './load.js';

const { server, path, connections, seconds, headers } = JSON.parse(readFileSync(0, 'utf8')) as PlainLoad;
const UNIX = 'unix:';
/** Answers of the gate have no body. */
const END = '\r\n\r\n';
const STATUS_AT = 'HTTP/1.1 '.length;

const lines = Object.entries({ Host: 'gate', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
const bytes = Buffer.from(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1');
const timesMs: number[] = [];
let refused = 0;
let failed = 0;

function open(): Socket {
  if (server.startsWith(UNIX)) {
    return connect(server.slice(UNIX.length));
  }
  const { hostname, port } = new URL(server);
  return connect(Number(port), hostname).setNoDelay();
}

const startedMs = performance.now();
const endMs = startedMs + seconds * 1_000;

function ask(): Promise<void> {
  return new Promise(resolve => {
    const socket = open();
    let text = '';
    let sentMs = 0;
    const send = (): void => {
      sentMs = performance.now();
      socket.write(bytes);
    };
    socket.on('connect', send);
    socket.setEncoding('latin1').on('data', (part: string) => {
      text += part;
      if (!text.endsWith(END)) {
        return;
      }
      const now = performance.now();
      timesMs.push(now - sentMs);
      refused += text[STATUS_AT] === '2' ? 0 : 1;
      text = '';
      if (now < endMs) {
        send();
      } else {
        socket.end();
      }
    });
    socket.on('error', () => {
      failed += 1;
    });
    socket.on('close', () => {
      resolve();
    });
  });
}

await Promise.all(Array.from({ length: connections }, ask));
const durationUs = Math.round((performance.now() - startedMs) * 1_000);
timesMs.sort((a, b) => a - b);
const percentileUs = (share: number): number =>
  Math.round((timesMs[Math.min(timesMs.length - 1, Math.floor(timesMs.length * share))] ?? 0) * 1_000);
const report: Report = {
  requests: timesMs.length,
  durationUs,
  p50Us: percentileUs(0.5),
  p99Us: percentileUs(0.99),
  p999Us: percentileUs(0.999),
  refused,
  failed,
};
console.log(JSON.stringify(report));
