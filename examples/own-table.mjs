// A coherent cache over a table of your own: true on every process that runs this, with no message bus of yours.
//
//   DATABASE_URL=postgres://… node examples/own-table.mjs
//
// The schema must be there: gatebell migrate up. The role must be allowed to watch the table once (its owner) and to read it.
import pg from 'pg';
import { createPostgresCoherence } from 'gatebell';

const connectionString = process.env.DATABASE_URL;
const client = new pg.Client({ connectionString });
await client.connect();
await client.query(`
  create table if not exists prices (sku text primary key, cents integer not null, note text);
  insert into prices values ('apple', 120, '') on conflict (sku) do update set cents = 120;
  select gatebell.watch('prices', 'price', '{sku}', '{cents}');
`);

const coherence = createPostgresCoherence({ connectionString });
const prices = coherence.coherentCache({
  topic: 'price',
  load: {
    text: 'select p.sku, p.cents from prices p where p.sku = any ($1::text[])',
    key: row => [row.sku],
    value: row => row.cents,
  },
});
const changed = new Promise(resolve => coherence.on('price', resolve));
coherence.start();

console.log('apple costs', await prices.get(['apple']));
console.log('pear costs', await prices.get(['pear']));

// Whoever changes the row, in whatever way, every cache hears of it. `strong` waits for all that was committed before.
await client.query(`update prices set cents = 130 where sku = 'apple'`);
console.log('apple costs', await prices.get(['apple'], { strong: true }));
await changed;

await coherence.stop();
await client.end();
