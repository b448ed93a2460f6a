/** A replica as a process of its own, on free ports; tests wait for what it observes, never for time. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

/** One line of a replica's log. */
export interface Line {
  readonly event: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

/** What a proxy would ask about. */
export interface Ask {
  readonly host?: string;
  readonly uri?: string;
  readonly method?: string;
  readonly token?: string;
  readonly cookie?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An answer, in short. */
export interface Answer {
  readonly status: number;
  readonly reason: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface Replica {
  readonly name: string;
  readonly auth: string;
  readonly ops: string;
  readonly child: ChildProcess;
  readonly lines: readonly Line[];
  /** The first line that fits, of those to come or, from `since` on, of those that came. */
  waitFor(fits: (line: Line) => boolean, since?: number): Promise<Line>;
  ask(ask?: Ask): Promise<Answer>;
  /** Asks again and again until the answer has this reason. */
  askUntil(reason: string, ask?: Ask): Promise<Answer>;
  get(path: string): Promise<Answer>;
  /** Value of a series; 0 if it is not there. */
  metric(series: string): Promise<number>;
  /** The exit code, when it has ended. */
  readonly exited: Promise<number | null>;
  /** Asks it to stop, and waits. */
  stop(): Promise<number | null>;
}

const agent = new Agent({ keepAlive: true });

/** A path of a server's, which is known by its URL, or by `unix:` and the path of its socket. */
export const pathOf = (
  server: string,
  path: string,
): string | { readonly socketPath: string; readonly path: string } =>
  server.startsWith('unix:') ? { socketPath: server.slice('unix:'.length), path } : `${server}${path}`;

/** One HTTP request over kept-alive connections. */
export async function fetchAnswer(
  address: ReturnType<typeof pathOf>,
  headers: Readonly<Record<string, string>> = {},
  method = 'GET',
): Promise<Answer> {
  const options = { method, headers, agent };
  const request = typeof address === 'string' ? httpRequest(address, options) : httpRequest({ ...address, ...options });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let body = '';
  for await (const chunk of response.setEncoding('utf8')) {
    body += String(chunk);
  }
  return {
    status: response.statusCode ?? 0,
    reason: String(response.headers['x-gatebell-reason'] ?? ''),
    headers: response.headers,
    body,
  };
}

/** The headers that a proxy sends for an ask. */
export function forwardHeaders({
  host = 'photos.test',
  uri = '/',
  method = 'GET',
  token,
  cookie,
  headers = {},
}: Ask): Record<string, string> {
  return {
    'X-Forwarded-Method': method,
    'X-Forwarded-Proto': 'https',
    'X-Forwarded-Host': host,
    'X-Forwarded-Uri': uri,
    ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
    ...(cookie === undefined ? {} : { Cookie: `gatebell=${cookie}` }),
    ...headers,
  };
}

/** Starts a replica and waits until it is live, or, with `live: false`, until it listens. */
export async function startReplica(
  databaseUrl: string,
  {
    env = {},
    live = true,
    name = 'test',
    nodeArgs = [],
    cli = CLI,
  }: {
    readonly env?: NodeJS.ProcessEnv;
    readonly live?: boolean;
    readonly name?: string;
    /** Flags of Node itself. */
    readonly nodeArgs?: readonly string[];
    /** The built command; that of another commit to compare with. */
    readonly cli?: string;
  } = {},
): Promise<Replica> {
  const child = spawn(process.execPath, [...nodeArgs, cli, 'serve'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      DATABASE_URL: databaseUrl,
      GATEBELL_PORT: '0',
      GATEBELL_OPS_PORT: '0',
      GATEBELL_REPLICA: name,
      GATEBELL_LOG_FORMAT: 'json',
      ...env,
    },
  });
  const lines: Line[] = [];
  const waiting = new Set<(line: Line) => void>();
  let errors = '';
  let ended = false;
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  createInterface({ input: child.stdout }).on('line', text => {
    const line = JSON.parse(text) as Line;
    lines.push(line);
    for (const look of waiting) {
      look(line);
    }
  });
  const exit = once(child, 'exit').then(([code]) => {
    ended = true;
    return code as number | null;
  });

  const waitFor = async (fits: (line: Line) => boolean, since = lines.length): Promise<Line> => {
    const already = lines.slice(since).find(fits);
    if (already !== undefined) {
      return already;
    }
    let look: (line: Line) => void = () => undefined;
    const found = new Promise<Line>(resolve => {
      look = line => {
        if (fits(line)) {
          resolve(line);
        }
      };
      waiting.add(look);
    });
    const lost = exit.then(code => {
      throw new Error(`the replica ended with exit code ${code}: ${errors}`);
    });
    try {
      return await Promise.race([found, lost]);
    } finally {
      waiting.delete(look);
      lost.catch(() => undefined);
    }
  };

  const listening = await waitFor(line => line.event === 'listening', 0);
  if (live) {
    await waitFor(line => line.event === 'listener_state' && line['to'] === 'live', 0);
  }
  const auth = String(listening['auth']);
  const ops = String(listening['ops']);
  const ask = (asked: Ask = {}): Promise<Answer> =>
    fetchAnswer(pathOf(auth, asked.path ?? '/auth/forward'), forwardHeaders(asked));
  return {
    name,
    auth,
    ops,
    child,
    lines,
    waitFor,
    ask,
    async askUntil(reason, asked) {
      for (;;) {
        const answer = await ask(asked);
        if (answer.reason === reason) {
          return answer;
        }
      }
    },
    get: path => fetchAnswer(`${ops}${path}`),
    async metric(series) {
      const { body } = await fetchAnswer(`${ops}/metrics`);
      const line = body.split('\n').find(text => text.startsWith(`${series} `));
      return line === undefined ? 0 : Number(line.slice(series.length + 1));
    },
    exited: exit,
    async stop() {
      if (!ended) {
        child.kill('SIGTERM');
      }
      return exit;
    },
  };
}

/** Whether the replica says that it is live again, from line `since` on. */
export function becomesLive(replica: Replica, since: number): Promise<Line> {
  return replica.waitFor(line => line.event === 'listener_state' && line['to'] === 'live', since);
}
