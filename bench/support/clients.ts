/**
 * Clients of a gate as a program of its own, which ask over kept-alive connections, as a proxy does for them: so many
 * times per second, or as often as they are answered. It does what it is told, see {@link ClientsCommand}.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { questionBytes, type Genome } from '../../test/security/cost/genome.js';
import { forwardHeaders, type Ask } from '../../test/support/replica.js';
import { quantile } from '../statistics.js';
import { performCommands } from './commands.js';

/** Questions that are asked in turn, and then from the first again. */
export type Questions =
  | { readonly asks: readonly Ask[] }
  /** One question, with other numbers in it each time. */
  | {
      readonly genome: Genome;
      readonly session: string;
      /** What the proxy adds to `X-Forwarded-For`. */
      readonly address: string;
      readonly times: number;
      /** Sent with each. */
      readonly body?: Body;
    };

/** A body: its bytes, and the bytes of each of its chunks; null: in one, with its length. */
export interface Body {
  readonly bytes: number;
  readonly chunk: number | null;
}

/** Some clients that ask. */
export interface Stream {
  /** As they were prepared. */
  readonly questions: string;
  readonly connections: number;
  /** Null: as often as they are answered. */
  readonly perSecond: number | null;
}

/** What clients do. */
export type ClientsCommand =
  | { readonly do: 'prepare'; readonly name: string; readonly questions: Questions }
  /** Asks all streams at once. Answers with a {@link StreamResult} for each. */
  | { readonly do: 'ask'; readonly port: number; readonly streams: readonly Stream[]; readonly seconds: number };

/** What a stream has seen. */
export interface StreamResult {
  readonly answers: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** By status and reason. */
  readonly said: Readonly<Record<string, number>>;
}

const TICK_MS = 1;
/** Answers that are still to come when the time is over are waited for so long. */
const LAST_MS = 20_000;
/** What is due and cannot be sent waits, but no more than this: who is not answered does not ask for ever. */
const DUE_MAX = 1_000;

/** A request without its end of headers, with a body behind it. */
function withBody(question: Buffer, { bytes, chunk }: Body): Buffer {
  const head = question.toString('latin1').slice(0, -'\r\n'.length);
  const parts =
    chunk === null
      ? [`Content-Length: ${bytes}\r\n\r\n`, 'x'.repeat(bytes)]
      : [
          'Transfer-Encoding: chunked\r\n\r\n',
          `${chunk.toString(16)}\r\n${'x'.repeat(chunk)}\r\n`.repeat(bytes / chunk),
          '0\r\n\r\n',
        ];
  return Buffer.from([head, ...parts].join(''), 'latin1');
}

/** Adds what the proxy knows of the client to what the client claims. */
function fromAddress(question: Buffer, address: string): Buffer {
  const text = question.toString('latin1');
  const claimed = /\r\nX-Forwarded-For: ([^\r]*)/.exec(text);
  return Buffer.from(
    claimed === null
      ? text.replace('\r\n', `\r\nX-Forwarded-For: ${address}\r\n`)
      : text.replace(claimed[0], () => `\r\nX-Forwarded-For: ${claimed[1]}, ${address}`),
    'latin1',
  );
}

function bytesOf(questions: Questions): Buffer[] {
  if ('asks' in questions) {
    return questions.asks.map(ask => {
      const headers = Object.entries(forwardHeaders(ask)).map(([name, value]) => `${name}: ${value}`);
      return Buffer.from(['GET /auth/forward HTTP/1.1', 'Host: gate', ...headers, '\r\n'].join('\r\n'), 'latin1');
    });
  }
  const { genome, session, address, times, body } = questions;
  return Array.from({ length: times }, (_, number) => {
    const question = fromAddress(questionBytes(genome, session, number), address);
    return body === undefined ? question : withBody(question, body);
  });
}

/** One question at a time; opened again when the gate has closed it. */
class Connection {
  #socket: Socket | null = null;
  #text = '';
  readonly #port: number;
  onAnswer: ((said: string) => void) | null = null;

  constructor(port: number) {
    this.#port = port;
  }

  send(bytes: Buffer): void {
    this.#socket ??= this.#open();
    this.#socket.write(bytes);
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = null;
  }

  #open(): Socket {
    const socket = connect(this.#port, '127.0.0.1').setNoDelay(true).setEncoding('latin1');
    this.#text = '';
    socket.on('data', (part: string) => {
      this.#text += part;
      const head = this.#text.indexOf('\r\n\r\n');
      const length = Number(/\r\nContent-Length: (\d+)/i.exec(this.#text)?.[1] ?? 0);
      if (head === -1 || this.#text.length < head + 4 + length) {
        return;
      }
      const reason = /\r\nX-Gatebell-Reason: (\w+)/.exec(this.#text)?.[1] ?? 'not HTTP';
      const said = `${this.#text.slice(9, 12)} ${reason}`;
      if (/\r\nConnection: close/i.test(this.#text)) {
        this.close();
      }
      this.#text = '';
      this.onAnswer?.(said);
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      if (this.#socket === socket) {
        this.#socket = null;
        this.onAnswer?.('closed');
      }
    });
    return socket;
  }
}

const prepared = new Map<string, { readonly all: readonly Buffer[]; next: number }>();

/** Asks for so long; times count from when a question was due, not from when a connection was free for it. */
async function ask(
  port: number,
  { questions, connections, perSecond }: Stream,
  seconds: number,
): Promise<StreamResult> {
  const from = prepared.get(questions)!;
  const timesMs: number[] = [];
  const said: Record<string, number> = {};
  const all = Array.from({ length: connections }, () => new Connection(port));
  const free = [...all];
  const due: number[] = [];
  let underWay = 0;
  let isOver = false;
  let onQuiet = (): void => undefined;
  const isQuiet = (): Promise<void> =>
    new Promise(resolve => {
      onQuiet = resolve;
      if (underWay === 0) {
        resolve();
      }
    });

  const take = (connection: Connection, dueMs: number): void => {
    underWay += 1;
    connection.onAnswer = answer => {
      connection.onAnswer = null;
      underWay -= 1;
      timesMs.push(performance.now() - dueMs);
      said[answer] = (said[answer] ?? 0) + 1;
      const nextMs = perSecond === null ? (isOver ? undefined : performance.now()) : due.shift();
      if (nextMs === undefined) {
        free.push(connection);
        if (isOver && underWay === 0) {
          onQuiet();
        }
      } else {
        take(connection, nextMs);
      }
    };
    connection.send(from.all[from.next++ % from.all.length]!);
  };

  const startedMs = performance.now();
  const elapsedSeconds = (): number => (performance.now() - startedMs) / 1_000;
  if (perSecond === null) {
    for (const connection of free.splice(0)) {
      take(connection, performance.now());
    }
    await sleep(seconds * 1_000);
  } else {
    let begun = 0;
    while (elapsedSeconds() < seconds) {
      const now = performance.now();
      for (const until = Math.floor(elapsedSeconds() * perSecond); begun < until; begun += 1) {
        const connection = free.shift();
        if (connection !== undefined) {
          take(connection, now);
        } else if (due.length < DUE_MAX) {
          due.push(now);
        }
      }
      await sleep(TICK_MS);
    }
  }
  isOver = true;
  const answersPerSecond = timesMs.length / elapsedSeconds();
  // Answers that are under way still come.
  await Promise.race([isQuiet(), sleep(LAST_MS)]);
  for (const connection of all) {
    connection.onAnswer = null;
    connection.close();
  }
  return {
    answers: timesMs.length,
    perSecond: answersPerSecond,
    p50Ms: quantile(timesMs, 0.5),
    p99Ms: quantile(timesMs, 0.99),
    said: underWay === 0 ? said : { ...said, unanswered: underWay },
  };
}

performCommands(async (command: ClientsCommand): Promise<unknown> => {
  if (command.do === 'prepare') {
    prepared.set(command.name, { all: bytesOf(command.questions), next: 0 });
    return null;
  }
  return Promise.all(command.streams.map(stream => ask(command.port, stream, command.seconds)));
});
