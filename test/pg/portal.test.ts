/** The contract of a portal's auth endpoint, from the files of examples/portal as they are. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { fetchAnswer, forwardHeaders, startReplica, type Answer, type Ask, type Replica } from '../support/replica.js';
import { addCredential } from '../support/gate-rows.js';

const file = (name: string): string => readFileSync(new URL(`../../examples/portal/${name}`, import.meta.url), 'utf8');
const settings = Object.fromEntries(
  [...file('portal.env').matchAll(/^([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name!, value!]),
);

let database: TestDatabase;
let replica: Replica;
let device: string;
let peer: string;

beforeAll(async () => {
  database = await createTestDatabase();
  await database.sql(file('portal.sql'));
  device = await addCredential(database, 'owner', 'session');
  peer = await addCredential(database, 'peer-bob');
  replica = await startReplica(database.url, { env: settings });
});

afterAll(async () => {
  await replica.stop();
  await database.drop();
});

const HOST = 'photos.ada.example.org';
const paired = (): Ask => ({ host: HOST, headers: { Cookie: `theme=dark; authorization=${device}` } });

function ask(asked: Ask): Promise<Answer> {
  return fetchAnswer(`${replica.auth}/internal/auth`, forwardHeaders({ host: HOST, ...asked }));
}

function client({ status, headers }: Answer): readonly unknown[] {
  return [status, headers['x-ptl-client-type'], headers['x-ptl-client-id'], headers['x-ptl-client-name']];
}

describe('the app', () => {
  test('is named by the first label of the host', async () => {
    expect((await ask({ ...paired(), host: 'photos.ada.example.org' })).headers['x-gatebell-app']).toBe('photos');
    expect((await ask({ ...paired(), host: 'NOTES.ada.example.org.' })).headers['x-gatebell-app']).toBe('notes');
  });

  test.each(['nothing.ada.example.org', 'ada.example.org', 'photos.eve.example.org'])(
    'that %s does not name is 404',
    async host => {
      expect((await ask({ ...paired(), host })).status).toBe(404);
    },
  );
});

describe('the longest prefix chooses the rule:', () => {
  test('private: a paired device, and nobody else', async () => {
    const owner = await database.sql(`select id::text from gatebell.users where name = 'owner'`);
    expect(client(await ask(paired()))).toEqual([200, 'device', owner[0]?.['id'], "Ada's devices"]);
    expect((await ask({})).status).toBe(401);
    expect((await ask({ headers: { Cookie: 'authorization=made-up' } })).status).toBe(401);
    expect((await ask({ token: peer })).status).toBe(403);
  });

  test('public: everyone, as nobody', async () => {
    for (const asked of [{}, paired(), { token: peer }]) {
      expect(client(await ask({ ...asked, uri: '/pub/x' }))).toEqual([200, 'anonymous', '', '']);
    }
  });

  test('peer: another portal, and no device', async () => {
    expect(client(await ask({ token: peer, uri: '/api/peers/hello' }))).toEqual([
      200,
      'peer',
      expect.stringMatching(/^\d+$/),
      "Bob's portal",
    ]);
    expect((await ask({ ...paired(), uri: '/api/peers/hello' })).status).toBe(403);
    expect((await ask({ uri: '/api/peers/hello' })).status).toBe(401);
  });
});

describe('what the original got wrong is not the same here:', () => {
  test('a missing header is 400, not 500', async () => {
    expect((await fetchAnswer(`${replica.auth}/internal/auth`, { 'X-Forwarded-Host': HOST })).status).toBe(400);
  });

  test.each(['/publications', '/pub/%2e%2e/private', '/pub/../private'])('%s is not public', async uri => {
    expect((await ask({ uri })).status).not.toBe(200);
  });
});

test('a device that is unpaired is refused by the next request', async () => {
  expect((await ask(paired())).status).toBe(200);
  await database.sql(`delete from gatebell.credentials where kind = 'session'`);
  let answer = await ask(paired());
  while (answer.status === 200) {
    answer = await ask(paired());
  }
  expect(answer.status).toBe(401);
});
