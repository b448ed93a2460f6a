/**
 * Writes observations as log lines, and nothing else does; `log-lines.ts` has their words. What happens on every
 * request is `debug`; what repeats under a fault is written once per second.
 */
import { describe, errorText, type LogLevel } from './log-lines.js';
import type { Observation } from './observation.js';

/** How lines look, which are written, and where to. */
export interface LogOptions {
  readonly format: 'text' | 'json';
  readonly level: LogLevel;
  readonly write: (line: string) => void;
  readonly nowMs: () => number;
}

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];
const REPEAT_MS = 1_000;
/** What happens on every request, or nearly, and is for debug only. */
const QUIET: ReadonlySet<Observation['event']> = new Set(['decision', 'query', 'waiting', 'jwt_verified']);
/** What a fault makes happen again and again. */
const REPEATING: ReadonlySet<Observation['event']> = new Set([
  'fence_failed',
  'fence_slow',
  'load_failed',
  'load_refused',
  'audit_failed',
  'message_malformed',
  'handler_failed',
  'decision_failed',
  'ops_failed',
  'page_failed',
  'shed',
  'limited',
  'request_refused',
  'bad_request',
  'untrusted_proxy',
  'sign_in_refused',
  'sign_in_failed',
]);

/** Creates the observer that writes lines. */
export function createLog({ format, level, write, nowMs }: LogOptions): (observation: Observation) => void {
  const least = LEVELS.indexOf(level);
  const lastMs = new Map<string, number>();
  const isRepeat = (event: string, now: number): boolean => {
    if (now - (lastMs.get(event) ?? -Infinity) < REPEAT_MS) {
      return true;
    }
    lastMs.set(event, now);
    return false;
  };

  return observation => {
    // Cheap first: most observations are of every request, and not logged.
    if (least > 0 && QUIET.has(observation.event)) {
      return;
    }
    const line = describe(observation);
    const now = nowMs();
    if (LEVELS.indexOf(line.level) < least) {
      return;
    }
    if (least > 0 && REPEATING.has(observation.event) && isRepeat(observation.event, now)) {
      return;
    }
    const time = new Date(now).toISOString();
    if (format === 'text') {
      write(`${time} ${line.level.padEnd(5)} ${line.message}\n`);
      return;
    }
    const { error, ...fields } = { error: undefined, ...observation };
    write(
      JSON.stringify({
        time,
        level: line.level,
        message: line.message,
        ...fields,
        ...(error === undefined || error === null ? {} : { error: errorText(error) }),
      }) + '\n',
    );
  };
}
