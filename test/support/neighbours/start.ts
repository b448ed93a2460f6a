/** Real apps and servers that believe what a gate might overlook, each as a process of its own on a free port. */
import { cp, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../../src/dev/postgres.js';
import { startServerProcess, type ServerProcess } from '../server-process.js';
import { findTool, howToInstall, type Tool } from '../tool.js';

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

interface Launch {
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

/** Starts a program on a free port. A failure says how to install what may be missing. */
async function start(
  tool: Tool,
  launch: (port: number, scratch: string) => Launch | Promise<Launch>,
): Promise<ServerProcess> {
  const program = findTool(tool);
  const port = await freePort();
  try {
    return await startServerProcess(port, async scratch => ({ program, ...(await launch(port, scratch)) }));
  } catch (error) {
    throw new Error(`if a library is missing, ${howToInstall(tool)}`, { cause: error });
  }
}

/** gunicorn with a Flask app and its usual middleware. */
export const startFlask = (): Promise<ServerProcess> =>
  start('gunicorn', port => ({
    args: [
      '--bind',
      `127.0.0.1:${port}`,
      '--workers',
      '1',
      '--chdir',
      here('flask'),
      '--worker-tmp-dir',
      '/tmp',
      'app:app',
    ],
    env: { PYTHONDONTWRITEBYTECODE: '1' },
  }));

/** hypercorn, which takes upgrades to h2c and WebSockets. */
export const startHypercorn = (): Promise<ServerProcess> =>
  start('hypercorn', port => ({
    args: ['--bind', `127.0.0.1:${port}`, 'app:app'],
    env: { PYTHONPATH: here('asgi'), PYTHONDONTWRITEBYTECODE: '1' },
  }));

export const startRails = (): Promise<ServerProcess> =>
  start('ruby', port => ({ args: [here('rails/app.rb'), String(port)], env: { RAILS_ENV: 'production' } }));

/** PHP's own server, with a front controller. */
export const startPhp = (): Promise<ServerProcess> =>
  start('php', port => ({ args: ['-S', `127.0.0.1:${port}`, '-t', here('php')] }));

const TOMCAT = '/usr/share/tomcat10';

/** Tomcat, which takes upgrades to h2c and believes X-Forwarded-*. */
export const startTomcat = (): Promise<ServerProcess> =>
  start('java', async (port, scratch) => {
    const app = path.join(scratch, 'webapps/ROOT/WEB-INF');
    await Promise.all([
      mkdir(app, { recursive: true }),
      mkdir(path.join(scratch, 'temp')),
      mkdir(path.join(scratch, 'conf')),
    ]);
    await cp(here('tomcat/server.xml'), path.join(scratch, 'conf/server.xml'));
    await cp(here('tomcat/web.xml'), path.join(app, 'web.xml'));
    await cp(here('tomcat/belief.jsp'), path.join(app, 'belief.jsp'));
    return {
      args: [
        '-Xmx128m',
        '-XX:TieredStopAtLevel=1',
        '-cp',
        `${TOMCAT}/bin/bootstrap.jar:${TOMCAT}/bin/tomcat-juli.jar`,
        `-Dcatalina.home=${TOMCAT}`,
        `-Dcatalina.base=${scratch}`,
        `-Djava.io.tmpdir=${scratch}/temp`,
        `-Dneighbour.port=${port}`,
        'org.apache.catalina.startup.Bootstrap',
        'start',
      ],
    };
  });

/** Files of the nginx upstream, with what they hold. */
const FILES = {
  'index.html': 'welcome',
  'about.html': 'about',
  'pub/x.txt': 'x',
  'admin/index.html': 'admin',
  'private.html': 'private',
  'private.zip': 'archive',
} as const;

/** nginx as an upstream: files by try_files, and WebDAV. */
export const startNginxFiles = (): Promise<ServerProcess> =>
  start('nginx', async (port, scratch) => {
    const root = path.join(scratch, 'files');
    for (const [name, content] of Object.entries(FILES)) {
      await mkdir(path.dirname(path.join(root, name)), { recursive: true });
      await writeFile(path.join(root, name), content);
    }
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map(name => `${name}_temp_path ${scratch}/${name};`)
      .join(' ');
    const conf = path.join(scratch, 'nginx.conf');
    // As root, its worker would otherwise be another user, who may not write here.
    const user = process.getuid?.() === 0 ? 'user root;' : '';
    await writeFile(
      conf,
      `daemon off; master_process off; pid ${scratch}/pid; error_log stderr crit; ${user}
       events { worker_connections 64; }
       http {
         access_log off; ${temporary}
         server {
           listen 127.0.0.1:${port}; root ${root};
           create_full_put_path on; dav_methods PUT DELETE MKCOL COPY MOVE;
           location / { try_files $uri $uri.html $uri/index.html =404; }
           # Without try_files, which would look for a file before it is put there.
           location ~ ^/(pub|admin)/ { index index.html; }
         }
       }\n`,
    );
    return { args: ['-p', scratch, '-c', conf, '-e', 'stderr'] };
  });
