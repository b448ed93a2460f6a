/** Whatever libpq knows is honoured, replaced knowingly, or refused by its name; nothing is ignored without a word. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { describe, expect, test } from 'vitest';
import { CONFIG_VARIABLES, ConfigError, readConfig } from '../../../src/config/config.js';
import { LIBPQ } from '../../../src/config/libpq.js';

function refusal(
  env: NodeJS.ProcessEnv,
  flags: Parameters<typeof readConfig>[0] = {},
  readText?: () => string,
): string {
  try {
    readConfig(flags, env, readText);
    return '';
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message;
  }
}

const cases = LIBPQ.map(entry => [entry.variable ?? entry.parameter, entry] as const);

describe('variables', () => {
  test.each(cases.filter(([, { variable }]) => variable !== null))(
    '%s is honoured, or refused by its name',
    (name, { treatment, harmless = [] }) => {
      const value = name === 'PGSSLMODE' ? 'require' : 'something';
      const message = refusal({ DATABASE_URL: 'postgres://u@h/d', [name]: value });
      if (treatment === 'refused') {
        expect(message).toContain(`${name} is "something"; allowed: nothing: it is not honoured here`);
      } else {
        expect(message).toBe('');
      }
      for (const same of ['', ...harmless]) {
        expect(refusal({ [name]: same })).toBe('');
      }
    },
  );

  test('that are said to be honoured are honoured by the driver', () => {
    const env = {
      PGHOST: 'h.test',
      PGPORT: '5433',
      PGUSER: 'u',
      PGPASSWORD: 'p',
      PGDATABASE: 'd',
      PGOPTIONS: '-c x=y',
    };
    const before = { ...process.env };
    Object.assign(process.env, env);
    try {
      const client = new pg.Client({});
      expect([client.host, client.port, client.user, client.password, client.database]).toEqual([
        ...['h.test', 5_433, 'u', 'p', 'd'],
      ]);
    } finally {
      process.env = before;
    }
  });

  test.each([
    [{ PGHOST: 'a,b' }, 'PGHOST is "a,b"; allowed: one host'],
    [{ PGPORT: '5432,5433' }, 'PGPORT is "5432,5433"; allowed: one port'],
    [{ PGSSLMODE: 'allow' }, 'PGSSLMODE is "allow"; allowed: disable, prefer'],
  ])('%o is refused', (env, says) => {
    expect(refusal(env)).toContain(says);
  });
});

describe('connection strings', () => {
  test.each(cases.filter(([, { parameter }]) => parameter !== ''))('with the parameter of %s', (_, entry) => {
    const value = entry.parameter === 'sslmode' ? 'require' : entry.parameter.startsWith('ssl') ? 'postgres' : 'x';
    const message = refusal({ DATABASE_URL: `postgres://u:hidden@h/d?${entry.parameter}=${value}` });
    const isFile = ['sslrootcert', 'sslcert', 'sslkey'].includes(entry.parameter);
    if (['dbname', 'passfile'].includes(entry.parameter) || (entry.treatment === 'refused' && !isFile)) {
      expect(message).toMatch(/^DATABASE_URL is "\*\*\*"; allowed: a connection string, [^;]*; \S/);
    } else {
      expect(message).toBe('');
    }
    expect(message).not.toContain('hidden');
  });

  test.each([
    ['postgresql://alice@/db?host=/run/postgresql', { host: '/run/postgresql', user: 'alice', database: 'db' }],
    [
      'postgresql://alice:p%40ss@/db?host=%2Frun%2Fpostgresql&port=5433',
      { host: '/run/postgresql', port: 5_433, password: 'p@ss' },
    ],
    ['postgresql:///db?host=/tmp&user=bob', { host: '/tmp', user: 'bob', database: 'db' }],
    ['postgres://bob@%2Frun%2Fpostgresql/db', { host: '/run/postgresql', user: 'bob', database: 'db' }],
    ['postgres://bob@[::1]:5433/db', { host: '::1', port: 5_433 }],
    ['postgres://bob@localhost/db?options=-c%20search_path%3Dx', { host: 'localhost' }],
  ])('%s leads there', (text, there) => {
    const { databaseUrl } = readConfig({}, { DATABASE_URL: text });
    expect(new pg.Client({ connectionString: databaseUrl! })).toMatchObject(there);
  });

  test.each([
    ['postgres://u@a,b/d', 'several hosts are not supported'],
    ['postgres://u@a:1,b:2/d', 'several hosts are not supported'],
    ['postgres://u@/d?host=a,b', 'several hosts are not supported'],
    ['postgres://u@/d', 'it must name a host'],
    ['postgres://u@h/d?sslmode=allow', 'sslmode must be one of'],
    ['postgres://u@h/d?made_up=x', 'a parameter that is not known'],
    ['host=h user=u', 'a connection string'],
  ])('%s is refused', (text, says) => {
    expect(refusal({ GATEBELL_LISTEN_URL: text })).toContain(says);
  });
});

describe('from files and on the command line', () => {
  test.each(['DATABASE_URL', 'GATEBELL_LISTEN_URL'])('%s_FILE', variable => {
    const key = variable === 'DATABASE_URL' ? 'databaseUrl' : 'listenUrl';
    const file = { [`${variable}_FILE`]: '/run/secrets/url' };
    expect(readConfig({}, file, () => 'postgres://u:hidden@h/d\n')[key]).toBe('postgres://u:hidden@h/d');
    expect(refusal({ ...file, [variable]: 'postgres://h/d' })).toContain(`one of ${variable} and ${variable}_FILE`);
    expect(refusal(file, {}, () => 'mysql://hidden')).toMatch(new RegExp(`^${variable}_FILE is "\\*\\*\\*"; allowed`));
  });

  test.each([
    ['databaseUrl', 'database-url', 'DATABASE_URL, DATABASE_URL_FILE'],
    ['listenUrl', 'listen-url', 'GATEBELL_LISTEN_URL, GATEBELL_LISTEN_URL_FILE'],
  ] as const)('a password in --%s is refused: a list of processes shows it', (key, flag, instead) => {
    for (const text of [
      'postgres://u:hidden@h/d',
      'postgres://u@h/d?password=hidden',
      'postgresql://u:hidden@/d?host=/x',
    ]) {
      const message = refusal({}, { [key]: text });
      expect(message).toMatch(
        new RegExp(`^--${flag} is "\\*\\*\\*"; allowed: a connection string without a password: .*${instead}`),
      );
      expect(message).not.toContain('hidden');
    }
    expect(refusal({}, { [key]: 'postgres://u@h/d' })).toBe('');
  });
});

describe('what Kubernetes sets for a service of this name', () => {
  const LINKS = (name: string, port: number): Record<string, string> => ({
    [`${name}_SERVICE_HOST`]: '10.96.12.34',
    [`${name}_SERVICE_PORT`]: String(port),
    [`${name}_PORT`]: `tcp://10.96.12.34:${port}`,
    [`${name}_PORT_${port}_TCP`]: `tcp://10.96.12.34:${port}`,
    [`${name}_PORT_${port}_TCP_PROTO`]: 'tcp',
    [`${name}_PORT_${port}_TCP_PORT`]: String(port),
    [`${name}_PORT_${port}_TCP_ADDR`]: '10.96.12.34',
  });
  /** Every service whose variables could be taken for settings. */
  const names = ['GATEBELL', 'GATEBELL_OPS', ...CONFIG_VARIABLES.map(name => name.replace(/_PORT$|_FILE$/, ''))];

  test.each([...new Set(names)])('service %s: ignored with a warning, and never a problem', name => {
    const warnings: string[] = [];
    const config = readConfig({}, LINKS(name, 9_999), undefined, warning => warnings.push(warning));
    expect([config.port, config.opsPort]).toEqual([4_280, 4_281]);
    const isTaken = CONFIG_VARIABLES.includes(`${name}_PORT`);
    expect(warnings.filter(warning => warning.startsWith(`${name}_PORT is "tcp://10.96.12.34:9999"`))).toHaveLength(
      isTaken ? 1 : 0,
    );
  });

  test('a port that is no such link is still checked', () => {
    expect(refusal({ GATEBELL_PORT: 'http://10.96.12.34:80' })).toContain('GATEBELL_PORT is');
  });
});

describe('trusted proxies', () => {
  test.each([
    ['fe80::1%eth0', 'has a zone'],
    ['10.0.0.0/8, fe80::1%25eth0/64', 'has a zone'],
    ['::ffff:10.0.0.1', 'write it as an IPv4 address'],
    ['::ffff:a00:0/104', 'write it as an IPv4 address'],
    ['10.0.0.1/8', 'bits set beyond its prefix'],
    ['2001:db8::1/32', 'bits set beyond its prefix'],
    ['0.0.0.0/0', 'would trust everybody'],
    ['::/0', 'would trust everybody'],
    ['10.0.0.0/08', 'is neither'],
    ['010.0.0.1', 'is neither'],
    ['10.1', 'is neither'],
    ['0x7f.0.0.1', 'is neither'],
    ['10.0.0.0/255.0.0.0', 'is neither'],
    ['[::1]', 'is neither'],
    ['10.0.0.1:80', 'is neither'],
    ['', 'is neither'],
  ])('%j is refused: it %s', (text, says) => {
    const message = refusal({ GATEBELL_TRUSTED_PROXIES: text === '' ? '10.0.0.1,' : text });
    expect(message).toContain(says);
  });

  test.each([
    ['10.0.0.0/8', '10.255.0.1', '11.0.0.1', 'ipv4'],
    ['192.168.7.7', '192.168.7.7', '192.168.7.8', 'ipv4'],
    ['128.0.0.0/1', '255.0.0.1', '127.0.0.1', 'ipv4'],
    ['2001:DB8::/32', '2001:db8::1', '2001:db9::1', 'ipv6'],
    ['fe80::/10', 'fe80::1', 'fec0::1', 'ipv6'],
    ['::1', '::1', '::2', 'ipv6'],
  ] as const)('%s holds %s and not %s', (text, inside, outside, family) => {
    const { trustedProxies } = readConfig({}, { GATEBELL_TRUSTED_PROXIES: text });
    expect([trustedProxies.check(inside, family), trustedProxies.check(outside, family)]).toEqual([true, false]);
  });
});

test('docs/configuration.md has a row for each of them', () => {
  const page = readFileSync(fileURLToPath(new URL('../../../docs/configuration.md', import.meta.url)), 'utf8');
  const rows = page.split('\n').map(line => line.split('|').map(cell => cell.replaceAll('`', '').trim()));
  const TREATMENTS = { honoured: 'honoured', own: 'set by Gatebell', refused: 'refused' };
  for (const { parameter, variable, treatment, note } of LIBPQ) {
    const found = rows.find(cells => cells[1] === (variable ?? '') && cells[2] === parameter);
    expect(found?.slice(3, 5), variable ?? parameter).toEqual([TREATMENTS[treatment], note]);
  }
});
