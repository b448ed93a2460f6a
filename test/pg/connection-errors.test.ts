/** A connection that fails is reported in a plain sentence: no words of the driver, and no stack. */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { gatebell } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

let database: TestDatabase;
let server: Server | null = null;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());
afterEach(() => {
  server?.close();
  server = null;
});

/** A server that answers whatever comes in this way; resolves with its connection string. */
async function fake(answer: (socket: Socket) => void): Promise<string> {
  server = createServer(socket => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      answer(socket);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return `postgres://alice@127.0.0.1:${typeof address === 'object' ? address?.port : 0}/db`;
}

const message = (type: string, body: Buffer): Buffer => {
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length + 4);
  return Buffer.concat([Buffer.from(type), length, body]);
};
/** AuthenticationSASL with SCRAM-SHA-256. */
const SCRAM = message('R', Buffer.concat([Buffer.from([0, 0, 0, 10]), Buffer.from('SCRAM-SHA-256\0\0')]));
/** AuthenticationSASLContinue, at which the driver needs the password. */
const SCRAM_CONTINUE = message('R', Buffer.concat([Buffer.from([0, 0, 0, 11]), Buffer.from('r=x,s=eA==,i=4096')]));
function askPassword(socket: Socket): void {
  socket.write(SCRAM);
  socket.once('data', () => socket.write(SCRAM_CONTINUE));
}
const error = (code: string, text: string): Buffer => message('E', Buffer.from(`SFATAL\0C${code}\0M${text}\0\0`));

const CASES: readonly (readonly [string, () => Promise<string>, RegExp])[] = [
  ['nobody listens', async () => 'postgres://alice@127.0.0.1:1/db', /^gatebell: cannot reach Postgres: .*ECONNREFUSED/],
  ['there is no such host', async () => 'postgres://alice@nowhere.invalid/db', /^gatebell: cannot reach Postgres: /],
  ['there is no such socket', async () => 'postgresql://alice@/db?host=/nowhere', /^gatebell: cannot reach Postgres: /],
  ['a password is asked for and none is given', () => fake(askPassword), /^gatebell: Postgres asks for a password/],
  [
    'the password is wrong',
    () => fake(socket => socket.end(error('28P01', 'password authentication failed for user "alice"'))),
    /^gatebell: password authentication failed/,
  ],
  [
    'the database is not there',
    async () => database.url.replace(/\/[^/]*$/, '/nowhere'),
    /^gatebell: database "nowhere" does not exist/,
  ],
  [
    'the connection is closed',
    () => fake(socket => socket.end()),
    /^gatebell: cannot reach Postgres: the connection was closed/,
  ],
  ['the connection is reset', () => fake(socket => socket.resetAndDestroy()), /^gatebell: cannot reach Postgres: /],
  [
    'TLS is demanded and there is none',
    async () => `${await fake(socket => socket.write('N'))}?sslmode=verify-full`,
    /^gatebell: Postgres takes no TLS/,
  ],
  [
    'it starts up',
    () => fake(socket => socket.end(error('57P03', 'the database system is starting up'))),
    /^gatebell: the database system is starting up/,
  ],
];

test.each(CASES)('%s', async (_, urlOf, says) => {
  const url = await urlOf();
  for (const words of [
    ['user', 'list'],
    ['migrate', 'status'],
  ]) {
    const { code, stdout, stderr } = await gatebell(words, url, { PGPASSWORD: '', PGPASSFILE: '/nowhere' });
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(says);
    expect(stderr).not.toMatch(/\n\s+at |SASL|SCRAM|node_modules|node:/);
  }
});

test('a database without schema public is migrated, or refused in a plain sentence', async () => {
  const bare = await createTestDatabase();
  try {
    await bare.sql('drop schema gatebell cascade; drop schema public cascade');
    const { stderr } = await gatebell(['migrate', 'up'], bare.url);
    expect(stderr).not.toMatch(/\n\s+at |node_modules/);
  } finally {
    await bare.drop();
  }
});
