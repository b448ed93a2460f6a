/**
 * The truth: rows of a real Postgres, and loads of them that can be held. A load is held after it has read its row and
 * before the library gets what it read. That is what a busy server or a slow network does to it.
 */
import pg from 'pg';

/** A load that waits. */
export interface Hold {
  /** Resolves with the version that the load has read. */
  readonly reached: Promise<number>;
  /** Lets it go on; idempotent. */
  release(): void;
}

export interface Truth {
  readonly url: string;
  /** Reads the row, as a loader does: counted, and held if a hold waits for it. */
  readonly load: (key: string) => Promise<number>;
  /** What a load that reads by other means calls with what it has read. */
  pass(key: string, version: number): Promise<void>;
  /** Holds the next load of this key. */
  hold(key: string): Hold;
  /** Loads of this key that have read their row so far. */
  loads(key: string): number;
  /** Loads that have begun so far, of any key. */
  readonly begun: number;
  /** Called by whoever loads by other means when it begins. */
  begin(): void;
  /** Resolves when every load that has begun by `load` has read its row. */
  quiet(): Promise<void>;
  /** Makes version 2 of the row; with `all`, many others change in the same statement. */
  change(key: string, all: boolean): Promise<void>;
}

export const OLD = 1;
export const NEW = 2;

/** Gatebell names each changed row up to 300 of them, and beyond that says that everything changed. */
const OTHER_ROWS = 320;

const SCHEMA = `
  create table if not exists prices (sku text primary key, version integer not null);
  select gatebell.watch('prices', topic, '{sku}', '{version}') from unnest('{price,label}'::text[]) as topic`;
const FILL = `
  insert into prices
  select k, $2::int from unnest($1::text[]) as k
  union all select 'other-' || n, 0 from generate_series(1, $3::int) as n`;
const CHANGE_ALL = `
  update prices set version = case when sku = $1 then $2::int else version + 1 end
  where sku = $1 or sku like 'other-%'`;

/** A truth with these rows and no others, and what ends its connections. */
export async function openTruth(url: string, keys: readonly string[]): Promise<Truth & { close(): Promise<void> }> {
  const pool = new pg.Pool({ connectionString: url, max: 8 });
  pool.on('error', () => undefined);
  const holds = new Map<string, (version: number) => Promise<void>>();
  const loads = new Map<string, number>();
  let begun = 0;
  const reading = new Set<Promise<unknown>>();
  await pool.query(SCHEMA);
  await pool.query('truncate prices');
  await pool.query(FILL, [keys, OLD, OTHER_ROWS]);

  const pass = async (key: string, version: number): Promise<void> => {
    loads.set(key, (loads.get(key) ?? 0) + 1);
    const held = holds.get(key);
    holds.delete(key);
    await held?.(version);
  };
  return {
    url,
    pass,
    get begun() {
      return begun;
    },
    begin() {
      begun += 1;
    },
    async quiet() {
      await Promise.all(reading);
    },
    async load(key) {
      begun += 1;
      const query = pool.query<{ version: number }>('select version from prices where sku = $1', [key]);
      reading.add(query);
      const { rows } = await query;
      reading.delete(query);
      const version = rows[0]!.version;
      await pass(key, version);
      return version;
    },
    hold(key) {
      let release = (): void => undefined;
      const released = new Promise<void>(resolve => {
        release = resolve;
      });
      const reached = new Promise<number>(resolve => {
        holds.set(key, version => {
          resolve(version);
          return released;
        });
      });
      return { reached, release };
    },
    loads: key => loads.get(key) ?? 0,
    async change(key, all) {
      await pool.query(all ? CHANGE_ALL : 'update prices set version = $2 where sku = $1', [key, NEW]);
    },
    close: () => pool.end(),
  };
}
