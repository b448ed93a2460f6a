/**
 * Runs nemeses on a cluster, one after the other, and judges every answer by the history of commits.
 *
 * For each: the writers go on and the nemesis comes; it is in force for a while; it goes; the replicas recover; then
 * the writers pause, so that every commit is known to have happened or not, and the answers are judged. Readers and
 * history go on from one nemesis to the next: what one has left behind, the next one's answers show, and a calm time at
 * the end the last one's.
 */
import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { isStrong, isUnavailable, type Answer } from './answer.js';
import type { TcpProxy } from '../support/tcp-proxy.js';
import { createChecker, describeViolation, stalenessMs, type Checker } from './checker.js';
import { startCluster, type Cluster, type ClusterOptions, type Member } from './cluster.js';
import { LEASE_MS, type Nemesis, type Stop } from './nemesis.js';
import { PEOPLE, ROUTES, type Route } from './people.js';
import { ask } from './readers.js';

export interface ChaosOptions extends ClusterOptions {
  readonly nemeses: readonly Nemesis[];
  /** How long each nemesis is in force, at least. */
  readonly seconds: number;
  /** Ends the run early, cleanly. */
  readonly signal: AbortSignal;
}

/** What came of one nemesis. */
export interface Result {
  readonly nemesis: string;
  readonly does: string;
  readonly seconds: number;
  readonly commits: number;
  /** Of those, commits whose acknowledgement was lost, or that did not happen. */
  readonly unacknowledged: number;
  /** Answers that were judged, those of strong routes among them; 503s are not. */
  readonly decisions: number;
  readonly strongDecisions: number;
  readonly unavailable: number;
  readonly unanswered: number;
  /** How long after a commit's acknowledgement a question was sent whose answer used what the commit had replaced. */
  readonly worstStalenessMs: number;
  /** From the nemesis' end until every replica was ready and answered about everybody, on every route. */
  readonly recoverMs: number;
  readonly violations: number;
  /** What went wrong, in words; the first few violations with the history around them. */
  readonly problems: readonly string[];
}

const SETTLE_MS = 300;
const CALM_AFTER_MS = 700;
const RECOVER_MS = 30_000;
/** Beyond the time for which a nemesis is to be in force. */
const NOTICE_MS = 10_000;
const POLL_MS = 50;
/** Longer than anything takes besides being in force; a nemesis that takes longer hangs, or made something hang. */
const OVERHEAD_MS = 120_000;
const TOLD_MAX = 5;
const LOG_BEFORE_MS = 4_000;
const LOG_AFTER_MS = 500;
/** The default of a replica. */
const POOL_MAX = 4;

/** Resolves when the replica says that it answers from memory and answers about everybody. */
async function recovered(member: Member, agent: Agent, deadlineMs: number, signal: AbortSignal): Promise<void> {
  let problem = '';
  while (performance.now() < deadlineMs) {
    try {
      const ready = await member.process.get('/readyz');
      const answers =
        ready.status === 200 && ready.body.includes('"fromMemory":true')
          ? await Promise.all(
              PEOPLE.flatMap(person =>
                (Object.keys(ROUTES) as Route[]).map(route => ask(member, person, route, agent)),
              ),
            )
          : [];
      if (ready.status === 200 && !answers.some(isUnavailable)) {
        return;
      }
      problem = ready.status === 200 ? 'it answers 503' : ready.body;
    } catch (error) {
      problem = String(error);
    }
    await sleep(POLL_MS, undefined, { signal });
  }
  throw new Error(`${member.name} did not recover within ${RECOVER_MS} ms: ${problem}`);
}

/** Waits until a writer has committed more often than that. Returns what is wrong. */
async function awaitCommit(
  writers: Cluster['writers'],
  commitsBefore: number,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<string[]> {
  while (writers.commits === commitsBefore) {
    if (performance.now() > deadlineMs) {
      return [`nothing was committed within ${RECOVER_MS} ms of its end`];
    }
    await sleep(POLL_MS, undefined, { signal });
  }
  return [];
}

/** Waits until what is expected is so, for at most this long. Returns what is not. */
async function awaitExpected(nemesis: Nemesis, cluster: Cluster, ms: number, signal: AbortSignal): Promise<string[]> {
  const deadlineMs = performance.now() + ms;
  for (;;) {
    try {
      await nemesis.expect?.(cluster);
      return [];
    } catch (error) {
      if (performance.now() > deadlineMs) {
        return [error instanceof Error ? error.message : String(error)];
      }
      await sleep(POLL_MS, undefined, { signal });
    }
  }
}

/** Waits until every replica has noticed it, for on a busy machine that takes a while. Returns who has not. */
async function awaitNoticed(
  { name: nemesis, leaves }: Nemesis,
  members: readonly Member[],
  linesBefore: readonly number[],
  signal: AbortSignal,
): Promise<string[]> {
  const deadlineMs = performance.now() + NOTICE_MS;
  for (;;) {
    const unmoved = members.filter(
      (member, index) => leaves !== undefined && !member.lines.slice(linesBefore[index]).some(leaves),
    );
    if (unmoved.length === 0 || performance.now() > deadlineMs) {
      return unmoved.map(({ name }) => `${name} has not noticed anything: it was no ${nemesis}`);
    }
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** What the replica has logged around the answer, in the time of the history. */
function logAround({ replica, sentMs, answeredMs }: Answer, members: readonly Member[]): string {
  const lines = members.find(({ name }) => name === replica)?.lines ?? [];
  return lines
    .map(({ time, message }) => ({ atMs: Date.parse(String(time)) - performance.timeOrigin, message }))
    .filter(({ atMs }) => atMs > sentMs - LOG_BEFORE_MS && atMs < answeredMs + LOG_AFTER_MS)
    .map(({ atMs, message }) => `  log at ${atMs.toFixed(0)}: ${message}`)
    .join('\n');
}

function judgeAnswers(
  answers: readonly Answer[],
  cluster: Cluster,
  checker: Checker,
): Pick<Result, 'decisions' | 'strongDecisions' | 'unavailable' | 'worstStalenessMs' | 'violations'> & {
  readonly told: readonly string[];
} {
  const decisions = answers.filter(answer => !isUnavailable(answer));
  const violations = checker.judge(answers);
  return {
    decisions: decisions.length,
    strongDecisions: decisions.filter(isStrong).length,
    unavailable: answers.length - decisions.length,
    worstStalenessMs: decisions
      .map(answer => stalenessMs(answer, cluster.history))
      .filter(Number.isFinite)
      .reduce((worst, staleMs) => Math.max(worst, staleMs), 0),
    violations: violations.length,
    told: violations
      .slice(0, TOLD_MAX)
      .map(violation => `${describeViolation(violation)}\n${logAround(violation.answer, cluster.members)}`),
  };
}

/**
 * More connections at a time than G5 allows, at the replica's proxies: each may be closing while the one in its place
 * is there.
 */
function excessConnections({ name, listen, pool }: Member): string[] {
  const excess = (kind: string, { openMax }: TcpProxy, most: number): string[] =>
    openMax > 2 * most ? [`G5: ${name} had ${openMax} ${kind} connections at a time; ${most} are allowed`] : [];
  return [...excess('listening', listen, 1), ...excess('pool', pool, POOL_MAX)];
}

async function face(
  nemesis: Nemesis,
  cluster: Cluster,
  checker: Checker,
  seconds: number,
  signal: AbortSignal,
): Promise<Result> {
  const pause = (ms: number): Promise<void> => sleep(ms, undefined, { signal });
  const { writers, readers, members } = cluster;
  writers.resume();
  await pause(SETTLE_MS);
  const before = { commits: writers.commits, unacknowledged: writers.unacknowledged, unanswered: readers.unanswered };
  const linesBefore = members.map(({ lines }) => lines.length);
  const startedMs = performance.now();
  let stop: Stop | null = await nemesis.start(cluster);
  // When the run ends before it does.
  cluster.onStop(async () => stop?.());
  const inForceMs = Math.max(seconds, nemesis.leastSeconds ?? 0) * 1_000;
  const [unmet] = await Promise.all([awaitExpected(nemesis, cluster, inForceMs, signal), pause(inForceMs)]);
  const unmoved = await awaitNoticed(nemesis, members, linesBefore, signal);
  const commitsBeforeStop = writers.commits;
  await stop();
  stop = null;
  const stoppedMs = performance.now();
  const agent = new Agent({ keepAlive: true });
  await Promise.all(members.map(member => recovered(member, agent, stoppedMs + RECOVER_MS, signal)));
  agent.destroy();
  const recoveredMs = performance.now();
  const uncommitted =
    nemesis.stopsWriters === true
      ? // They reconnect on their own, and the replicas may be faster.
        await awaitCommit(writers, commitsBeforeStop, stoppedMs + RECOVER_MS, signal)
      : writers.commits === before.commits
        ? ['nothing was committed from its start until the replicas had recovered']
        : [];
  await pause(CALM_AFTER_MS);
  await writers.pause();
  const answers = readers.take();
  const { told, ...judged } = judgeAnswers(answers, cluster, checker);
  const isMeanwhile = (answer: Answer): boolean =>
    !isUnavailable(answer) && answer.answeredMs > startedMs && answer.sentMs < recoveredMs;
  return {
    nemesis: nemesis.name,
    does: nemesis.does,
    seconds: (stoppedMs - startedMs) / 1_000,
    commits: writers.commits - before.commits,
    unacknowledged: writers.unacknowledged - before.unacknowledged,
    unanswered: readers.unanswered - before.unanswered,
    recoverMs: recoveredMs - stoppedMs,
    ...judged,
    problems: [
      ...told,
      ...unmet,
      ...unmoved,
      ...members.flatMap(excessConnections),
      ...uncommitted,
      ...(answers.some(isMeanwhile) ? [] : ['nothing was decided from its start until the replicas had recovered']),
    ],
  };
}

const failed = ({ name, does }: Nemesis, error: unknown): Result => ({
  nemesis: name,
  does,
  seconds: 0,
  commits: 0,
  unacknowledged: 0,
  decisions: 0,
  strongDecisions: 0,
  unavailable: 0,
  unanswered: 0,
  worstStalenessMs: 0,
  recoverMs: NaN,
  violations: 0,
  problems: [error instanceof Error ? (error.stack ?? error.message) : String(error)],
});

/** A cluster that has not ended by then is left to its guards. */
const STOP_MS = 30_000;

/** Runs them all; yields what came of each when it is known. After one that failed, the next gets a new cluster. */
export async function* runChaos({ nemeses, seconds, signal, ...options }: ChaosOptions): AsyncGenerator<Result> {
  let cluster: Cluster | null = null;
  let checker: Checker | null = null;
  const stop = async (): Promise<void> => {
    const stopping = cluster;
    cluster = null;
    // What does not end must not keep what has failed from being told.
    const done = new AbortController();
    const late = sleep(STOP_MS, undefined, { signal: done.signal }).catch(() => undefined);
    await Promise.race([stopping?.stop(), late]);
    done.abort();
  };
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(new Error('stopped'));
    });
  });
  aborted.catch(() => undefined);
  const inTime = async <T>(work: Promise<T>): Promise<T> => {
    const done = new AbortController();
    const limitMs = OVERHEAD_MS + 2_000 * seconds;
    const late = sleep(limitMs, undefined, { signal: done.signal }).then(() => {
      throw new Error(`it took longer than ${limitMs / 1_000} s`);
    });
    late.catch(() => undefined);
    try {
      return await Promise.race([work, late, aborted]);
    } finally {
      done.abort();
    }
  };
  try {
    for (const nemesis of nemeses) {
      try {
        signal.throwIfAborted();
        cluster ??= await startCluster(options);
        checker ??= createChecker(cluster.history, LEASE_MS);
        yield await inTime(face(nemesis, cluster, checker, seconds, signal));
      } catch (error) {
        signal.throwIfAborted();
        await stop();
        checker = null;
        yield failed(nemesis, error);
      }
    }
  } finally {
    await stop();
  }
}
