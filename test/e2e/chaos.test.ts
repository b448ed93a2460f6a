/** Every nemesis, briefly, on PostgreSQL 15. `npm run chaos` does the same on the embedded one. */
import { afterAll, expect, test } from 'vitest';
import { runChaos, type Result } from '../chaos/chaos.js';
import { LEASE_MS, type Nemesis } from '../chaos/nemesis.js';
import { NEMESES } from '../chaos/nemeses/index.js';
import { POSTGRES_15 } from '../support/global-postgres-15.js';

const stop = new AbortController();
const options = { seconds: 1.5, replicas: 2, binDirectory: POSTGRES_15, env: {}, signal: stop.signal };
const results = runChaos({ ...options, nemeses: NEMESES });

/** They run one after the other, on one cluster, in the order of the tests. */
async function resultOf(name: string): Promise<Result> {
  for (;;) {
    const { value, done } = await results.next();
    if (done === true) {
      throw new Error(`${name} was not run`);
    }
    if (value.nemesis === name) {
      return value;
    }
  }
}

afterAll(async () => {
  stop.abort();
  await results.return(undefined);
});

test.each(NEMESES)('$name: no promise is broken', async ({ name }) => {
  const { problems, decisions, commits, violations } = await resultOf(name);
  expect(problems).toEqual([]);
  expect(violations).toBe(0);
  expect(decisions).toBeGreaterThan(0);
  expect(commits).toBeGreaterThan(0);
});

test('replicas whose lease is longer than promised are found out', async () => {
  const nemeses = NEMESES.filter(({ name }) => name === 'black-hole-listener');
  const env = { GATEBELL_LEASE_MS: String(20 * LEASE_MS) };
  const found: Result[] = [];
  for await (const result of runChaos({ ...options, nemeses, seconds: 7, env })) {
    found.push(result);
  }
  expect(found).toHaveLength(1);
  expect(found[0]!.violations).toBeGreaterThan(0);
  expect(found[0]!.worstStalenessMs).toBeGreaterThan(LEASE_MS);
  expect(found[0]!.problems[0]).toMatch(/^G[12] on replica-/);
});

test('a nemesis that could not be brought on is a failure, and so is one that nobody felt', async () => {
  const [calm] = NEMESES;
  const broken: Nemesis = { ...calm!, name: 'broken', start: () => Promise.reject(new Error('cannot be done')) };
  const unfelt: Nemesis = { ...calm!, name: 'unfelt', leaves: () => false };
  const found: Result[] = [];
  for await (const result of runChaos({ ...options, nemeses: [broken, unfelt], seconds: 1 })) {
    found.push(result);
  }
  expect(found).toMatchObject([
    { nemesis: 'broken', problems: [expect.stringContaining('cannot be done')] },
    {
      nemesis: 'unfelt',
      violations: 0,
      problems: ['replica-1', 'replica-2'].map(name => `${name} has not noticed anything: it was no unfelt`),
    },
  ]);
});
