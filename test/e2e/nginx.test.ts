/** Debian's nginx with auth_request, the configuration of deploy/nginx, two real replicas and a sample upstream. */
import { once } from 'node:events';
import { Agent, createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startNginx, type Nginx } from '../support/nginx.js';
import { startReplica, type Replica } from '../support/replica.js';
import { createWorld, type World } from '../support/world.js';

const LOGIN = 'https://login.test/start';

let database: TestDatabase;
let world: World;
let replicas: Replica[];
let app: Server;
let nginx: Nginx;

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
}

/** An answer through nginx; `seen` is what the upstream got, if it got anything. */
interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly seen: Seen | null;
  readonly reusedSocket: boolean;
}

const shared = new Agent({ keepAlive: true, maxSockets: 1 });

async function get(
  path: string,
  {
    headers = {},
    method = 'GET',
    agent = shared,
    host = 'photos.test',
    body,
  }: { headers?: Record<string, string>; method?: string; agent?: Agent; host?: string; body?: string } = {},
): Promise<Answer> {
  const request = httpRequest({
    host: '127.0.0.1',
    port: nginx.port,
    path,
    method,
    agent,
    headers: { Host: host, ...headers },
  });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) {
    text += String(chunk);
  }
  const seen = response.headers['x-sample'] === 'yes' ? (JSON.parse(text) as Seen) : null;
  return { status: response.statusCode ?? 0, headers: response.headers, seen, reusedSocket: request.reusedSocket };
}

const bearer = (token: string): Record<string, string> => ({ Authorization: `Bearer ${token}` });

beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database);
  replicas = await Promise.all(
    ['a', 'b'].map(name => startReplica(database.url, { name, env: { GATEBELL_LOGIN_URL: LOGIN } })),
  );
  app = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      response.setHeader('X-Sample', 'yes');
      response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers }));
    });
  });
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
  const { port } = app.address() as { port: number };
  nginx = await startNginx(
    replicas.map(replica => new URL(replica.auth).host),
    `127.0.0.1:${port}`,
  );
});

afterAll(async () => {
  shared.destroy();
  await nginx.stop();
  await Promise.all(replicas.map(replica => replica.stop()));
  app.closeAllConnections();
  app.close();
  await database.drop();
});

describe('allowed', () => {
  test('the identity is passed on to the app', async () => {
    const { status, seen } = await get('/album?x=1', { headers: bearer(world.alice) });
    expect(status).toBe(200);
    expect(seen).toMatchObject({
      method: 'GET',
      url: '/album?x=1',
      headers: {
        host: 'photos.test',
        'remote-user': 'alice',
        'remote-name': 'Alice',
        'remote-email': 'alice@example.test',
        'remote-groups': 'family,staff',
        'x-gatebell-app': 'photos',
        'x-gatebell-role': 'user',
      },
    });
  });

  test('by the session cookie', async () => {
    expect(
      (await get('/', { headers: { Cookie: `theme=dark; gatebell=${world.session}` } })).seen?.headers['remote-user'],
    ).toBe('alice');
  });

  test('a public path without a credential, and an identity that the client made up does not arrive', async () => {
    const { status, seen } = await get('/share/x', {
      headers: { 'Remote-User': 'root', 'Remote-Groups': 'wheel', Remote_User: 'root', 'X-Gatebell-Role': 'admin' },
    });
    expect(status).toBe(200);
    expect(Object.keys(seen?.headers ?? {}).filter(name => /remote|gatebell/.test(name))).toEqual(['x-gatebell-app']);
  });

  test('a POST with a body', async () => {
    const { status, seen } = await get('/upload', {
      method: 'POST',
      headers: bearer(world.alice),
      body: 'x'.repeat(100_000),
    });
    expect(status).toBe(200);
    expect(seen?.method).toBe('POST');
  });
});

describe('denied', () => {
  test('401 without a credential, with the login page told but not forced on a script', async () => {
    const { status, headers, seen } = await get('/album');
    expect(status).toBe(401);
    expect(seen).toBeNull();
    expect(headers['x-gatebell-reason']).toBe('no_credential');
    expect(headers.location).toContain(`${LOGIN}?rd=`);
  });

  test('a person in front of a browser is sent to the login page, and will come back', async () => {
    const { status, headers } = await get('/album?x=1', {
      headers: { Accept: 'text/html', 'Sec-Fetch-Mode': 'navigate' },
    });
    expect(status).toBe(302);
    const location = new URL(headers.location ?? '');
    expect(location.origin).toBe('https://login.test');
    expect(location.searchParams.get('rd')).toBe('http://photos.test/album?x=1');
  });

  test('401 with a bad credential, 403 without a grant, 403 for a host that nobody registered', async () => {
    expect(await get('/', { headers: bearer('gb_made_up') })).toMatchObject({ status: 401, seen: null });
    expect(await get('/', { headers: bearer(world.bob) })).toMatchObject({ status: 403, seen: null });
    expect(await get('/', { host: 'evil.test', headers: bearer(world.alice) })).toMatchObject({
      status: 403,
      seen: null,
    });
  });

  test.each([
    '/share/../album',
    '/share/%2e%2e/album',
    '/share/..%2falbum',
    '/share//../../album',
    '/share/%252e%252e/album',
    '/SHARE/x',
  ])('the private path behind %s is not public', async spelling => {
    expect(await get(spelling)).toMatchObject({ seen: null });
  });

  test('an absolute request target does not confuse nginx and the gate', async () => {
    const socket = connect(nginx.port, '127.0.0.1');
    socket.write('GET http://evil.test/share/x HTTP/1.1\r\nHost: photos.test\r\nConnection: close\r\n\r\n');
    let text = '';
    for await (const chunk of socket.setEncoding('utf8')) {
      text += String(chunk);
    }
    expect(text).toMatch(/^HTTP\/1\.1 403 /);
  });
});

describe('while connections stay open', () => {
  test('a revocation is seen by the next request on the same connection, through every replica', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    try {
      const ask = (): Promise<Answer> => get('/', { headers: bearer(world.alice), agent });
      for (let i = 0; i < 10; i++) {
        expect((await ask()).status).toBe(200);
      }
      const deletions = replicas.map(replica => replica.metric('gatebell_signals_total{subject="grant"}'));
      const before = await Promise.all(deletions);
      await database.sql(
        `delete from gatebell.grants where user_id = (select id from gatebell.users where name = 'alice')`,
      );
      for (const [index, replica] of replicas.entries()) {
        while ((await replica.metric('gatebell_signals_total{subject="grant"}')) === before[index]) {
          // The metric is asked for over HTTP: this waits without a clock.
        }
      }
      for (let i = 0; i < 10; i++) {
        const denied = await ask();
        expect(denied).toMatchObject({ status: 403, seen: null, reusedSocket: true });
      }
      await database.sql(
        `insert into gatebell.grants (user_id, app_id) select u.id, a.id from gatebell.users u, gatebell.apps a where u.name = 'alice' and a.name = 'photos'`,
      );
      while ((await ask()).status !== 200) {
        // Comes back as fast as it went.
      }
    } finally {
      agent.destroy();
    }
  });

  test('a replica that stops does not lose a request, and nothing is allowed that should not be', async () => {
    const [, second] = replicas;
    const extra = await startReplica(database.url, { name: 'extra' });
    const front = await startNginx(
      [new URL(second!.auth).host, new URL(extra.auth).host],
      new URL(`http://127.0.0.1:${(app.address() as { port: number }).port}`).host,
    );
    const agent = new Agent({ keepAlive: true, maxSockets: 4 });
    try {
      const statuses = new Set<number>();
      let stopped = false;
      const load = Promise.all(
        Array.from({ length: 4 }, async () => {
          for (let after = 0; after < 50; after += Number(stopped)) {
            const request = httpRequest({
              host: '127.0.0.1',
              port: front.port,
              path: '/',
              agent,
              headers: { Host: 'photos.test', ...bearer(world.alice) },
            });
            request.end();
            const [response] = (await once(request, 'response')) as [IncomingMessage];
            response.resume();
            await once(response, 'end');
            statuses.add(response.statusCode ?? 0);
          }
        }),
      );
      expect(await extra.stop()).toBe(0);
      stopped = true;
      await load;
      expect([...statuses]).toEqual([200]);
    } finally {
      agent.destroy();
      await front.stop();
    }
  });
});

test('no replica, no entrance: 503, and nothing reaches the app', async () => {
  const front = await startNginx(
    ['127.0.0.1:1'],
    new URL(`http://127.0.0.1:${(app.address() as { port: number }).port}`).host,
  );
  try {
    const request = httpRequest({
      host: '127.0.0.1',
      port: front.port,
      path: '/share/x',
      headers: { Host: 'photos.test' },
    });
    request.end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.resume();
    expect(response.statusCode).toBe(503);
    expect(response.headers['x-sample']).toBeUndefined();
  } finally {
    await front.stop();
  }
});
