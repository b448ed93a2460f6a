/**
 * Kinds of lives: what may go wrong in them, what is asked and written, and what must hold there besides the promises.
 */
import {
  crashes,
  ddl,
  floods,
  hostile,
  forgedFences,
  lateEchoes,
  leftBehind,
  network,
  openWriters,
  pauses,
  processes,
  restores,
  servers,
  slips,
  steppedFences,
  steps,
  suspensions,
  type Faults,
} from './faults.js';

export interface Profile {
  /** Several: one of them in each life. */
  readonly faults: readonly Faults[];
  /** Mean times from one fault to the next; one of them in each life. */
  readonly faultMeansMs: readonly number[];
  /** Mean times from one transaction to the next. */
  readonly writeMeansMs: readonly number[];
  /** Shares of the requests: strong ones, those for one fact alone, and those for what does not exist. */
  readonly strongShare: number;
  readonly onlyShare: number;
  readonly unknownShare: number;
  /** Share of the transactions of which the triggers tell no keys. */
  readonly wholeShare: number;
  /** Rows of a transaction: one of these. */
  readonly rows: readonly number[];
  /** Age at which a cached fact is loaded again. */
  readonly maxAgeMs: number;
  /** Nothing goes wrong: everything is answered, at once, and no more is read than must be. */
  readonly isCalm: boolean;
  /** No connection breaks, and each replica keeps its own. */
  readonly isUnbroken: boolean;
  /** Nothing is refused. */
  readonly isAvailable: boolean;
  /** The pool answers, however late: only what it is asked can be wrong. */
  readonly isPoolWell: boolean;
  /** No fact is loaded twice unless it may have changed. */
  readonly isFrugal: boolean;
  /** The monotonic and the wall clock run alike. */
  readonly isOnTime: boolean;
  /**
   * A step back of the wall clock may hide that the machine slept: then nothing shows how old what was read for a
   * request is.
   */
  readonly hidesSleep: boolean;
  /** A server that is no longer the one may go on answering. */
  readonly isLeftBehind: boolean;
  /** Replicas consist of several workers behind one listening connection. */
  readonly hasWorkers: boolean;
  /** Share of the requests that present JWTs. */
  readonly jwtShare: number;
  /**
   * Replicas start when another server has just taken over, and their pools lead to the old one, which cannot commit
   * any more.
   */
  readonly startsBehind: boolean;
  /** Facts change past the triggers: only their age bounds how stale they are served, also to strong requests. */
  readonly slips: boolean;
}

const usual: Profile = {
  faults: [{}],
  faultMeansMs: [300, 1_000, 3_000],
  writeMeansMs: [20, 60, 200],
  strongShare: 0.1,
  onlyShare: 0,
  unknownShare: 0.05,
  wholeShare: 0.05,
  rows: [1, 1, 2, 3],
  maxAgeMs: 3_600_000,
  isCalm: false,
  isUnbroken: false,
  isAvailable: false,
  isPoolWell: false,
  isFrugal: false,
  isOnTime: true,
  hidesSleep: false,
  isLeftBehind: false,
  hasWorkers: false,
  jwtShare: 0,
  startsBehind: false,
  slips: false,
};

const {
  cut,
  cutWhileLoading,
  haunt,
  poolFails,
  refuseListen,
  slow,
  slowALittle,
  stall,
  stallAndCut,
  stallAndFade,
  stallWhileLoading,
} = network;
const { pauseFence } = pauses;
const { flickerWhileConnecting, ...otherDdl } = ddl;
const { change, garbled, malformed, poison, slowLoads } = hostile;

/** By name. */
export const PROFILES = {
  calm: { ...usual, isCalm: true, isUnbroken: true, isAvailable: true, isFrugal: true },
  network: { ...usual, faults: [network] },
  servers: { ...usual, faults: [{ ...servers, cut, poolFails }] },
  leftBehind: {
    ...usual,
    faults: [
      { ...leftBehind, cut },
      { ...leftBehind, slow },
    ],
    isLeftBehind: true,
  },
  /** The schema goes back in time, and what is numbered in it. */
  restores: {
    ...usual,
    faults: [restores, { ...restores, cut }],
    faultMeansMs: [800, 2_000],
    writeMeansMs: [60, 200, 800],
  },
  /** Crashes that some do not notice, after which ids of transactions are given out again. */
  crashes: { ...usual, faults: [crashes], faultMeansMs: [1_000, 3_000], writeMeansMs: [200, 800] },
  /** Replicas that are started after a failover, with pools that lead to the old primary. */
  newcomers: { ...usual, isLeftBehind: true, startsBehind: true, strongShare: 0.3 },
  clocks: {
    ...usual,
    faults: [
      { ...pauses, ...suspensions },
      { ...pauses, ...steps },
    ],
    isUnbroken: true,
    isOnTime: false,
  },
  ddl: { ...usual, faults: [otherDdl], isUnbroken: true, isAvailable: true },
  /** Triggers are touched at the worst moment. */
  flickers: { ...usual, faults: [{ flickerWhileConnecting }], faultMeansMs: [800], writeMeansMs: [200, 800] },
  /** Transactions that began to write while the triggers were others. */
  writers: {
    ...usual,
    faults: [openWriters, { ...openWriters, cut, poolFails }],
    faultMeansMs: [1_000, 3_000],
    writeMeansMs: [200, 800],
    // A transaction that nothing signals writes to one table.
    rows: [1],
  },
  hostile: { ...usual, faults: [hostile], isUnbroken: true },
  chaos: {
    ...usual,
    faults: [
      { ...network, ...servers, ...pauses, ...suspensions, ...ddl, ...hostile, ...restores, ...crashes },
      { ...network, ...servers, ...pauses, ...steps, ...ddl, ...hostile, ...restores, ...crashes },
    ],
    isOnTime: false,
  },
  /** Strong requests that join loads under way, and find no fence. */
  joins: {
    ...usual,
    faults: [{ stallWhileLoading }],
    faultMeansMs: [500],
    writeMeansMs: [20],
    strongShare: 0.8,
    onlyShare: 0.8,
    rows: [2, 3],
  },
  /** Many strong requests, while many facts change together and messages overtake each other. */
  halves: {
    ...usual,
    faults: [{ slowALittle }],
    faultMeansMs: [60],
    writeMeansMs: [20],
    strongShare: 0.5,
    rows: [2, 3],
  },
  /** The machine sleeps, and little changes, so that much is remembered. */
  sleeps: {
    ...usual,
    faults: [suspensions],
    faultMeansMs: [300, 1_000],
    writeMeansMs: [200, 800],
    isUnbroken: true,
    isOnTime: false,
  },
  /** The process stands still at the worst moment. */
  pauses: { ...usual, faults: [{ pauseFence }], faultMeansMs: [800], isUnbroken: true },
  /** Many made-up credentials. */
  floods: { ...usual, faults: [floods], unknownShare: 0.2, isUnbroken: true, isFrugal: true },
  /** Mostly strong requests, often without fences. */
  strong: {
    ...usual,
    faults: [
      { ...network, ...pauses, slowLoads },
      { stallWhileLoading, stall, slow },
    ],
    strongShare: 0.7,
    onlyShare: 0.5,
    rows: [2, 3],
  },
  /** Connections that break, one after the other, while loads are slow. */
  reconnects: {
    ...usual,
    faults: [
      { cut, cutWhileLoading, refuseListen, slow },
      { cut, refuseListen, haunt },
    ],
    faultMeansMs: [200, 600],
    writeMeansMs: [200, 800],
  },
  /** Loads that are under way for long. */
  loads: {
    ...usual,
    faults: [{ slowLoads, garbled, malformed, change, poison }],
    faultMeansMs: [200, 600],
    wholeShare: 0.3,
    isUnbroken: true,
    isPoolWell: true,
  },
  /** Little is heard, and late. */
  stalls: { ...usual, faults: [{ stall, stallAndCut, stallAndFade, slow }] },
  /** Replicas are stopped, and others started, in the middle of everything. */
  restarts: {
    ...usual,
    faults: [processes, { ...processes, ...network }],
    faultMeansMs: [300, 1_000],
    writeMeansMs: [20, 60],
  },
  /** Workers behind a shared connection; workers end and are replaced, stand still and fall behind. */
  workers: {
    ...usual,
    faults: [
      processes,
      { ...processes, ...network, slowLoads, malformed },
      { ...pauses, slow, cut, kill: processes.kill },
    ],
    faultMeansMs: [200, 600, 2_000],
    hasWorkers: true,
  },
  /** Many requests present JWTs, which are revoked, and whose users change. */
  jwts: {
    ...usual,
    faults: [{}, { slow, cut, slowLoads, stall }, { ...processes, slow }],
    jwtShare: 0.6,
    strongShare: 0.3,
  },
  /** Facts whose age alone bounds how stale they are. */
  slips: { ...usual, faults: [slips], maxAgeMs: 900, isUnbroken: true, isAvailable: true, slips: true },
  /** Clocks that are stepped at the worst moment. */
  stepped: { ...usual, faults: [steppedFences], faultMeansMs: [1_500], isOnTime: false, hidesSleep: true },
  /** Echoes that come at the worst moment. */
  echoes: { ...usual, faults: [lateEchoes, forgedFences], faultMeansMs: [1_500, 3_000] },
} satisfies Readonly<Record<string, Profile>>;

export type ProfileName = keyof typeof PROFILES;
