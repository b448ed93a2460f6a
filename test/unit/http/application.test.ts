/** Express applications on our own servers. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { afterEach, describe, expect, test } from 'vitest';
import { createApplication, createRouter } from '../../../src/http/application.js';
import { GateRequest } from '../../../src/http/request.js';
import { GateResponse } from '../../../src/http/response.js';
import { createHttpServer } from '../../../src/http/server.js';
import { bytesOf, exchange, readAnswer, type Answer, type Pairs } from '../../support/auth-server.js';

let server: Server;
let failures: unknown[] = [];
/** Prototypes of what was served. */
let prototypes: unknown[] = [];

afterEach(() => {
  failures = [];
  prototypes = [];
  server.close();
  server.closeAllConnections();
});

async function serve(make: typeof createHttpServer | typeof createServer = createHttpServer): Promise<number> {
  const router = createRouter();
  router.get('/page', (request, response) => {
    prototypes.push(Object.getPrototypeOf(request), Object.getPrototypeOf(response));
    response.type('text').send(`query ${JSON.stringify(request.query)}, ip ${request.ip}\n`);
  });
  router.get('/throws', () => {
    throw new Error('thrown');
  });
  router.get('/rejects', () => Promise.reject(new Error('rejected')));
  router.get('/halfway', (_, response) => {
    response.write('half');
    throw new Error('halfway');
  });
  router.get('/worse', (_, __, next) => {
    next('worse');
  });
  const listener = createApplication({
    routers: [router],
    notFound(_, response) {
      response.writeHead(404, { 'Content-Length': 0 }).end();
    },
    failed(error, _, response) {
      failures.push(error);
      if (error === 'worse') {
        throw new Error('worse');
      }
      if (response.headersSent) {
        response.destroy();
      } else {
        response.writeHead(500, { 'Content-Length': 0 }).end();
      }
    },
  });
  server = make(listener);
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  // A listening TCP server has an address of this form.
  return (server.address() as AddressInfo).port;
}

const askOf =
  (port: number) =>
  async (path: string, method = 'GET', headers: Pairs = []): Promise<Answer> =>
    readAnswer(await exchange(port, bytesOf(path, headers, method, 'close')), method === 'HEAD')!.answer;

describe('an application', () => {
  test('leaves requests and responses the prototypes that they have from the beginning', async () => {
    const ask = askOf(await serve());
    await ask('/page');
    expect(prototypes).toEqual([GateRequest.prototype, GateResponse.prototype]);
    expect(express.request.isPrototypeOf(GateRequest.prototype)).toBe(true);
    expect(express.response.isPrototypeOf(GateResponse.prototype)).toBe(true);
  });

  test.each([createHttpServer, createServer])(
    'has the methods of Express, and nothing that it does unasked',
    async make => {
      const ask = askOf(await serve(make));
      const { status, headers, body } = await ask('/page?a=1', 'GET', [['X-Forwarded-For', '192.0.2.1']]);
      expect([status, body]).toEqual([200, 'query {}, ip 127.0.0.1\n']);
      expect(Object.keys(headers).toSorted()).toEqual(['connection', 'content-length', 'content-type', 'date']);
      expect(await ask('/page', 'HEAD')).toMatchObject({ status: 200, headers: { 'content-length': '23' }, body: '' });
    },
  );

  test.each([
    '/Page',
    '/page/',
    '//page',
    '/%70age',
    '/page#x',
    '/page;x',
    'http://any.test/page',
    'http://[',
    'http://any.test:99999999/page',
    '/nothing',
  ])('%s is another path than /page', async path => {
    expect(await askOf(await serve())(path)).toMatchObject({ status: 404, body: '' });
  });

  test('does not answer methods that no router asks for', async () => {
    const ask = askOf(await serve());
    expect((await ask('*', 'OPTIONS')).status).toBe(404);
    expect((await ask('/page', 'POST')).status).toBe(404);
  });
});

describe('what goes wrong in a handler', () => {
  test.each(['throws', 'rejects'])('that %s is answered, and the next request too', async path => {
    const ask = askOf(await serve());
    expect(await ask(`/${path}`)).toMatchObject({ status: 500, body: '' });
    expect(failures).toEqual([expect.any(Error)]);
    expect((await ask('/page')).status).toBe(200);
  });

  test('after a part of the answer ends the connection, as nothing else can be said', async () => {
    const port = await serve();
    expect(await exchange(port, bytesOf('/halfway', [], 'GET', 'close'))).not.toMatch(/\r\n0\r\n\r\n$/);
    expect(failures).toHaveLength(1);
    expect((await askOf(port)('/page')).status).toBe(200);
  });

  test('and again in what answers that, ends the connection alone', async () => {
    const port = await serve();
    expect(await exchange(port, bytesOf('/worse', [], 'GET', 'close'))).toBe('');
    expect((await askOf(port)('/page')).status).toBe(200);
  });
});
