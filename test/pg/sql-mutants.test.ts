/**
 * Mistakes in SQL are seen: each is planted in the migrations, one at a time, in a database of its own, and one of the checks of the battery
 * must fail there. The migrations as they are pass all of them.
 */
import { readdir, readFile } from 'node:fs/promises';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { CHECKS, createBench } from './sql-battery.js';
import { SQL_MUTANTS, type SqlMutant } from './sql-mutants.js';

const DIRECTORY = new URL('../../migrations/', import.meta.url);
const files = new Map<string, string>();

beforeAll(async () => {
  for (const name of (await readdir(DIRECTORY)).filter(one => one.endsWith('.up.sql')).sort()) {
    files.set(name, await readFile(new URL(name, DIRECTORY), 'utf8'));
  }
});

/** The text of the migrations with the mistake in it. */
function plant({ file, find, replace }: SqlMutant): string[] {
  return [...files].map(([name, text]) => {
    if (!name.startsWith(file)) {
      return text;
    }
    const parts = text.split(find);
    expect(parts.length - 1, `what is to be replaced must stand once in ${name}: ${find}`).toBe(1);
    return parts.join(replace);
  });
}

/** Connections to databases that are used one mutant after the other: to make one, and to drop it, takes longer than the checks. */
interface Place {
  readonly database: TestDatabase;
  readonly listener: pg.Client;
}
/** As many tests as Vitest runs at once, by default. */
const PLACES = 5;
const made: TestDatabase[] = [];
const free: Place[] = [];

beforeAll(async () => {
  for (let place = 0; place < PLACES; place++) {
    const database = await createTestDatabase({ migrated: false });
    made.push(database);
    free.push({ database, listener: await database.connect() });
  }
});

afterAll(() => Promise.all(made.map(database => database.drop())));

/** The first check that fails on these migrations, with its error; null if all pass. Migrations that cannot be applied fail too. */
async function firstFailure(migrations: readonly string[], checks = Object.entries(CHECKS)): Promise<string | null> {
  const place = free.pop()!;
  const { database, listener } = place;
  try {
    await database.sql(
      `rollback; reset role; reset all; set client_min_messages = error; drop schema if exists s, gatebell cascade`,
    );
    await database.sql(migrations.join('\n'));
    const bench = await createBench(database.client, listener);
    for (const [name, check] of checks) {
      try {
        await check(bench);
      } catch (error) {
        return `${name}: ${error instanceof Error ? error.message : String(error)}`;
      }
    }
    return null;
  } catch (error) {
    return `migrations: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    free.push(place);
  }
}

test('the migrations as they are pass the battery', async () => {
  expect(await firstFailure([...files.values()])).toBeNull();
});

describe.concurrent('is seen:', () => {
  test.for(SQL_MUTANTS)('$mistake', async mutant => {
    // The last checks are those of the later migrations: the first to fail ends it.
    const checks = mutant.file === '001' ? Object.entries(CHECKS) : Object.entries(CHECKS).toReversed();
    expect(await firstFailure(plant(mutant), checks), `"${mutant.mistake}" survived`).not.toBeNull();
  });
});
