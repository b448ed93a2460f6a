/**
 * Fires cases at a gate in a process of its own, over some dozens of connections at once, and tells what went wrong: a
 * wrong answer, a connection that neither answers nor ends, a gate that dies, or whose heap grows. It is over when all
 * cases are, or at the first fault.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { BLOCK_CASES, makeBlock, type FuzzCase, type Session, type WildCase } from './cases.js';
import { judge, readTame } from './judge.js';
import type { TargetMessage } from './target.js';

export interface FuzzFault {
  /** The number of the case: with the seed, all that is needed to see it again. */
  readonly number: number;
  readonly problem: string;
  /** What was sent on the connection up to it. */
  readonly bytes: string;
}

export interface FuzzResult {
  readonly cases: number;
  readonly connections: number;
  /** Requests that reached the gate's handler. */
  readonly requests: number;
  /** How often each kind of case was met by each status; a wild case may have none or several. */
  readonly seen: ReadonlyMap<string, number>;
  /** After a third of the cases, and after each further one, garbage collected. */
  readonly heapBytes: readonly number[];
  readonly faults: readonly FuzzFault[];
}

export interface FuzzOptions {
  readonly seed: number;
  readonly cases: number;
  /** The block to begin with. */
  readonly from?: number;
  readonly connections?: number;
  readonly onProgress?: (cases: number) => void;
}

const CONNECTIONS = 48;
const THIRDS = 3;
/** Far beyond the target's limits for half-sent requests, also on a machine that is busy. */
const HANG_MS = 30_000;
/**
 * What a heap may have more at the end than after its first third: garbage that was not found, and code that was
 * compiled late.
 */
const HEAP_GROWTH_BYTES_MAX = 8 * 1024 * 1024;

class Hang extends Error {}

/** Sends the cases of a session, and resolves with all that came back when the connection has ended. */
function send(port: number, { cases }: Session): Promise<string> {
  const tame = cases.filter(each => each.type === 'tame');
  const last = cases.at(-1);
  const wild = last?.type === 'wild' ? last : null;
  return new Promise((resolve, reject) => {
    let text = '';
    let isFinishing = false;
    let isWaiting = false;
    let toWildAt = 0;
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: false, noDelay: true });
    socket.setEncoding('latin1');
    socket.setTimeout(HANG_MS, () => {
      socket.destroy();
      reject(new Hang());
    });
    const endIfAnswered = (): void => {
      if (isWaiting && text.length > toWildAt) {
        socket.end();
      }
    };
    const finish = (): void => {
      isFinishing = true;
      toWildAt = text.length;
      if (wild === null) {
        socket.end();
      } else {
        writeWild(wild);
      }
    };
    const writeWild = ({ bytes, cuts, ending }: WildCase): void => {
      const pieces = [0, ...cuts].map((cut, at) => bytes.slice(cut, cuts[at] ?? bytes.length));
      const writeNext = (at: number): void => {
        const piece = pieces[at];
        if (piece !== undefined) {
          socket.write(piece, 'latin1');
          setImmediate(writeNext, at + 1);
        } else if (ending === 'half-close') {
          socket.end();
        } else if (ending === 'reset') {
          socket.resetAndDestroy();
        } else {
          // Whoever waits is thrown out by the server's limits, unless all was said and is answered: then it is he who
          // has to go.
          isWaiting = true;
          endIfAnswered();
        }
      };
      writeNext(0);
    };
    socket.on('connect', () => {
      if (tame.length === 0) {
        finish();
      } else {
        socket.write(tame.map(({ bytes }) => bytes).join(''), 'latin1');
      }
    });
    socket.on('data', (part: string) => {
      text += part;
      if (!isFinishing && readTame(text, tame).answers.length === tame.length) {
        finish();
      }
      endIfAnswered();
    });
    // A reset is an end as well: Node closes on what it cannot read while bytes are still coming.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => resolve(text));
  });
}

interface Target {
  readonly port: number;
  readonly process: ChildProcess;
  measure(): Promise<Extract<TargetMessage, { type: 'measure' }>>;
  stop(): Promise<void>;
}

async function startTarget(): Promise<Target> {
  const child = fork(fileURLToPath(new URL('target.ts', import.meta.url)), {
    execArgv: ['--expose-gc', '--import', 'tsx'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const ended = once(child, 'exit');
  const next = async (): Promise<TargetMessage> => {
    const [message] = (await Promise.race([
      once(child, 'message'),
      ended.then(([code]) => {
        throw new Error(`the gate has died, with ${String(code)}`);
      }),
    ])) as [TargetMessage];
    return message;
  };
  const listening = await next();
  if (listening.type !== 'listening') {
    throw new Error('the gate does not listen');
  }
  return {
    port: Number(new URL(listening.url).port),
    process: child,
    async measure() {
      child.send('measure');
      const message = await next();
      if (message.type !== 'measure') {
        throw new Error('the gate answers something else');
      }
      return message;
    },
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

const bytesOf = (cases: readonly FuzzCase[]): string => cases.map(({ bytes }) => bytes).join('');

/** Runs the cases. */
export async function fuzz({
  seed,
  cases,
  from = 0,
  connections = CONNECTIONS,
  onProgress,
}: FuzzOptions): Promise<FuzzResult> {
  const target = await startTarget();
  const seen = new Map<string, number>();
  const faults: FuzzFault[] = [];
  const heapBytes: number[] = [];
  const blocks = Math.ceil(cases / BLOCK_CASES);
  let done = 0;
  let opened = 0;
  let requests = 0;

  const note = ({ cases: sent }: Session, text: string): void => {
    const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => status!);
    for (const [at, { kind, type }] of sent.entries()) {
      const own = type === 'tame' ? [statuses[at]] : statuses.length === at ? ['none'] : statuses.slice(at);
      for (const status of own) {
        const name = `${kind}: ${status}`;
        seen.set(name, (seen.get(name) ?? 0) + 1);
      }
    }
  };
  const run = async (session: Session): Promise<void> => {
    opened += 1;
    let text: string;
    try {
      text = await send(target.port, session);
    } catch (error) {
      if (!(error instanceof Hang)) {
        throw error;
      }
      faults.push({ number: session.first, problem: 'neither answered nor ended', bytes: bytesOf(session.cases) });
      return;
    }
    note(session, text);
    const fault = judge(session.cases, text);
    if (fault !== null) {
      const bytes = bytesOf(session.cases.slice(0, fault.at + 1));
      faults.push({ number: session.first + fault.at, problem: fault.problem, bytes });
    }
    done += session.cases.length;
  };

  try {
    for (let third = 1; third <= THIRDS; third += 1) {
      let next = from + Math.floor((blocks * (third - 1)) / THIRDS);
      const end = from + Math.floor((blocks * third) / THIRDS);
      const work = async (): Promise<void> => {
        while (next < end && faults.length === 0) {
          const block = next;
          next += 1;
          for (const session of makeBlock(seed, block)) {
            await run(session);
          }
          onProgress?.(done);
        }
      };
      await Promise.all(Array.from({ length: connections }, work));
      const measured = await target.measure();
      heapBytes.push(measured.heapBytes);
      requests = measured.requests;
      for (const failure of measured.failures) {
        faults.push({ number: end * BLOCK_CASES, problem: `the gate failed: ${failure}`, bytes: '' });
      }
    }
    const growth = heapBytes.at(-1)! - heapBytes[0]!;
    if (growth > HEAP_GROWTH_BYTES_MAX) {
      faults.push({ number: done, problem: `the heap has grown by ${growth} bytes`, bytes: '' });
    }
  } catch (error) {
    faults.push({ number: done, problem: String(error), bytes: '' });
  } finally {
    if (target.process.exitCode === null) {
      await target.stop();
    }
  }
  return { cases: done, connections: opened, requests, seen, heapBytes, faults };
}
