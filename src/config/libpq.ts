/**
 * What libpq's environment variables and URI parameters mean here. A user who sets one expects it to hold: each is
 * honoured, replaced by what Gatebell needs, or refused by its name. A test compares the table in docs/configuration.md
 * with this list. https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
 */
import type { ConfigProblem } from './secret.js';

/** How one parameter is treated. */
export interface LibpqParameter {
  /** In a connection string. */
  readonly parameter: string;
  /** Null: there is none. */
  readonly variable: string | null;
  /** `own`: Gatebell sets it itself, so a value of yours has no effect. */
  readonly treatment: 'honoured' | 'own' | 'refused';
  /** What to know, or what to do instead. */
  readonly note: string;
  /** Values of a refused parameter that mean what is done anyway. */
  readonly harmless?: readonly string[];
}

const row = (
  parameter: string,
  variable: string | null,
  treatment: LibpqParameter['treatment'],
  note: string,
  harmless: readonly string[] = [],
): LibpqParameter => ({ parameter, variable, treatment, note, harmless });

const NO_SESSION = 'no statement of Gatebell depends on it';
const IN_URL = (parameter: string): string => `name the file in the connection string instead: ?${parameter}=/path`;

/** All of them. */
export const LIBPQ: readonly LibpqParameter[] = [
  row('host', 'PGHOST', 'honoured', 'one host, or the directory of a socket'),
  row('port', 'PGPORT', 'honoured', 'one port'),
  row('user', 'PGUSER', 'honoured', ''),
  row('password', 'PGPASSWORD', 'honoured', 'never on a command line'),
  row('dbname', 'PGDATABASE', 'honoured', 'in a connection string as its path: postgres://host/database'),
  row('passfile', 'PGPASSFILE', 'honoured', 'as a variable; without it ~/.pgpass'),
  row('options', 'PGOPTIONS', 'honoured', 'not through a pooler that refuses it'),
  row(
    'sslmode',
    'PGSSLMODE',
    'honoured',
    'disable, prefer, require, verify-ca, verify-full or no-verify; ' +
      'all from prefer to verify-full demand TLS and verify the certificate',
  ),
  row('sslnegotiation', 'PGSSLNEGOTIATION', 'honoured', ''),
  row('client_encoding', 'PGCLIENTENCODING', 'own', 'UTF8'),
  row('application_name', 'PGAPPNAME', 'own', 'the name of the replica'),
  row('fallback_application_name', null, 'own', 'the name of the replica'),
  row('connect_timeout', 'PGCONNECT_TIMEOUT', 'own', 'two seconds for a replica, five for a command'),
  ...['keepalives', 'keepalives_idle', 'keepalives_interval', 'keepalives_count', 'tcp_user_timeout'].map(name =>
    row(name, null, 'own', 'on, so that a connection without a peer is noticed'),
  ),
  row('', 'PGTZ', 'own', NO_SESSION),
  row('', 'PGDATESTYLE', 'own', NO_SESSION),
  row('', 'PGGEQO', 'own', NO_SESSION),
  row('', 'PGLOCALEDIR', 'own', NO_SESSION),
  row('', 'PGSYSCONFDIR', 'own', 'where service files are; see PGSERVICE'),
  row('sslrootcert', 'PGSSLROOTCERT', 'refused', IN_URL('sslrootcert')),
  row('sslcert', 'PGSSLCERT', 'refused', IN_URL('sslcert')),
  row('sslkey', 'PGSSLKEY', 'refused', IN_URL('sslkey')),
  row('hostaddr', 'PGHOSTADDR', 'refused', 'name the address as host'),
  row('service', 'PGSERVICE', 'refused', 'write out what the service file says'),
  row('servicefile', 'PGSERVICEFILE', 'refused', 'write out what the service file says'),
  row('target_session_attrs', 'PGTARGETSESSIONATTRS', 'refused', 'name the one server that can be written to', ['any']),
  row('load_balance_hosts', 'PGLOADBALANCEHOSTS', 'refused', 'name one server', ['disable']),
  row('channel_binding', 'PGCHANNELBINDING', 'refused', 'use sslmode=verify-full', ['prefer', 'disable']),
  row('require_auth', 'PGREQUIREAUTH', 'refused', 'demand the method in pg_hba.conf'),
  row('requiressl', 'PGREQUIRESSL', 'refused', 'use sslmode=verify-full', ['0']),
  row('requirepeer', 'PGREQUIREPEER', 'refused', 'protect the directory of the socket'),
  row('sslpassword', null, 'refused', 'use a key without a passphrase'),
  row('sslcertmode', 'PGSSLCERTMODE', 'refused', 'leave sslcert out, or give it', ['allow']),
  row('sslcrl', 'PGSSLCRL', 'refused', 'revoke at the authority'),
  row('sslcrldir', 'PGSSLCRLDIR', 'refused', 'revoke at the authority'),
  row('sslcompression', 'PGSSLCOMPRESSION', 'refused', 'there is none', ['0']),
  row('sslsni', 'PGSSLSNI', 'refused', 'it is always sent', ['1']),
  row('ssl_min_protocol_version', 'PGSSLMINPROTOCOLVERSION', 'refused', 'TLS 1.2 is the least', ['TLSv1.2']),
  row('ssl_max_protocol_version', 'PGSSLMAXPROTOCOLVERSION', 'refused', 'limit it at the server'),
  row('min_protocol_version', 'PGMINPROTOCOLVERSION', 'refused', 'protocol 3.0 is spoken', ['3.0']),
  row('max_protocol_version', 'PGMAXPROTOCOLVERSION', 'refused', 'protocol 3.0 is spoken', ['3.0']),
  row('gssencmode', 'PGGSSENCMODE', 'refused', 'use TLS', ['disable', 'prefer']),
  row('krbsrvname', 'PGKRBSRVNAME', 'refused', 'Kerberos is not supported'),
  row('gsslib', 'PGGSSLIB', 'refused', 'Kerberos is not supported'),
  row('gssdelegation', 'PGGSSDELEGATION', 'refused', 'Kerberos is not supported', ['0']),
  row('replication', null, 'refused', 'Gatebell needs an ordinary connection'),
];

const SSL_MODES = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'];
/** Files that a connection string may name; as variables they are refused. */
const URL_FILES = new Set(['sslrootcert', 'sslcert', 'sslkey']);
/** Parameters of the driver's own. */
const DRIVERS = new Set(['ssl', 'uselibpqcompat']);

/** Variables that are set and do not hold here. */
export function libpqProblems(env: NodeJS.ProcessEnv): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  for (const { variable, treatment, note, harmless = [] } of LIBPQ) {
    const value = variable === null ? '' : (env[variable] ?? '');
    if (value !== '' && treatment === 'refused' && !harmless.includes(value)) {
      problems.push({ name: variable!, value, allowed: `nothing: it is not honoured here, so ${note}` });
    }
  }
  for (const [variable, what] of [
    ['PGHOST', 'host'],
    ['PGPORT', 'port'],
  ] as const) {
    if ((env[variable] ?? '').includes(',')) {
      problems.push({ name: variable, value: env[variable]!, allowed: `one ${what}; several are not supported` });
    }
  }
  const mode = env['PGSSLMODE'] ?? '';
  if (mode !== '' && !SSL_MODES.includes(mode)) {
    problems.push({ name: 'PGSSLMODE', value: mode, allowed: SSL_MODES.join(', ') });
  }
  return problems;
}

/** A connection string as Node's URL reads it, and what of it does not hold here, without any of its values. */
export interface ReadUrl {
  readonly url: URL;
  readonly problem: string | null;
}

/**
 * Reads a connection string; null: it is none. `postgresql://user@/db?host=/run/postgresql`, which libpq takes, has no
 * host where URLs must have one.
 */
export function readPostgresUrl(text: string): ReadUrl | null {
  if (!/^postgres(?:ql)?:\/\//.test(text)) {
    return null;
  }
  const authority = /^[a-z]+:\/\/([^/?#]*)/.exec(text)?.[1] ?? '';
  const hosts = authority.slice(authority.lastIndexOf('@') + 1);
  const whole = text.replace(/^([a-z]+:\/\/[^/?#]*@)(?=[/?#]|$)/, '$1localhost');
  if (hosts.includes(',')) {
    const single = whole.replace(hosts, 'localhost');
    return URL.canParse(single) ? { url: new URL(single), problem: 'several hosts are not supported: name one' } : null;
  }
  if (!URL.canParse(whole)) {
    return null;
  }
  const url = new URL(whole);
  return {
    url,
    problem: whole !== text && !url.searchParams.has('host') ? 'it must name a host' : parameterProblem(url),
  };
}

function parameterProblem(url: URL): string | null {
  for (const [name, value] of url.searchParams) {
    const known = LIBPQ.find(({ parameter }) => parameter === name);
    if (name === 'dbname') {
      return 'the database is named by the path: postgres://host/database';
    }
    if (name === 'passfile') {
      return 'parameter passfile is not honoured: set PGPASSFILE';
    }
    if ((name === 'host' || name === 'port') && value.includes(',')) {
      return 'several hosts are not supported: name one';
    }
    if (name === 'sslmode' && !SSL_MODES.includes(value)) {
      return `sslmode must be one of ${SSL_MODES.join(', ')}`;
    }
    if (known === undefined && !DRIVERS.has(name)) {
      // What is no known name may be part of a password that was not escaped.
      return 'it has a parameter that is not known';
    }
    if (known?.treatment === 'refused' && !URL_FILES.has(name) && !(known.harmless ?? []).includes(value)) {
      return `parameter ${name} is not honoured here, so ${known.note}`;
    }
  }
  return null;
}

/** Whether a connection string says a password. */
export function hasPassword(text: string): boolean {
  const url = readPostgresUrl(text)?.url;
  return url !== undefined && (url.password !== '' || url.searchParams.has('password'));
}
