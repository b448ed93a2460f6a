/**
 * The load: a process of its own with one thread, kept-alive connections and one request at a time on each, which can
 * draw the value of one header for each request. It is wrk, which reports through a generated script; where that is
 * missing, autocannon.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { findTool, hasTool } from '../../test/support/tool.js';
import { buildPrograms, endWithUs, programFile } from './program.js';

/** A header that changes from request to request. */
export interface Rotation {
  readonly header: string;
  readonly values: readonly string[];
  /** `random`, or `sequential` from `first` on. */
  readonly order: 'random' | 'sequential';
  readonly first?: number;
}

export interface Load {
  readonly url: string;
  readonly connections: number;
  /** A whole number. */
  readonly seconds: number;
  /** Values in ASCII. */
  readonly headers: Readonly<Record<string, string>>;
  readonly rotation?: Rotation;
}

/** What wrk cannot do: a server on a port or on a Unix socket, and one question. */
export interface PlainLoad extends Omit<Load, 'url' | 'rotation'> {
  /** `http://127.0.0.1:…`, or `unix:` and the path of a socket. */
  readonly server: string;
  readonly path: string;
}

/** What wrk saw. */
export interface LoadResult {
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  /** Answers of 400 and above. */
  readonly refused: number;
  /** Connections refused or broken, and answers that took longer than two seconds. */
  readonly failed: number;
}

/** What a load generator prints. */
export interface Report {
  readonly requests: number;
  readonly durationUs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly refused: number;
  readonly failed: number;
}

const REPORT = `
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"durationUs":%d,"p50Us":%d,"p99Us":%d,"p999Us":%d,"refused":%d,"failed":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
`;

/** All requests are made before the first is sent, so that drawing one costs next to nothing. */
const rotate = (header: string, file: string, next: string): string => `
local requests, at = {}, 0
function init()
  math.randomseed(os.time())
  for value in io.lines(${JSON.stringify(file)}) do
    wrk.headers[${JSON.stringify(header)}] = value
    requests[#requests + 1] = wrk.format()
  end
end
function request()
  ${next}
end
`;

/** The script for wrk. */
function script(headers: Load['headers'], rotation: Rotation | undefined, valuesFile: string): string {
  const lines = Object.entries(headers).map(
    ([name, value]) => `wrk.headers[${JSON.stringify(name)}] = ${JSON.stringify(value)}`,
  );
  if (rotation === undefined) {
    return lines.join('\n') + REPORT;
  }
  const next =
    rotation.order === 'random'
      ? 'return requests[math.random(#requests)]'
      : `at = at + 1\n  return requests[(${rotation.first ?? 0} + at - 1) % #requests + 1]`;
  return lines.join('\n') + rotate(rotation.header, valuesFile, next) + REPORT;
}

/** Runs the program to its end, and returns what it wrote. */
async function run(program: string, args: readonly string[], input = ''): Promise<string> {
  const running = promisify(execFile)(program, args);
  endWithUs(running.child);
  running.child.stdin!.end(input);
  return (await running).stdout;
}

async function runWrk({ url, connections, seconds, headers, rotation }: Load): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), 'gatebell-load-'));
  try {
    const scriptFile = path.join(directory, 'load.lua');
    const valuesFile = path.join(directory, 'values');
    await writeFile(scriptFile, script(headers, rotation, valuesFile));
    await writeFile(valuesFile, rotation?.values.join('\n') ?? '');
    return await run(findTool('wrk'), ['-t1', `-c${connections}`, `-d${seconds}s`, '--latency', '-s', scriptFile, url]);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

const CANNON = 'support/cannon';
let cannonBuilt: Promise<void> | null = null;

async function runCannon(load: Load): Promise<string> {
  await (cannonBuilt ??= buildPrograms([CANNON]));
  return run(process.execPath, [programFile(CANNON)], JSON.stringify(load));
}

/** What can put load on a server. */
export type LoadGenerator = 'wrk' | 'autocannon';

/** What does so here. */
export function loadGenerator(): LoadGenerator {
  return hasTool('wrk') ? 'wrk' : 'autocannon';
}

/** For the notes of an experiment. */
export function describeLoadGenerator(): string {
  return loadGenerator() === 'wrk'
    ? 'The load comes from wrk, one thread in a process of its own.'
    : 'The load comes from autocannon, because wrk is not installed. It is slower than what it measures: ratios ' +
        'between fast programs are too close to 1.';
}

/** Puts load on a server. @throws when the generator could not do its work */
export async function putLoad(load: Load, generator: LoadGenerator = loadGenerator()): Promise<LoadResult> {
  return readReport(generator, await (generator === 'wrk' ? runWrk(load) : runCannon(load)));
}

const PLAIN = 'support/plain';
let plainBuilt: Promise<void> | null = null;

/** The same over a port or a Unix socket. @throws when the program could not do its work */
export async function putPlainLoad(load: PlainLoad): Promise<LoadResult> {
  await (plainBuilt ??= buildPrograms([PLAIN]));
  return readReport(PLAIN, await run(process.execPath, [programFile(PLAIN)], JSON.stringify(load)));
}

/** @throws if there is none */
function readReport(generator: string, output: string): LoadResult {
  const line = output.split('\n').find(text => text.startsWith('{'));
  if (line === undefined) {
    throw new Error(`${generator} said nothing of what it did: ${output}`);
  }
  const report = JSON.parse(line) as Report;
  return {
    requests: report.requests,
    requestsPerSecond: report.requests / (report.durationUs / 1e6),
    p50Ms: report.p50Us / 1_000,
    p99Ms: report.p99Us / 1_000,
    p999Ms: report.p999Us / 1_000,
    refused: report.refused,
    failed: report.failed,
  };
}

/** Asks for every value of the rotation at least once, so that what can be in memory is. */
export async function askForAll(load: Load, rotation: Rotation): Promise<void> {
  for (let asked = 0; asked < rotation.values.length;) {
    const { requests } = await putLoad({
      ...load,
      // A second in full: load generators know no less.
      seconds: 1,
      rotation: { ...rotation, order: 'sequential', first: asked },
    });
    if (requests === 0) {
      throw new Error(`${load.url} does not answer`);
    }
    // What was under way when it stopped is asked for again.
    asked += Math.max(1, requests - load.connections);
  }
}
