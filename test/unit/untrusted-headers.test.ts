/**
 * Every proxy's file of deploy/ removes the headers of deploy/untrusted-headers.yml, and leaves the ordinary ones
 * alone.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { ORDINARY_HEADERS, REASONS, spellingsOf, UNTRUSTED_HEADERS } from '../support/untrusted-headers.js';

const read = (path: string): string => readFileSync(new URL(`../../deploy/${path}`, import.meta.url), 'utf8');
const withoutComments = (text: string): string => text.replace(/^\s*#.*$/gm, '');

/** A place in some file that removes or replaces a client's header. */
type Rule = (lowerCaseName: string) => boolean;

const isName =
  (name: string): Rule =>
  other =>
    other === name.toLowerCase();
const matches =
  (source: string): Rule =>
  other =>
    new RegExp(source).test(other);
const isOdd: Rule = name => /[^a-z0-9-]/.test(name);

function nginxRules(): Rule[] {
  const conf = withoutComments(read('nginx/gatebell.conf'));
  expect(conf).toContain('ignore_invalid_headers on;');
  expect(conf).toContain('underscores_in_headers off;');
  expect(conf).toMatch(/location \/ \{[^}]*include gatebell\/gatebell-headers\.conf;/);
  const names = [...withoutComments(read('nginx/gatebell-headers.conf')).matchAll(/^proxy_set_header (\S+) /gm)];
  return [isOdd, ...names.map(match => isName(match[1]!))];
}

function caddyRules(): Rule[] {
  const text = read('caddy/Caddyfile');
  return [...text.slice(0, text.indexOf('forward_auth {$')).matchAll(/^\s*request_header -(\S+)$/gm)].map(match => {
    const pattern = match[1]!.toLowerCase();
    if (pattern.startsWith('*')) {
      return name => name.includes(pattern.slice(1, -1));
    }
    return pattern.endsWith('*') ? name => name.startsWith(pattern.slice(0, -1)) : isName(pattern);
  });
}

function haproxyRules(): Rule[] {
  const cfg = withoutComments(read('haproxy/haproxy.cfg'));
  return [...cfg.slice(0, cfg.indexOf('lua.gatebell')).matchAll(/http-request del-header (\S+)(?: -m (\w+))?$/gm)].map(
    ([, pattern, method]) => (method === 'reg' ? matches(pattern!) : isName(pattern!)),
  );
}

/** What Traefik's entry point removes or replaces itself, for clients that are not trusted. */
const TRAEFIK_SETS = [
  'X-Forwarded-For',
  'X-Forwarded-Host',
  'X-Forwarded-Port',
  'X-Forwarded-Proto',
  'X-Forwarded-Server',
];

function traefikRules(): Rule[] {
  const { entryPoints } = parse(read('traefik/traefik.yml')) as {
    entryPoints: { web: { http: { aliasHeadersStrategy: string } } };
  };
  expect(entryPoints.web.http.aliasHeadersStrategy).toBe('delete');
  const { http } = parse(read('traefik/dynamic.yml')) as {
    http: { middlewares: { unclaimed: { headers: { customRequestHeaders: Record<string, string> } } } };
  };
  const { customRequestHeaders: custom } = http.middlewares.unclaimed.headers;
  expect(new Set(Object.values(custom))).toEqual(new Set(['']));
  return [isOdd, ...[...Object.keys(custom), ...TRAEFIK_SETS, 'X-Real-Ip'].map(isName)];
}

/** What Envoy overwrites itself with use_remote_address. */
const ENVOY_SETS = ['X-Forwarded-Proto'];

function envoyRules(): Rule[] {
  type Mutation = {
    remove?: string;
    append?: { header: { key: string } };
    remove_on_match?: { key_matcher: { safe_regex: { regex: string } } };
  };
  const names: Mutation[] = [];
  // The mutations stand deep inside: whatever is of their form is one.
  JSON.stringify(parse(read('envoy/envoy.yaml')), (key, value: unknown) => {
    if (key === 'request_mutations') {
      names.push(...(value as Mutation[]));
    }
    return value;
  });
  return [
    ...ENVOY_SETS.map(isName),
    ...names.map(({ remove, append, remove_on_match: match }) =>
      match === undefined
        ? isName(remove ?? append!.header.key)
        : matches(`^(?:${match.key_matcher.safe_regex.regex})$`),
    ),
  ];
}

const FILES = { nginx: nginxRules, Caddy: caddyRules, HAProxy: haproxyRules, Traefik: traefikRules, Envoy: envoyRules };

describe('the list', () => {
  test('names each header once, as HTTP writes it, and says who believes it', () => {
    const names = UNTRUSTED_HEADERS.map(({ name }) => name);
    expect(names.length).toBeGreaterThan(150);
    expect(new Set(names.map(name => name.toLowerCase())).size).toBe(names.length);
    expect(Object.keys(REASONS)).toHaveLength(names.length);
    for (const name of names) {
      expect(name).toMatch(/^[A-Z][a-z0-9]*(?:-[A-Z][a-z0-9]*)*$/);
      expect(REASONS[name]?.length, name).toBeGreaterThan(3);
    }
  });

  test('has no ordinary header', () => {
    const names = UNTRUSTED_HEADERS.map(({ name }) => name.toLowerCase());
    expect(ORDINARY_HEADERS.filter(([name]) => names.includes(name.toLowerCase()))).toEqual([]);
  });
});

describe.each(Object.entries(FILES))('%s', (_, rulesOf) => {
  const rules = rulesOf();
  const isRemoved = (name: string): boolean => rules.some(rule => rule(name.toLowerCase()));

  test('removes or sets every header of the list, in every spelling', () => {
    const kept = UNTRUSTED_HEADERS.flatMap(({ name }) => spellingsOf(name)).filter(spelling => !isRemoved(spelling));
    expect(kept).toEqual([]);
  });

  test('leaves alone ordinary headers, credentials, and what WebDAV and WebSockets need', () => {
    const needed = ['Cookie', 'Authorization', 'Content-Length', 'Destination', 'Sec-WebSocket-Key'];
    expect([...ORDINARY_HEADERS.map(([name]) => name), ...needed].filter(isRemoved)).toEqual([]);
  });
});

test('the pattern of Envoy, which sees :path as a header too, leaves the request itself alone', () => {
  const rules = envoyRules();
  expect([':path', ':method', ':authority', ':scheme'].filter(name => rules.some(rule => rule(name)))).toEqual([]);
});
