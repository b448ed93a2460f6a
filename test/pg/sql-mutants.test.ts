/**
 * Mistakes in SQL are seen: each is planted in the migrations, one at a time, in a database of its own, and one of the
 * checks of the battery must fail there. The migrations as they are pass all of them.
 */
import { readdir, readFile } from 'node:fs/promises';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { CHECKS, createBench, type CheckName } from './sql-battery.js';
import { SQL_MUTANTS, type SqlMutant } from './sql-mutants.js';

const DIRECTORY = new URL('../../migrations/', import.meta.url);
const NAMES = Object.keys(CHECKS) as CheckName[];
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

/**
 * Connections to databases that are used one mutant after the other: to make one, and to drop it, takes longer than the
 * checks.
 */
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

/** The first of these checks that fails on these migrations, with its error; null if all pass. */
async function firstFailure(migrations: readonly string[], checks: readonly CheckName[]): Promise<string | null> {
  const place = free.pop()!;
  const { database, listener } = place;
  try {
    // A check that has failed leaves its transactions open.
    await listener.query('rollback');
    await database.sql('rollback; reset role; reset all; drop schema if exists s, gatebell cascade');
    try {
      await database.sql(`set client_min_messages = error; ${migrations.join('\n')}`);
    } catch (error) {
      return `migrations: ${error instanceof Error ? error.message : String(error)}`;
    }
    const bench = await createBench(database.client, listener);
    for (const name of checks) {
      try {
        await CHECKS[name](bench);
      } catch (error) {
        return `${name}: ${error instanceof Error ? error.message : String(error)}`;
      }
    }
    return null;
  } finally {
    free.push(place);
  }
}

/** What the later migrations make, the other checks do not need: without them a mutant takes a third of the time. */
const NEED_ALL: ReadonlySet<CheckName> = new Set(['row level security', 'facts', 'sign-in']);

test('the migrations as they are pass the battery', async () => {
  expect(await firstFailure([...files.values()], NAMES)).toBeNull();
  expect(
    await firstFailure(
      [...files.values()].slice(0, 1),
      NAMES.filter(name => !NEED_ALL.has(name)),
    ),
  ).toBeNull();
});

describe.each(NAMES)('%s', { concurrent: true }, name => {
  test.for(SQL_MUTANTS[name])('sees that $mistake', async mutant => {
    const migrations = plant(mutant).slice(0, NEED_ALL.has(name) ? undefined : 1);
    expect(await firstFailure(migrations, [name]), `"${mutant.mistake}" survived`).not.toBeNull();
  });
});
