/** Several processes told as one. */
import { expect, test } from 'vitest';
import { joinStatus, type GateStatus } from '../../../src/ops/status.js';

const CACHE = { topic: 'user', entries: 2, negativeEntries: 1, hits: 10, negativeHits: 3, misses: 4, unproven: 5 };
const AUDIT = { topic: 'user', facts: 7, stale: 0, staleAgeMs: 0 };
const LIVE: GateStatus = {
  canDecide: true,
  state: 'live',
  problem: null,
  watchProblems: {},
  serverId: '1764359000123456/16384/16500.742',
  stalenessBoundMs: 300,
  pool: { size: 2, max: 2 },
  caches: [CACHE],
  audits: [AUDIT],
};

test('nobody is down, and serves nothing', () => {
  expect(joinStatus([])).toEqual({
    canDecide: false,
    state: 'down',
    problem: 'no worker is up',
    watchProblems: {},
    serverId: null,
    stalenessBoundMs: null,
    pool: { size: 0, max: 0 },
    caches: [],
    audits: [],
  });
});

test('one process is reported as it is', () => {
  expect(joinStatus([LIVE])).toEqual(LIVE);
});

test('of several processes, the worst state, the greatest staleness and the sums of counts are reported', () => {
  const other: GateStatus = {
    ...LIVE,
    stalenessBoundMs: 900,
    watchProblems: { grant: 'the table was dropped' },
    audits: [{ ...AUDIT, stale: 1, staleAgeMs: 50 }],
  };
  expect(joinStatus([LIVE, other])).toEqual({
    canDecide: true,
    state: 'live',
    problem: null,
    watchProblems: { grant: 'the table was dropped' },
    serverId: LIVE.serverId,
    stalenessBoundMs: 900,
    pool: { size: 4, max: 4 },
    caches: [{ topic: 'user', entries: 4, negativeEntries: 2, hits: 20, negativeHits: 6, misses: 8, unproven: 10 }],
    audits: [{ topic: 'user', facts: 14, stale: 1, staleAgeMs: 50 }],
  });
  const unproven: GateStatus = { ...LIVE, state: 'unproven', problem: 'late', stalenessBoundMs: null };
  expect(joinStatus([LIVE, unproven])).toMatchObject({ state: 'unproven', problem: 'late', stalenessBoundMs: null });
  expect(joinStatus([LIVE, { ...LIVE, canDecide: false }]).canDecide).toBe(false);
});

test('a server id is reported if all have the same', () => {
  expect(joinStatus([LIVE, { ...LIVE, serverId: null }]).serverId).toBeNull();
  expect(joinStatus([LIVE, { ...LIVE, serverId: 'another' }]).serverId).toBeNull();
});
