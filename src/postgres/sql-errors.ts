/** What an error code of Postgres is about: a value that was asked for, or anything else. */
import pg from 'pg';

/** The SQLSTATE of an error, if Postgres sent it. */
export function sqlState(error: unknown): string | null {
  return error instanceof pg.DatabaseError && error.code !== undefined ? error.code : null;
}

/**
 * Classes of Postgres' error codes that are about the values asked for: data exception, integrity constraint violation
 * (of a domain), PL/pgSQL error (raised by a function that the load calls).
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const DATA_ERRORS = ['22', '23', 'P0'];
/**
 * Classes that are about either the query or a value: a name that does not exist, a wrong syntax, a feature that is not
 * supported. Values are read so by `::regclass` and its like, `::tsquery`, `::jsonpath`, `::ltree`. An error of the
 * query itself has a position, and no context.
 */
const TEXT_ERRORS = ['42', '3F', '0A'];
/** "Insufficient privilege" and "infinite recursion" of views and policies: about the query, without a position. */
const QUERY_ERRORS = new Set(['42501', '42P17']);

/** Whether an error is about a value that was asked for, so that the others of its batch can be read. */
export function isDataError(error: unknown): boolean {
  const code = sqlState(error) ?? '';
  const isOfText =
    TEXT_ERRORS.includes(code.slice(0, 2)) &&
    !QUERY_ERRORS.has(code) &&
    error instanceof pg.DatabaseError &&
    (error.position === undefined || error.where !== undefined) &&
    error.internalPosition === undefined;
  return isOfText || DATA_ERRORS.includes(code.slice(0, 2));
}
