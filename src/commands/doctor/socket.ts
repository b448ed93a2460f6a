/** Whether the Unix socket of the auth endpoints can be listened on, and who may ask there. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import path from 'node:path';
import type { Config } from '../../config/config.js';
import { examineSocket, findGroup, type SocketFinding } from '../../http/unix-socket.js';
import { errorText } from '../../ops/log-lines.js';
import type { Check } from './check.js';

const OTHERS_WRITE = 0o002;

const FINDINGS: Readonly<Record<SocketFinding, string>> = {
  nothing: 'nobody listens there yet',
  listening: 'a replica listens there',
  left: 'a replica that has ended has left it; the next one removes it',
  foreign: 'there is a file that is no socket: no replica can listen there until you move it',
};

/** Looks at the socket as the next replica would; null: there is none, a port is used. */
export async function checkSocket(
  config: Pick<Config, 'listenPath' | 'listenMode' | 'listenGroup' | 'proxySecret'>,
): Promise<Check | null> {
  const { listenPath, listenMode, listenGroup, proxySecret } = config;
  if (listenPath === null) {
    return null;
  }
  const name = 'auth socket';
  try {
    await access(path.dirname(listenPath), constants.W_OK | constants.X_OK);
    if (listenGroup !== null) {
      await findGroup(listenGroup);
    }
    const finding = await examineSocket(listenPath);
    const isOpen = (listenMode & OTHERS_WRITE) !== 0 && proxySecret === null;
    const warning = isOpen ? '; with its mode every local user may ask: set GATEBELL_PROXY_SECRET, too' : '';
    return {
      name,
      ok: finding !== 'foreign',
      warning: isOpen,
      detail: `unix:${listenPath}: ${FINDINGS[finding]}${warning}`,
    };
  } catch (error) {
    return { name, ok: false, detail: `unix:${listenPath}: ${errorText(error)}` };
  }
}
