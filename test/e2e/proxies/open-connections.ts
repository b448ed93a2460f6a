/** What happens while connections stay open. */
import { randomBytes } from 'node:crypto';
import { Agent } from 'node:http';
import { connect } from 'node:net';
import { expect } from 'vitest';
import { bearer, bytesOf, type Pairs } from '../../support/proxy-client.js';
import type { Behaviour } from './behaviours.js';

const GRANTS = 'gatebell_signals_total{topic="grant"}';

/** How a WebSocket is asked for, as most clients write it. */
const UPGRADE: Pairs = [
  ['Upgrade', 'websocket'],
  ['Connection', 'Upgrade'],
];

/** A handshake; after 101, one masked text frame is sent, and what comes back is its payload. */
export function openWebSocket(
  port: number,
  headers: Pairs,
  { upgrade = UPGRADE, host = 'photos.test', path = '/live' } = {},
): Promise<{ readonly status: number; readonly echoed: string }> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    const socket = connect(port, '127.0.0.1', () => {
      const handshake: Pairs = [
        ['Host', host],
        ...headers,
        ...upgrade,
        ['Sec-WebSocket-Version', '13'],
        ['Sec-WebSocket-Key', randomBytes(16).toString('base64')],
      ];
      socket.write(bytesOf(`GET ${path} HTTP/1.1`, handshake).replace('Connection: close\r\n', ''));
    });
    const finish = (status: number, echoed = ''): void => {
      socket.destroy();
      resolve({ status, echoed });
    };
    let upgradedAt = -1;
    socket.on('data', chunk => {
      received = Buffer.concat([received, chunk]);
      const end = received.indexOf('\r\n\r\n');
      if (end === -1) {
        return;
      }
      const status = Number(received.toString('latin1', 9, 12));
      if (status !== 101) {
        finish(status);
        return;
      }
      if (upgradedAt === -1) {
        upgradedAt = end + 4;
        const mask = randomBytes(4);
        const payload = Buffer.from('hello').map((byte, index) => byte ^ mask[index % 4]!);
        socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | payload.length]), mask, payload]));
      }
      const frame = received.subarray(upgradedAt);
      if (frame.length >= 2 && frame.length >= 2 + frame[1]!) {
        finish(101, frame.toString('utf8', 2, 2 + frame[1]!));
      }
    });
    socket.on('error', reject);
    socket.on('end', () => {
      finish(Number(received.toString('latin1', 9, 12)));
    });
  });
}

export const OPEN_CONNECTIONS: readonly Behaviour[] = [
  {
    title: 'a WebSocket: its handshake is decided, then frames pass both ways; refused without a credential',
    async run({ port, app, world }) {
      const before = app.received.length;
      expect(await openWebSocket(port, [])).toEqual({ status: 401, echoed: '' });
      expect(await openWebSocket(port, bearer(world.bob))).toEqual({ status: 403, echoed: '' });
      expect(app.received).toHaveLength(before);
      const cookie: Pairs = [['Cookie', `gatebell=${world.session}`]];
      expect(await openWebSocket(port, cookie)).toEqual({ status: 101, echoed: 'hello' });
      expect(app.received.at(-1)?.headers).toMatchObject({ 'remote-user': ['alice'] });
    },
  },
  {
    title: 'a revocation is seen by the next request on the same open connection, through every replica; a grant too',
    async run({ call, database, replicas, app, dora }) {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const ask = (): ReturnType<typeof call> => call({ headers: bearer(dora), agent });
      const dorasGrant = `user_id = (select id from gatebell.users where name = 'dora')`;
      try {
        for (let i = 0; i < 10; i++) {
          expect((await ask()).status).toBe(200);
        }
        const before = await Promise.all(replicas.map(replica => replica.metric(GRANTS)));
        const reached = app.received.length;
        await database.sql(`delete from gatebell.grants where ${dorasGrant}`);
        for (const [index, replica] of replicas.entries()) {
          while ((await replica.metric(GRANTS)) === before[index]) {
            // The metric is asked for over HTTP: this waits without a clock.
          }
        }
        for (let i = 0; i < 10; i++) {
          expect(await ask()).toMatchObject({ status: 403, seen: null, reusedSocket: true });
        }
        expect(app.received).toHaveLength(reached);
        await database.sql(
          `insert into gatebell.grants (user_id, app_id) select u.id, a.id from gatebell.users u, gatebell.apps a
           where u.name = 'dora' and a.name = 'photos'`,
        );
        while ((await ask()).status !== 200) {
          // Comes back as fast as it went.
        }
      } finally {
        agent.destroy();
      }
    },
  },
];
