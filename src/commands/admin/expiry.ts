/** When something expires, as people type it: a duration, a time, or never. */
import { UsageError } from '../errors.js';

/** The option of commands that store an expiry. */
export const EXPIRES = ['--expires <when>', '90s, 15m, 12h, 30d, 2w, a time, or never'] as const;

/** Its value. */
export interface ExpiresOption {
  readonly expires?: string;
}

const DURATION = /^([1-9][0-9]{0,5})(s|m|h|d|w)$/;
const UNITS: Readonly<Record<string, string>> = { s: 'seconds', m: 'minutes', h: 'hours', d: 'days', w: 'weeks' };

/** ISO 8601: a day, or a time of a day, without a zone in that of this machine. */
const TIME =
  /^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:[0-9]{2})?)?$/;

/** Whether the day is in its month: Date.parse takes February 30 for March 2. */
function isDayOfCalendar(time: string): boolean {
  const day = time.slice(0, 10);
  const parsed = new Date(`${day}T00:00:00Z`);
  return !Number.isNaN(parsed.getTime()) && parsed.toISOString().startsWith(day);
}

/** A time of Postgres. */
export interface Expiry {
  /** An SQL expression. */
  readonly text: string;
  /** The values of its parameters: one or none. */
  readonly values: readonly unknown[];
}

/**
 * Reads an expiry: `30d` from now by Postgres' clock, a timestamp, or `never`, which is the default.
 *
 * @param parameter the number of the parameter that its value has in the statement
 * @throws UsageError if it is none of these, or in the past
 */
export function readExpiry(text: string | undefined, parameter: number): Expiry {
  if (text === undefined || text === 'never') {
    return { text: 'null::timestamptz', values: [] };
  }
  const duration = DURATION.exec(text);
  if (duration !== null) {
    return { text: `now() + $${parameter}::interval`, values: [`${duration[1]} ${UNITS[duration[2]!]}`] };
  }
  const time = TIME.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(time) || !isDayOfCalendar(text)) {
    throw new UsageError(
      `expiry ${JSON.stringify(text)} is not allowed: give a duration like 90s, 15m, 12h, 30d or 2w, ` +
        'a time like 2030-01-31T12:00:00Z, or never',
    );
  }
  if (time <= Date.now()) {
    throw new UsageError(`expiry ${JSON.stringify(text)} is in the past`);
  }
  return { text: `$${parameter}::timestamptz`, values: [new Date(time).toISOString()] };
}
