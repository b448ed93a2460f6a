import { defineConfig } from 'vitest/config';
import { POSTGRES_15 } from './test/support/global-postgres-15.js';

// Generous: the machine may be busy, and nothing is judged by how long it takes.
const shared = { testTimeout: 120_000, hookTimeout: 120_000, restoreMocks: true, maxWorkers: 2 };

export default defineConfig({
  test: {
    projects: [
      { test: { ...shared, name: 'unit', include: ['test/unit/**/*.test.ts', 'test/{chaos,soak}/**/*.test.ts'] } },
      { test: { ...shared, name: 'security', include: ['test/security/**/*.test.ts'] } },
      { test: { ...shared, name: 'sim', include: ['test/sim/**/*.test.ts'] } },
      {
        test: {
          ...shared,
          name: 'pg',
          include: ['test/pg/**/*.test.ts'],
          globalSetup: ['test/support/global-postgres.ts'],
        },
      },
      {
        test: {
          ...shared,
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: ['test/support/global-postgres.ts'],
        },
      },
      {
        test: {
          ...shared,
          name: 'pg15',
          include: ['test/pg/**/*.test.ts'],
          // Nothing in these depends on the version of Postgres.
          exclude: [
            'test/pg/{cli,dev,examples,flood,jwt,one-client,portal,readme,remembered-decisions,secrets,serve,sql-mutants,zero-queries,races,race-suite}.test.ts',
          ],
          globalSetup: ['test/support/global-postgres-15.ts'],
          env: { GATEBELL_TEST_PG_BIN: POSTGRES_15 },
        },
      },
    ],
  },
});
