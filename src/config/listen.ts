/** How a Unix socket is named, and who may use it: the texts of `GATEBELL_LISTEN` and its companions. */
import path from 'node:path';
import { SOCKET_PATH_BYTES_MAX, socketPathBytes } from '../http/unix-socket.js';

const SCHEME = 'unix:';

/** What is wrong with the name of a socket; null: nothing that has words of its own, or nothing at all. */
export function socketProblem(text: string): string | null {
  if (!text.startsWith(SCHEME)) {
    return null;
  }
  const file = text.slice(SCHEME.length);
  if (file.startsWith('@')) {
    return 'an abstract socket has no mode, so every local user could ask as a proxy does';
  }
  if (!path.isAbsolute(file)) {
    return 'this path is not absolute';
  }
  if (file.endsWith('/')) {
    return 'this path is that of a directory';
  }
  if (/[\x00-\x1f\x7f]/.test(file)) {
    return 'this path holds a control character';
  }
  const bytes = socketPathBytes(file);
  return bytes > SOCKET_PATH_BYTES_MAX ? `this one takes ${bytes}` : null;
}

/** `unix:/run/gatebell/auth.sock` */
export const socketPath = (text: string): string | undefined =>
  text.startsWith(SCHEME) && socketProblem(text) === null ? text.slice(SCHEME.length) : undefined;

const OWNER_READS_AND_WRITES = 0o600;

/** `0660` or `660` */
export function socketMode(text: string): number | undefined {
  const mode = /^0?[0-7]{3}$/.test(text) ? Number.parseInt(text, 8) : 0;
  return (mode & OWNER_READS_AND_WRITES) === OWNER_READS_AND_WRITES ? mode : undefined;
}

/** The name or the number of a group. */
export const groupName = (text: string): string | undefined =>
  /^(?:[0-9]{1,9}|[A-Za-z_][\w.-]{0,63})$/.test(text) ? text : undefined;
