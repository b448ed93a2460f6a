/**
 * Programs that end-to-end tests and measurements need besides Node; a missing one is a failure that says how to
 * install it.
 */
import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';

/** Where Debian keeps programs that only root finds. */
const SEARCH_PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin`;

/** Debian packages of each program, and of what the tests run with it. */
const PACKAGES = {
  caddy: 'caddy',
  chromium: 'chromium',
  curl: 'curl',
  'docker-compose': 'docker-compose',
  gunicorn: 'gunicorn python3-flask',
  haproxy: 'haproxy',
  hypercorn: 'python3-hypercorn',
  java: 'tomcat10-common',
  nginx: 'nginx',
  openssl: 'openssl',
  pgbouncer: 'pgbouncer',
  php: 'php-cli',
  promtool: 'prometheus',
  psql: 'postgresql-client',
  'redis-server': 'redis-server',
  ruby: 'ruby-railties ruby-webrick',
  script: 'bsdutils',
  wrk: 'wrk',
} as const;

export type Tool = keyof typeof PACKAGES;

function searchTool(tool: Tool): string | null {
  for (const folder of SEARCH_PATH.split(path.delimiter)) {
    const file = path.join(folder, tool);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      continue;
    }
  }
  return null;
}

/** Whether the program is installed. */
export const hasTool = (tool: Tool): boolean => searchTool(tool) !== null;

/** How to install a program. */
export const howToInstall = (tool: Tool): string =>
  `on Debian: apt-get install --no-install-recommends ${PACKAGES[tool]}`;

/** Path of the program. @throws when it is not installed */
export function findTool(tool: Tool): string {
  const file = searchTool(tool);
  if (file === null) {
    throw new Error(`${tool} is not installed; ${howToInstall(tool)}`);
  }
  return file;
}

/** Runs the program to its end and returns what it said; rejects when it fails. */
export function runTool(
  tool: Tool,
  args: readonly string[],
  {
    input = '',
    env = {},
    cwd,
  }: { readonly input?: string; readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      findTool(tool),
      args,
      { env: { ...process.env, PATH: SEARCH_PATH, ...env }, ...(cwd === undefined ? {} : { cwd }) },
      (error, stdout, stderr) => {
        if (error === null) {
          resolve(stdout + stderr);
        } else {
          reject(new Error(`${tool} ${args.join(' ')} failed: ${stdout}${stderr}`, { cause: error }));
        }
      },
    );
    child.stdin?.end(input);
  });
}
