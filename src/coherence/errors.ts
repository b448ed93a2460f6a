/** The one error that callers of the library must expect: the truth cannot be told now. */

/** Why the truth cannot be told. */
export type UnavailableCause = 'database' | 'foreign_reading' | 'queue_full' | 'rounds_exhausted' | 'stopped';

/**
 * Thrown when a fact could not be had: fail closed, answer 503, try again later. `cause` is the underlying error, if
 * any.
 */
export class UnavailableError extends Error {
  readonly code = 'unavailable';
  readonly reason: UnavailableCause;

  constructor(reason: UnavailableCause, message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause });
    this.name = 'UnavailableError';
    this.reason = reason;
  }
}

/** @param what in the plural, as the beginning of a sentence */
export function notLoaded(what: string, cause: unknown): UnavailableError {
  return new UnavailableError('database', `${what} could not be loaded`, cause);
}

/** @param what in the plural, as the beginning of a sentence */
export function foreignReading(what: string): UnavailableError {
  return new UnavailableError('foreign_reading', `${what} were read from another server, or a standby`);
}
