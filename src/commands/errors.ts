/**
 * Errors as the command shows them: what was wrong, with what value, what is allowed; and the exit code that goes with
 * it.
 */
import pg from 'pg';
import { ConfigError } from '../config/config.js';
import { errorText } from '../ops/log-lines.js';

/**
 * What a script can tell by the exit code. Usage: what was typed is not allowed, by the command or by a CHECK
 * constraint; it will never be done. Failed: it is allowed, and cannot be done as things are: there is no such
 * user, there is one already, Postgres cannot be reached, not all is well.
 */
export const EXIT = { done: 0, failed: 1, usage: 2 } as const;

/** Something that the user asked for cannot be done; the message says what and why. */
export class CommandError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = 'CommandError';
    this.code = code;
  }
}

/** Words or values were given that are not allowed. */
export class UsageError extends CommandError {
  constructor(message: string) {
    super('usage', message);
    this.name = 'UsageError';
  }
}

/** What the CHECK and UNIQUE constraints of the schema mean, in the user's words. */
const CONSTRAINTS: Readonly<Record<string, string>> = {
  users_name_key: 'there is a user of this name already',
  users_name_form: 'a user name is 1 to 200 printable characters without a space at either end',
  users_email_form: 'an email address has at most 320 characters, none of them a control character',
  users_display_name_form: 'a display name has at most 200 characters, none of them a control character',
  users_groups_form: 'a group name holds no comma and no control character',
  apps_name_key: 'there is an app of this name already',
  apps_name_form: 'an app name is 1 to 200 printable characters without a space at either end',
  apps_host_key: 'there is an app with this host already',
  apps_host_canonical:
    'a host is lower case, without scheme, port or trailing dot: photos.example.com, *.example.com for all below ' +
    'it, or an IPv6 address in its short form in brackets: [2001:db8::1]',
  apps_headers_object: 'headers are a JSON object of header names and templates',
  app_routes_path_prefix_canonical:
    'a path prefix begins with /, has no escapes, no empty segments, no dot at the end ' +
    'of a segment, and no slash at its end: /share. It holds all below it, and is no ' +
    'pattern: *, /:name and a $ at the end would never match',
  app_routes_access_known: 'access is public, authenticated or grant',
  app_routes_consistency_known: 'consistency is bounded or strong',
  app_routes_headers_object: 'headers are a JSON object of header names and templates',
  app_routes_roles_form:
    'each role is 1 to 200 printable characters without a space at either end, and stands there once',
  app_routes_public_without_roles: 'a public route never looks at who asks, so it has no roles',
  app_routes_path_prefix_any_case:
    'another route of the app differs from this one in case alone: a request that both match would be refused',
  grants_role_form: 'a role is 1 to 200 printable characters without a space at either end',
  credentials_kind_known: 'the kind of a credential is session or token',
  revoked_jwts_jti_form: 'the id (jti) of a JWT is 1 to 255 printable ASCII characters',
  identities_issuer_form: 'an issuer is 1 to 512 printable ASCII characters without a space',
  identities_subject_form:
    'a subject is 1 to 255 characters, none of them a control character, without a space at either end',
  identities_user_id_fkey: 'there is no user with this id',
  grants_user_id_fkey: 'there is no user with this id',
  grants_app_id_fkey: 'there is no app with this id',
  app_routes_app_id_fkey: 'there is no app with this id',
  credentials_user_id_fkey: 'there is no user with this id',
  credentials_app_id_fkey: 'there is no app with this id',
  credentials_label_form: 'a label has at most 200 characters',
  credentials_token_hash_sha256: 'the hash of a token is its SHA-256, 32 bytes',
  credentials_token_hash_key: 'there is a credential with this hash already',
  watches_topic_form: 'a topic is 1 to 40 characters, a-z, 0-9 and _, and begins with a letter',
  watches_target_topic_key: 'the table is watched for this topic already',
  fence_key_one: 'there is a key for fences already',
};

/** What Postgres says where a CHECK constraint refuses a value. */
const CHECK_VIOLATION = '23514';

/**
 * What a constraint has refused, with the value; null if the error is of something else.
 *
 * @param given the values by column, as they were typed: what Postgres says about the row is not for people
 */
export function refusedValue(error: unknown, given: Readonly<Record<string, unknown>> = {}): UsageError | null {
  if (!(error instanceof pg.DatabaseError) || error.code !== CHECK_VIOLATION) {
    return null;
  }
  const { constraint = '', table = '' } = error;
  const allowed = CONSTRAINTS[constraint];
  const column = Object.keys(given).find(name => constraint.startsWith(`${table}_${name}_`));
  if (allowed === undefined || column === undefined) {
    return allowed === undefined ? null : new UsageError(allowed);
  }
  return new UsageError(`${column.replaceAll('_', ' ')} ${JSON.stringify(given[column])} is not allowed: ${allowed}`);
}

/** Codes of the operating system and of Postgres that mean: nothing answers there. */
const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ECONNRESET',
  'EPIPE',
]);

/** Codes of OpenSSL and of Node for a certificate that is not believed. */
const CERTIFICATE = /^(?:CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_|ERR_SSL_|HOSTNAME_MISMATCH|INVALID_CA)/;

function codeOf(error: unknown): string | undefined {
  const inner = error instanceof AggregateError ? (error.errors[0] as unknown) : error;
  return inner instanceof Error && 'code' in inner && typeof inner.code === 'string' ? inner.code : undefined;
}

/** An error for people and programs. */
export interface DescribedError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly exitCode: number;
}

interface Meaning {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

/** What is wrong where a connection to Postgres fails, in a sentence; the driver itself has no codes for most of it. */
function connectionMeaning(error: unknown, code: string): Meaning | null {
  const text = errorText(error);
  const isConnect = error instanceof Error && 'syscall' in error && error.syscall === 'connect';
  if (UNREACHABLE.has(code) || isConnect) {
    return { code: 'unreachable', message: `cannot reach Postgres: ${text}` };
  }
  if (/timeout expired|due to connection timeout|^timeout exceeded when trying to connect/.test(text)) {
    return { code: 'unreachable', message: 'cannot reach Postgres: there was no answer in time' };
  }
  if (text.startsWith('Connection terminated')) {
    return { code: 'unreachable', message: 'cannot reach Postgres: the connection was closed' };
  }
  if (/client password must be/.test(text)) {
    return {
      code: 'no_password',
      message: 'Postgres asks for a password, and none is given',
      hint: 'say it in DATABASE_URL or DATABASE_URL_FILE, or in PGPASSWORD or a file that PGPASSFILE names',
    };
  }
  if (text === 'The server does not support SSL connections') {
    return { code: 'no_tls', message: 'Postgres takes no TLS connections', hint: 'without TLS: sslmode=disable' };
  }
  if (CERTIFICATE.test(code)) {
    return {
      code: 'bad_certificate',
      message: `the certificate of Postgres is not believed: ${text}`,
      hint: 'name the file of its authority in DATABASE_URL: ?sslrootcert=/path',
    };
  }
  return null;
}

/** Said when a statement needs a schema that is not there. */
function schemaHint(text: string): string {
  return text.includes('no schema has been selected')
    ? "the database has no schema in which this user's objects could be made: create schema public"
    : 'is the database migrated? gatebell migrate up';
}

/** Says what an error means. */
export function describeError(error: unknown): DescribedError {
  if (error instanceof ConfigError) {
    return { code: error.code, message: error.message, exitCode: EXIT.usage };
  }
  if (error instanceof UsageError) {
    return { code: error.code, message: error.message, exitCode: EXIT.usage };
  }
  const code = codeOf(error) ?? 'failed';
  if (code === 'EADDRINUSE') {
    return {
      code,
      message: `a port is taken: ${errorText(error)}`,
      hint: 'choose others with --port and --ops-port',
      exitCode: EXIT.failed,
    };
  }
  const connection = error instanceof pg.DatabaseError ? null : connectionMeaning(error, code);
  if (connection !== null) {
    return { ...connection, exitCode: EXIT.failed };
  }
  const refused = refusedValue(error);
  if (refused !== null) {
    return { code: refused.code, message: refused.message, exitCode: EXIT.usage };
  }
  if (error instanceof pg.DatabaseError) {
    const meaning = error.constraint === undefined ? undefined : CONSTRAINTS[error.constraint];
    const hint = code === '3F000' || code === '42P01' ? schemaHint(error.message) : error.hint;
    return {
      code: error.code ?? 'failed',
      message: meaning ?? errorText(error) + (error.detail === undefined ? '' : ` (${error.detail})`),
      ...(hint === undefined ? {} : { hint }),
      exitCode: EXIT.failed,
    };
  }
  return { code, message: errorText(error), exitCode: EXIT.failed };
}
