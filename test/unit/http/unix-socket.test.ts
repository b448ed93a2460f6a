/** How the file of a Unix socket comes and goes, with real servers in a folder of the test's own. */
import { once } from 'node:events';
import {
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { createServer, connect, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createHttpServer } from '../../../src/http/server.js';
import { createSocketFile, examineSocket, findGroup, type SocketFile } from '../../../src/http/unix-socket.js';

/** Of starting at once. */
const ROUNDS = 40;

let folder: string;
let file: string;
const servers: Server[] = [];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'gatebell-socket-'));
  file = path.join(folder, 'auth.sock');
});

afterEach(async () => {
  await Promise.all(servers.splice(0).map(stop));
  await rm(folder, { recursive: true });
});

/** A server that says who it is to everybody who connects. */
async function listenOn(name: string, says: string): Promise<Server> {
  const server = createServer(socket => {
    // Who only wants to know whether somebody is there reads nothing.
    socket.on('error', () => undefined);
    socket.end(says);
  }).listen(name);
  servers.push(server);
  await once(server, 'listening');
  return server;
}

const stop = (server: Server): Promise<unknown> =>
  server.listening ? new Promise(resolve => server.close(resolve)) : Promise.resolve();

/** What answers under the name. */
async function heard(name = file): Promise<string> {
  const socket = connect(name);
  let text = '';
  for await (const chunk of socket.setEncoding('utf8')) {
    text += String(chunk);
  }
  return text;
}

async function start(says: string, place: { mode?: number; group?: string | null } = {}): Promise<SocketFile> {
  const socket = createSocketFile({ path: file, mode: 0o660, group: null, ...place });
  await listenOn(socket.privatePath, says);
  return socket;
}

/** A socket that a killed process has left. */
async function leave(): Promise<void> {
  const name = path.join(folder, 'killed');
  const server = await listenOn(name, 'killed');
  await link(name, file);
  await stop(server);
}

const modeOf = async (): Promise<number> => (await lstat(file)).mode & 0o777;

describe('a socket', () => {
  test.each([0o600, 0o660, 0o666, 0o777])('has its mode, whatever the umask: %o', async mode => {
    const before = process.umask(0o077);
    try {
      const socket = await start('one', { mode });
      expect(await readdir(folder)).toEqual([path.basename(socket.privatePath)]);
      await socket.publish();
      expect(await modeOf()).toBe(mode);
      expect(await readdir(folder)).toEqual(['auth.sock']);
      expect(await heard()).toBe('one');
    } finally {
      process.umask(before);
    }
  });

  test('has its group', async () => {
    const own = process.getgid!();
    const group = process.getuid!() === 0 ? own + 1_234 : own;
    const socket = await start('one', { group: String(group) });
    await socket.publish();
    expect((await lstat(file)).gid).toBe(group);
  });

  test('is not there if its group is not', async () => {
    const socket = await start('one', { group: 'no-such-group' });
    await expect(socket.publish()).rejects.toThrow(/^cannot listen on unix:.*there is no group "no-such-group" in/);
    expect(await examineSocket(file)).toBe('nothing');
  });

  test('goes with remove(), which may be called again', async () => {
    const socket = await start('one');
    await socket.publish();
    await socket.remove();
    await socket.remove();
    expect(await readdir(folder)).toEqual([]);
  });

  test('goes with remove() while it is being published, and does not come again', async () => {
    const socket = await start('one');
    const published = socket.publish();
    await socket.remove();
    await published;
    expect(await examineSocket(file)).toBe('nothing');
    await stop(servers[0]!);
    await listenOn(socket.privatePath, 'anew');
    await socket.publish();
    expect(await examineSocket(file)).toBe('nothing');
  });

  test('is published once by several workers that share it, and again when it was bound anew', async () => {
    const socket = await start('one');
    await Promise.all([socket.publish(), socket.publish(), socket.publish()]);
    expect(await heard()).toBe('one');
    await stop(servers[0]!);
    expect(await examineSocket(file)).toBe('left');
    await listenOn(socket.privatePath, 'anew');
    await socket.publish();
    expect(await heard()).toBe('anew');
    expect(await modeOf()).toBe(0o660);
    await socket.remove();
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('under a name that is taken', () => {
  test('a socket that was left is replaced', async () => {
    await leave();
    expect(await examineSocket(file)).toBe('left');
    const socket = await start('new');
    await socket.publish();
    expect(await heard()).toBe('new');
    expect(await readdir(folder)).toEqual(['auth.sock']);
  });

  test('one that somebody listens on is refused, and stays', async () => {
    const first = await start('first');
    await first.publish();
    const second = await start('second');
    await expect(second.publish()).rejects.toThrow(`cannot listen on unix:${file}: another process listens there`);
    await second.remove();
    await stop(servers[1]!);
    expect(await heard()).toBe('first');
    expect(await readdir(folder)).toEqual(['auth.sock']);
  });

  test.each([
    ['a file', () => writeFile(file, 'precious')],
    ['an empty file', () => writeFile(file, '')],
    ['a directory', () => mkdir(file)],
    [
      'a symbolic link to a socket that was left',
      async () => {
        await leave();
        await rename(file, `${file}.left`);
        await symlink(`${file}.left`, file);
      },
    ],
    ['a symbolic link to nothing', () => symlink(path.join(folder, 'nothing'), file)],
  ])('%s is never removed', async (_, make) => {
    await make();
    const before = await lstat(file, { bigint: true });
    const socket = await start('new');
    await expect(socket.publish()).rejects.toThrow(/there is a file that is no socket; it is never removed$/);
    await socket.remove();
    const after = await lstat(file, { bigint: true });
    expect([after.ino, after.mtimeNs, after.mode]).toEqual([before.ino, before.mtimeNs, before.mode]);
    if (after.isFile() && after.size > 0) {
      expect(await readFile(file, 'utf8')).toBe('precious');
    }
  });

  test('of many that come at once where one was left, one gets the name, and the others say why not', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      await leave();
      const names = ['a', 'b', 'c', 'd'];
      const sockets = await Promise.all(names.map(name => start(name)));
      // Each begins a little later, by more in each round: at any step of the others.
      const results = await Promise.allSettled(
        sockets.map(async (socket, index) => {
          for (let step = 0; step < (index * round) / 2; step += 1) {
            await lstat(folder);
          }
          await socket.publish();
        }),
      );
      const winners = names.filter((_, index) => results[index]!.status === 'fulfilled');
      expect(winners).toHaveLength(1);
      for (const result of results) {
        if (result.status === 'rejected') {
          expect(String(result.reason)).toContain('another process listens there');
        }
      }
      expect(await heard()).toBe(winners[0]);
      await sockets[names.indexOf(winners[0]!)]!.remove();
      await Promise.all(servers.splice(0).map(stop));
      expect(await readdir(folder)).toEqual([]);
    }
  });

  test('a removal that never ends is reported', async () => {
    await leave();
    await link(file, `${file}.left`);
    const socket = await start('new');
    await expect(socket.publish()).rejects.toThrow(`if none is, remove ${file}.left`);
    expect(await examineSocket(file)).toBe('left');
  });

  test('what another has put there since is not removed', async () => {
    const first = await start('first');
    await first.publish();
    await unlink(file);
    const second = await start('second');
    await second.publish();
    await first.remove();
    expect(await heard()).toBe('second');
  });
});

describe('a group', () => {
  test('is found by its name, or is a number', async () => {
    const groups = path.join(folder, 'group');
    await writeFile(groups, 'root:x:0:\nwww-data:x:33:\nwww:x:34:alice,www-data\n');
    expect(await findGroup('www-data', groups)).toBe(33);
    expect(await findGroup('www', groups)).toBe(34);
    expect(await findGroup('4711', groups)).toBe(4_711);
    await expect(findGroup('alice', groups)).rejects.toThrow('there is no group "alice" in');
  });
});

test('until it has its mode, nobody else may connect, whatever the umask is', async () => {
  const server = createHttpServer(() => undefined);
  const before = process.umask(0);
  try {
    const listening = once(server, 'listening');
    server.listenOnSocket(file);
    expect(process.umask()).toBe(0);
    expect((await lstat(file)).mode & 0o777).toBe(0o600);
    await listening;
  } finally {
    process.umask(before);
    await stop(server);
  }
});
