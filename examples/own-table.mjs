// A cache over a table of your own: true on every process that runs this, with no message bus of yours.
//
//   DATABASE_URL=postgres://… node examples/own-table.mjs
//
// The schema must be there: gatebell migrate up. The role must be allowed to watch the table once (its owner) and to
// read it.
import pg from 'pg';
import { createGatebell } from 'gatebell/cache';

const connectionString = process.env.DATABASE_URL;
const client = new pg.Client({ connectionString });
await client.connect();
await client.query(`
  create table if not exists prices (sku text primary key, cents integer not null, note text);
  insert into prices values ('apple', 120, ''), ('plum', 40, '') on conflict (sku) do update set cents = excluded.cents;
  select gatebell.watch('prices', 'price', '{sku}', '{cents}');
`);

const gatebell = createGatebell({ connectionString });
const prices = gatebell.cache({
  topic: 'price',
  load: {
    text: 'select p.sku, p.cents from prices p where p.sku = any ($1::text[])',
    key: row => row.sku,
    value: row => row.cents,
  },
});

console.log('apple costs', await prices.get('apple'));
console.log('plum, pear and apple cost', await prices.getMany(['plum', 'pear', 'apple']));

// No matter who changes the row, and how, every cache forgets it. `strong` sees all that was committed before.
const changed = new Promise(resolve => gatebell.on('price', resolve));
await client.query(`update prices set cents = 130 where sku = 'apple'`);
console.log('apple costs', await prices.strong('apple'));
await changed;

// The listening connection also serves a channel of your own.
const heard = new Promise(resolve => {
  gatebell.channel('orders', event => {
    if (event.type === 'listening') {
      void gatebell.publish('orders', 'one apple');
    } else {
      resolve(event.payload);
    }
  });
});
console.log('ordered:', await heard);

await gatebell.close();
await client.end();
