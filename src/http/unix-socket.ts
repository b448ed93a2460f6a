/**
 * The file of a Unix socket: how it comes, whose it is, and how it goes.
 *
 * A server listens under a private name first. With its mode and its group, the socket then gets its own name by a
 * link, which fails if that name is taken. So nobody finds a socket there whose mode is another one, or that does not
 * listen yet: one that refuses connections was left by a process that has ended.
 */
import { randomInt } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { chmod, chown, link, lstat, readFile, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** What the address of a socket may hold: `sun_path` of Linux without its end, unix(7). */
export const SOCKET_PATH_BYTES_MAX = 107;

/** Of a process that binds a socket: until the socket has its mode, its owner alone may connect. */
export const BINDING_UMASK = 0o177;

/** Attempts to get a name that other processes take or free at the same time, and the time between them. */
const ATTEMPTS = 40;
const RETRY_MS = 25;
const PRIVATE_DIGITS = 5;
const PRIVATE_RADIX = 36;

/** Where a socket is, and who may connect. */
export interface SocketPlace {
  /** Absolute, and such that {@link socketPathBytes} is within the limit. */
  readonly path: string;
  /** Permission bits: all who may write may connect. */
  readonly mode: number;
  /** Name or number of its group; null: that of the process. */
  readonly group: string | null;
}

/** A socket's file. */
export interface SocketFile {
  /** As logs name it: `unix:/run/gatebell/auth.sock`. */
  readonly url: string;
  /** Where the server listens until the socket has its own name. */
  readonly privatePath: string;
  /**
   * Gives what listens under the private name its mode, its group and its own name. Does nothing if nothing listens
   * there, or after {@link remove}. A socket that was left under its own name is removed first.
   *
   * @throws if somebody listens there, if what is there is no socket, or if the system refuses
   */
  publish(): Promise<void>;
  /**
   * Removes the file if it is still the one that was published, also if that is under way. Idempotent. To be called
   * before the server closes.
   */
  remove(): Promise<void>;
}

/** What a name in the file system is, of what matters to a socket. */
export type SocketFinding = 'nothing' | 'foreign' | 'listening' | 'left';

/** Bytes that the path takes, or the private name beside it if that is longer. */
export const socketPathBytes = (file: string): number =>
  Math.max(Buffer.byteLength(file), Buffer.byteLength(path.dirname(file)) + '/.'.length + PRIVATE_DIGITS);

function privateName(file: string): string {
  const digits = randomInt(PRIVATE_RADIX ** PRIVATE_DIGITS)
    .toString(PRIVATE_RADIX)
    .padStart(PRIVATE_DIGITS, '0');
  return path.join(path.dirname(file), `.${digits}`);
}

/** The name that a socket has, too, while it is being removed: only one process at a time can give it. */
const secondName = (file: string): string => `${file}.left`;

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '');

async function look(file: string): Promise<BigIntStats | null> {
  try {
    return await lstat(file, { bigint: true });
  } catch (error) {
    if (codeOf(error) === 'ENOENT') {
      return null;
    }
    throw error;
  }
}

/** Whether it is one and the same file. An inode is used again at once, so the time belongs to it. */
const isSame = (one: BigIntStats, other: BigIntStats | null): boolean =>
  one.dev === other?.dev && one.ino === other.ino && one.mtimeNs === other.mtimeNs;

/** Whether somebody listens there. @throws if it cannot find out, as without the right to connect */
function isListening(file: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(file);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', error => {
      const code = codeOf(error);
      if (code === 'ECONNREFUSED' || code === 'ENOENT') {
        resolve(false);
      } else if (code === 'EAGAIN') {
        // Its queue of connections is full.
        resolve(true);
      } else {
        reject(error);
      }
    });
  });
}

/** Says what is there. @throws if it cannot find out */
export async function examineSocket(file: string): Promise<SocketFinding> {
  const found = await look(file);
  return found === null ? 'nothing' : !found.isSocket() ? 'foreign' : (await isListening(file)) ? 'listening' : 'left';
}

function refused(file: string, problem: string): Error {
  return new Error(`cannot listen on unix:${file}: ${problem}`);
}

/**
 * Makes the name free if nobody listens there. Others may be doing the same: only one at a time has the second name,
 * and what it leads to is what was looked at before, or is left alone.
 */
async function removeLeft(file: string): Promise<void> {
  const found = await look(file);
  if (found === null) {
    return;
  }
  const finding = await examineSocket(file);
  if (finding === 'foreign') {
    throw refused(file, 'there is a file that is no socket; it is never removed');
  }
  if (finding === 'listening') {
    throw refused(file, 'another process listens there');
  }
  const second = secondName(file);
  try {
    await link(file, second);
  } catch (error) {
    switch (codeOf(error)) {
      case 'ENOENT':
        return;
      case 'EEXIST':
        await sleep(RETRY_MS);
        return;
      case 'EPERM':
        throw refused(file, 'there is a socket that another user has left; remove it');
      default:
        throw error;
    }
  }
  if (isSame(found, await look(second))) {
    await unlink(file);
  }
  await unlink(second);
}

/** The number of a group. @throws if there is no such group */
export async function findGroup(group: string, groupFile = '/etc/group'): Promise<number> {
  if (/^[0-9]+$/.test(group)) {
    return Number(group);
  }
  const entries = (await readFile(groupFile, 'utf8')).split('\n').map(line => line.split(':'));
  const [, , number] = entries.find(([name]) => name === group) ?? [];
  if (number === undefined) {
    throw new Error(`there is no group ${JSON.stringify(group)} in ${groupFile}; give its number if it is elsewhere`);
  }
  return Number(number);
}

/** Creates the life of a socket's file; nothing is there yet. */
export function createSocketFile({ path: file, mode, group }: SocketPlace): SocketFile {
  const privatePath = privateName(file);
  let own: BigIntStats | null = null;
  let publishing = Promise.resolve();
  let isRemoved = false;

  const giveName = async (): Promise<void> => {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      try {
        await link(privatePath, file);
        return;
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') {
          throw error;
        }
      }
      await removeLeft(file);
    }
    throw refused(
      file,
      `another process is removing the socket that was left there; if none is, remove ${secondName(file)}`,
    );
  };

  const giveGroup = async (name: string): Promise<void> => {
    try {
      await chown(privatePath, -1, await findGroup(name));
    } catch (error) {
      const hint = codeOf(error) === 'EPERM' ? ' (who runs gatebell must be a member of it)' : '';
      throw refused(file, `it cannot be of group ${name}: ${error instanceof Error ? error.message : ''}${hint}`);
    }
  };

  const publish = async (): Promise<void> => {
    const bound = isRemoved ? null : await look(privatePath);
    if (bound === null) {
      return;
    }
    if (group !== null) {
      await giveGroup(group);
    }
    await chmod(privatePath, mode);
    await giveName();
    own = bound;
    await unlink(privatePath);
  };

  return {
    url: `unix:${file}`,
    privatePath,
    publish() {
      // One after the other: several workers listen under one name.
      publishing = publishing.catch(() => undefined).then(publish);
      return publishing;
    },
    async remove() {
      isRemoved = true;
      // Else it would get its name after this.
      await publishing.catch(() => undefined);
      if (own !== null && isSame(own, await look(file))) {
        await unlink(file);
      }
      own = null;
    },
  };
}
