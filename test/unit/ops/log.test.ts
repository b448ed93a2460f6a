import { beforeEach, expect, test } from 'vitest';
import { createLog, type LogOptions } from '../../../src/ops/log.js';
import { errorText } from '../../../src/ops/log-lines.js';

let lines: string[];
let nowMs: number;

beforeEach(() => {
  lines = [];
  nowMs = Date.UTC(2026, 0, 1);
});

const log = (options: Partial<LogOptions> = {}): ReturnType<typeof createLog> =>
  createLog({ format: 'text', level: 'info', write: line => lines.push(line), nowMs: () => nowMs, ...options });

test('a line for people has the time, the level and what happened', () => {
  log()({ event: 'listener_state', from: 'listening', to: 'live' });
  expect(lines).toEqual(['2026-01-01T00:00:00.000Z info  listener: listening -> live\n']);
});

test('a line for programs is JSON with all fields, the error as text', () => {
  log({ format: 'json' })({ event: 'connection_failed', error: new Error('refused'), retryMs: 100 });
  expect(JSON.parse(lines[0] ?? '')).toEqual({
    time: '2026-01-01T00:00:00.000Z',
    level: 'warn',
    message: 'cannot listen to Postgres: refused; next try in 100 ms',
    event: 'connection_failed',
    retryMs: 100,
    error: 'refused',
  });
});

test('what happens on every request is for debug only', () => {
  const decision = {
    event: 'decision',
    decision: 'allow',
    reason: 'granted',
    dialect: 'forward',
    durationMs: 0.1,
  } as const;
  log()(decision);
  log()({ event: 'query', query: 'fence' });
  expect(lines).toEqual([]);
  log({ level: 'debug' })(decision);
  expect(lines).toHaveLength(1);
});

test('what repeats under a fault is said once per second; a loss of the connection every time', () => {
  const observe = log();
  for (let i = 0; i < 25; i++) {
    observe({ event: 'fence_failed', cause: 'send_failed', error: new Error('no') });
    observe({ event: 'connection_closed', cause: 'connection_lost', error: null });
    nowMs += 100;
  }
  expect(lines.filter(line => line.includes('fence failed'))).toHaveLength(3);
  expect(lines.filter(line => line.includes('given up'))).toHaveLength(25);
});

test('a sign-in is logged with ids, a refused one with its reason, once per second', () => {
  const observe = log();
  observe({ event: 'sign_in', userId: '7', credentialId: '12' });
  observe({ event: 'sign_out', credentialId: '12' });
  observe({ event: 'provider_failed', problem: 'fetch failed (ECONNREFUSED)', retryMs: 100.4 });
  for (let i = 0; i < 25; i++) {
    observe({ event: 'sign_in_refused', reason: 'bad_flow', detail: null });
    nowMs += 100;
  }
  observe({ event: 'sign_in_refused', reason: 'provider_unavailable', detail: 'operation timed out' });
  expect(lines.map(line => line.slice(25).trimEnd())).toEqual([
    'info  user 7 has signed in: session 12',
    'info  signed out: session 12',
    'warn  the identity provider cannot be used: fetch failed (ECONNREFUSED); next try in 100 ms',
    'info  sign-in refused: bad_flow',
    'info  sign-in refused: bad_flow',
    'info  sign-in refused: bad_flow',
  ]);
  nowMs += 1_000;
  observe({ event: 'sign_in_refused', reason: 'provider_unavailable', detail: 'operation timed out' });
  expect(lines.at(-1)).toContain('warn  sign-in refused: provider_unavailable (operation timed out)');
});

test('levels below the one asked for are left out', () => {
  const observe = log({ level: 'error' });
  observe({ event: 'listener_state', from: 'live', to: 'down' });
  observe({ event: 'watch_changed', topic: 'grant', problem: 'the table was dropped' });
  expect(lines).toHaveLength(1);
  expect(lines[0]).toContain('topic grant is not served from memory: the table was dropped');
});

test('errors of any kind become one line', () => {
  expect(errorText(new AggregateError([new Error('a'), new Error('b')]))).toBe('a; b');
  expect(errorText('text')).toBe('text');
});

test('what an audit has found is an error, and what it does is for debug', () => {
  const observe = log({ format: 'json' });
  observe({ event: 'audit', topic: 'credential', facts: 100, differences: 1 });
  observe({ event: 'audit_stale', topic: 'credential', facts: 1, ageMs: 1234.4 });
  expect(lines.map(line => JSON.parse(line) as unknown)).toEqual([
    {
      time: '2026-01-01T00:00:00.000Z',
      level: 'error',
      message:
        'audit: 1 facts of credential were served and are stale, the oldest for up to 1234 ms; all of them are ' +
        'forgotten: something changes rows without a signal',
      event: 'audit_stale',
      topic: 'credential',
      facts: 1,
      ageMs: 1234.4,
    },
  ]);
});

test.each([
  [
    { event: 'bad_request', dialect: 'nginx', problem: 'header x is missing', peer: '10.0.0.7' },
    /bad request \(nginx\) from 10\.0\.0\.7: header x/,
  ],
  [
    { event: 'untrusted_proxy', dialect: 'forward', peer: '10.0.0.7' },
    /10\.0\.0\.7 .* is not trusted: .*GATEBELL_TRUSTED_PROXIES/,
  ],
  [
    { event: 'request_refused', status: 405, problem: 'CONNECT', peer: '10.0.0.7' },
    /10\.0\.0\.7 was answered 405: CONNECT/,
  ],
  [{ event: 'request_refused', status: 431, problem: 'HPE_HEADER_OVERFLOW', peer: null }, /gone was answered 431/],
] as const)('%o is logged at level info, once per second however often it happens', (observation, says) => {
  const observe = log();
  for (let i = 0; i < 1_000; i++) {
    observe(observation);
  }
  expect(lines).toEqual([expect.stringMatching(says)]);
  expect(lines[0]).toContain(' info ');
  nowMs += 1_000;
  observe(observation);
  expect(lines).toHaveLength(2);
});

test('a fence that ended with its epoch is no warning: the end of the epoch has a line of its own', () => {
  log()({ event: 'fence_failed', cause: 'epoch_ended', error: null });
  expect(lines).toEqual([]);
  log()({ event: 'fence_failed', cause: 'overdue', error: null });
  expect(lines[0]).toContain(' warn ');
});

test('the end of a worker says why, in the words of what ended it', () => {
  const observe = log({ format: 'text' });
  observe({ event: 'worker_ended', worker: 2, reason: 'cannot listen on unix:/run/a: taken', retryMs: 99.6 });
  expect(lines[0]).toContain('worker 2 ended: cannot listen on unix:/run/a: taken; another one is started in 100 ms');
});
