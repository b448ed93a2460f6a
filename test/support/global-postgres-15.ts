/** The same as `global-postgres.ts`, on Debian's PostgreSQL 15. */
import { existsSync } from 'node:fs';
import type { TestProject } from 'vitest/node';
import { setUpPostgres } from './global-postgres.js';

export const POSTGRES_15 = '/usr/lib/postgresql/15/bin';

export default function setup(project: TestProject): Promise<() => Promise<void>> {
  if (!existsSync(POSTGRES_15)) {
    throw new Error('PostgreSQL 15 is not installed; on Debian: apt-get install postgresql-15');
  }
  return setUpPostgres(project, POSTGRES_15);
}
