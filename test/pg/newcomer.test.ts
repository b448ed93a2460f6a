/**
 * A replica that is started after a failover: its listening connection leads to the new primary, its pool to the old
 * one, which answers and cannot commit any more, because it waits for a standby that is gone. Nothing that it reads
 * there may decide.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import pg from 'pg';
import type { CoherenceObservation } from '../../src/coherence/observation.js';
import { createPostgresServer, type PostgresServer } from '../../src/dev/postgres.js';
import { createPostgresCoherence, type PostgresCoherence } from '../../src/postgres/coherence.js';
import { migrate } from '../../src/postgres/migrate.js';
import type { StoreObservation } from '../../src/postgres/pool.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

type Seen = CoherenceObservation | StoreObservation;

let old: PostgresServer;
let primary: TestDatabase;
/** Where the pool leads. */
let proxy: TcpProxy;
let poolUrl: string;

async function fill(client: pg.Client): Promise<void> {
  await client.query('create table prices (sku text primary key, cents integer not null)');
  await client.query(`select gatebell.watch('prices', 'price', '{sku}', '{cents}')`);
  await client.query(`insert into prices values ('apple', 5)`);
}

beforeAll(async () => {
  old = await createPostgresServer({
    binDirectory: process.env['GATEBELL_TEST_PG_BIN'],
    settings: { fsync: 'off' },
  });
  const client = new pg.Client({ connectionString: old.url('postgres') });
  await client.connect();
  await migrate(client, 'up');
  await fill(client);
  await client.query(`alter system set synchronous_standby_names = 'nobody'`);
  await client.query('select pg_reload_conf()');
  await client.end();
  primary = await createTestDatabase();
  await fill(primary.client);
  await primary.sql(`update prices set cents = 6`);
  proxy = await startTcpProxy(old.port);
  const url = new URL(old.url('postgres'));
  url.port = String(proxy.port);
  poolUrl = url.href;
});

afterAll(async () => {
  await proxy.close();
  await old.remove();
  await primary.drop();
});

function start(listenUrl: string): {
  readonly coherence: PostgresCoherence;
  readonly seen: readonly Seen[];
  price(strong?: boolean): Promise<number | null>;
  until(fits: (seen: Seen) => boolean): Promise<void>;
} {
  const seen: Seen[] = [];
  let wake = (): void => undefined;
  const coherence = createPostgresCoherence({
    connectionString: poolUrl,
    listenConnectionString: listenUrl,
    replica: 'newcomer',
    leaseMs: 600,
    observe: observation => {
      seen.push(observation);
      wake();
    },
  });
  const prices = coherence.coherentCache({
    topic: 'price',
    load: {
      text: 'select sku, cents from prices where sku = any ($1::text[])',
      key: row => [String(row['sku'])],
      value: row => Number(row['cents']),
    },
  });
  coherence.start();
  return {
    coherence,
    seen,
    price: (strong = false) => prices.get(['apple'], { strong }),
    async until(fits) {
      while (!seen.some(fits)) {
        await new Promise<void>(resolve => {
          wake = resolve;
        });
      }
    },
  };
}

const closed = (cause: string) => (seen: Seen) => seen.event === 'connection_closed' && seen.cause === cause;

test.each([false, true])(
  'from its first moment on, nothing read from the old primary decides (strong: %s); it says why',
  async strong => {
    const { coherence, price, until, seen } = start(primary.url);
    try {
      let epochs = 0;
      // Of every state: before it is known where the pool leads, when it is, and while it connects again and again.
      while (epochs < 3) {
        await expect(price(strong)).rejects.toMatchObject({ code: 'unavailable' });
        epochs = seen.filter(closed('foreign_pool')).length;
      }
      await until(closed('foreign_pool'));
      expect(coherence.problem).toContain('an old primary still runs');
      expect(seen.filter(({ event }) => event === 'fence_proven')).toEqual([]);
      // No fence had to be sent to know it.
      expect(seen.filter(one => one.event === 'query' && one.query === 'fence')).toEqual([]);
    } finally {
      await coherence.stop();
    }
  },
);

test('when the pool leads to the new primary, it decides', async () => {
  const followed = new URL(primary.url);
  proxy.retarget(Number(followed.port));
  followed.port = String(proxy.port);
  poolUrl = followed.href;
  const { coherence, price } = start(primary.url);
  try {
    expect(await price()).toBe(6);
    expect(await price(true)).toBe(6);
  } finally {
    await coherence.stop();
  }
});

test('one that cannot listen at all believes the primary that it reads from', async () => {
  const nowhere = new URL(primary.url);
  nowhere.port = '1';
  const { coherence, price, until } = start(nowhere.href);
  try {
    await until(({ event }) => event === 'connection_failed');
    expect(await price()).toBe(6);
  } finally {
    await coherence.stop();
  }
});

test('one that listens on the same server and can send no fence reads from there', async () => {
  await primary.sql(`alter function gatebell.fence(bigint) rename to fence_away`);
  const { coherence, price } = start(primary.url);
  try {
    expect(await price()).toBe(6);
    expect(coherence.state).toBe('listening');
  } finally {
    await coherence.stop();
    await primary.sql(`alter function gatebell.fence_away(bigint) rename to fence`);
  }
});
