/**
 * The deployment files agree with each other and with the program; no tool but Node is needed. See also
 * test/e2e/deploy.test.ts.
 */
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { ENVOY_PREFIX } from '../../src/auth/dialects/envoy.js';
import { haproxyDialect } from '../../src/auth/dialects/haproxy.js';
import { nginxDialect } from '../../src/auth/dialects/nginx.js';
import { forwardDialect } from '../../src/auth/dialects/forward.js';
import { refuse } from '../../src/auth/decide.js';
import { createReplySender } from '../../src/auth/reply.js';
import { CONFIG_VARIABLES, readConfig } from '../../src/config/config.js';
import { HEADERS_BYTES_MAX } from '../../src/http/server.js';
import { switchOn, switchToSockets } from '../support/proxies/proxy.js';

interface Service {
  readonly image?: string;
  readonly build?: string;
  readonly user?: string;
  readonly restart?: string;
  readonly privileged?: boolean;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly profiles?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly networks?: readonly string[];
  readonly depends_on?: readonly string[] | Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test?: readonly string[]; readonly disable?: boolean };
  readonly stop_grace_period?: string;
}

interface Network {
  readonly internal?: boolean;
  readonly ipam?: { readonly config: readonly { readonly subnet: string }[] };
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly networks: Readonly<Record<string, Network>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

interface Balanced {
  readonly loadBalancer: {
    readonly servers: readonly { readonly url: string }[];
    readonly healthCheck: { readonly path: string; readonly port?: number };
    readonly serversTransport?: string;
  };
}

interface TraefikDynamic {
  readonly http: {
    readonly routers: Readonly<
      Record<
        string,
        {
          readonly rule: string;
          readonly priority?: number;
          readonly entryPoints: readonly string[];
          readonly middlewares: readonly string[];
          readonly service: string;
        }
      >
    >;
    readonly middlewares: Readonly<
      Record<string, { readonly headers?: { readonly customRequestHeaders: Readonly<Record<string, string>> } }>
    > & {
      readonly gatebell: {
        readonly forwardAuth: {
          readonly address: string;
          readonly trustForwardHeader: boolean;
          readonly authResponseHeaders: readonly string[];
        };
      };
    };
    readonly services: Readonly<Record<string, Balanced>>;
    readonly serversTransports: Readonly<
      Record<string, { readonly forwardingTimeouts: { readonly responseHeaderTimeout: string } }>
    >;
  };
}

interface TraefikStatic {
  readonly entryPoints: Readonly<
    Record<
      string,
      {
        readonly address: string;
        readonly asDefault?: boolean;
        readonly forwardedHeaders?: { readonly trustedIPs?: readonly string[]; readonly insecure?: boolean };
      }
    >
  >;
}

interface EnvoyPatterns {
  readonly patterns: readonly { readonly exact: string }[];
}

interface EnvoyAuthz {
  readonly failure_mode_allow: boolean;
  readonly clear_route_cache: boolean;
  readonly allowed_headers: EnvoyPatterns;
  readonly http_service: {
    readonly server_uri: { readonly cluster: string };
    readonly path_prefix: string;
    readonly authorization_response: {
      readonly allowed_upstream_headers: EnvoyPatterns;
      readonly allowed_client_headers: EnvoyPatterns;
    };
  };
}

interface EnvoyMutation {
  readonly mutations: { readonly request_mutations: readonly { readonly remove: string }[] };
}

interface EnvoyBootstrap {
  readonly static_resources: {
    readonly listeners: readonly {
      readonly filter_chains: readonly {
        readonly filters: readonly {
          readonly typed_config: {
            readonly common_http_protocol_options: { readonly headers_with_underscores_action: string };
            readonly http_filters: readonly { readonly name: string; readonly typed_config: unknown }[];
            readonly route_config: {
              readonly virtual_hosts: readonly {
                readonly routes: readonly {
                  readonly match: { readonly prefix?: string; readonly safe_regex?: { readonly regex: string } };
                  readonly route: { readonly cluster: string };
                  readonly typed_per_filter_config?: Readonly<Record<string, unknown>>;
                }[];
              }[];
            };
          };
        }[];
      }[];
    }[];
    readonly clusters: readonly {
      readonly name: string;
      readonly common_lb_config?: { readonly healthy_panic_threshold: { readonly value: number } };
      readonly health_checks?: readonly { readonly http_health_check: { readonly path: string } }[];
      readonly load_assignment: {
        readonly endpoints: readonly {
          readonly lb_endpoints: readonly {
            readonly endpoint: {
              readonly address: { readonly socket_address: { readonly address: string; readonly port_value: number } };
              readonly health_check_config?: { readonly port_value: number };
            };
          }[];
        }[];
      };
    }[];
  };
}

interface Prometheus {
  readonly rule_files: readonly string[];
  readonly scrape_configs: readonly {
    readonly metrics_path: string;
    readonly static_configs: readonly { readonly targets: readonly string[] }[];
  }[];
}

interface Rules {
  readonly groups: readonly {
    readonly rules: readonly {
      readonly alert: string;
      readonly expr: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly annotations: Readonly<Record<string, string>>;
    }[];
  }[];
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string): string => readFileSync(root + path, 'utf8');
/** The shape is what the tests below go on to check. */
const readYaml = <T>(path: string): T => parse(read(path), { merge: true }) as T;

const compose = readYaml<Compose>('docker-compose.yml');
const services = Object.entries(compose.services);
const replicas = services.filter(([, service]) => service.environment?.['GATEBELL_REPLICA'] !== undefined);
const dockerfile = read('Dockerfile');
const traefik = readYaml<TraefikDynamic>('deploy/traefik/dynamic.yml').http;
const traefikStatic = readYaml<TraefikStatic>('deploy/traefik/traefik.yml');
const packageJson = JSON.parse(read('package.json')) as {
  readonly version: string;
  readonly engines?: { readonly node?: string };
};

/** What the gate looks at in the request of a client, besides its target. */
const ASKED_HEADERS = [
  'accept',
  'access-control-request-method',
  'authorization',
  'cookie',
  'depth',
  'destination',
  'origin',
  'sec-fetch-mode',
  'x-amz-copy-source',
  'x-copy-from',
  'x-requested-with',
];

/** What `${NAME:-default}` is when nothing is set. */
const withDefaults = (text: string): string => text.replace(/\$\{\w+:-([^}]*)\}/g, '$1');
const environmentOf = (service: Service): Record<string, string> =>
  Object.fromEntries(Object.entries(service.environment ?? {}).map(([name, value]) => [name, withDefaults(value)]));
const isOneShot = (service: Service): boolean => service.restart === 'no';
const dependencies = (service: Service): readonly string[] =>
  Array.isArray(service.depends_on) ? service.depends_on : Object.keys(service.depends_on ?? {});

/** A tag that names one release: three numbers, two for Postgres, or a digest. */
function isPinned(image: string): boolean {
  const [, name, tag] = /^([a-z0-9]+(?:[._/-][a-z0-9]+)*):([^@]+)(?:@sha256:[0-9a-f]{64})?$/.exec(image) ?? [];
  const [, version] = /^v?(\d+(?:\.\d+)+)(?:-[a-z0-9.-]+)?$/.exec(tag ?? '') ?? [];
  return (version?.split('.').length ?? 0) >= (name === 'postgres' ? 2 : 3);
}

/** Headers of a real 200, in lower case, without those that are not the app's business. */
async function identityHeaders(): Promise<string[]> {
  const sendReply = createReplySender({ loginPage: null, unknownAppStatus: 403, withoutCredential: null });
  const server = createServer((_, response) => {
    const decision = { ...refuse('bad_request'), reason: 'public', status: 200 } as const;
    sendReply(response, forwardDialect, decision, null, null);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const address = server.address();
    if (address === null || typeof address === 'string') {
      throw new Error('not listening on a port');
    }
    const response = await fetch(`http://127.0.0.1:${address.port}/`, { headers: { Connection: 'close' } });
    const others = new Set(['x-gatebell-reason', 'cache-control', 'content-length', 'date', 'connection']);
    return [...response.headers.keys()].filter(name => !others.has(name)).sort();
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

const lowerCase = (names: readonly string[]): string[] => names.map(name => name.toLowerCase()).sort();

/** The pages of sign-in, which are for who may not pass yet. */
const SIGN_IN_PATHS = ['/_gatebell/login', '/_gatebell/callback', '/_gatebell/logout'];

describe('docker-compose.yml', () => {
  test.each([
    ['postgres:18.6-bookworm', true],
    ['traefik/whoami:v1.11.0', true],
    ['registry.example.test/a/b:1.2.3', true],
    ['postgres', false],
    ['postgres:latest', false],
    ['postgres:18', false],
    ['node:22.23-slim', false],
    ['traefik:v3', false],
    ['Traefik:v3.1.2', false],
  ])('the check of tags takes %s for pinned: %s', (image, pinned) => {
    expect(isPinned(image)).toBe(pinned);
  });

  test.each(services)('%s runs a pinned image or one that is built here', (_, service) => {
    expect(service.image).toBeDefined();
    expect(isPinned(service.image ?? '')).toBe(true);
    if (service.build !== undefined) {
      expect(existsSync(`${root}${service.build}/Dockerfile`)).toBe(true);
      expect(service.image).toBe(`gatebell:${packageJson.version}`);
    }
  });

  test.each(services)('%s refers only to what is there', (_, service) => {
    for (const volume of service.volumes ?? []) {
      const [source = '', target] = volume.split(':');
      expect(target).toMatch(/^\//);
      expect(source.startsWith('./') ? existsSync(root + source) : source in compose.volumes, volume).toBe(true);
    }
    for (const network of service.networks ?? []) {
      expect(Object.keys(compose.networks)).toContain(network);
    }
    for (const dependency of dependencies(service)) {
      expect(Object.keys(compose.services)).toContain(dependency);
      const condition = Array.isArray(service.depends_on)
        ? 'service_started'
        : (service.depends_on as Record<string, { condition: string }>)[dependency]?.condition;
      const wanted = compose.services[dependency];
      if (condition === 'service_healthy') {
        expect(wanted?.healthcheck?.test).toBeDefined();
      }
      expect(condition === 'service_completed_successfully').toBe(wanted !== undefined && isOneShot(wanted));
    }
  });

  test('every network and volume is used', () => {
    const used = services.flatMap(([, { networks = [], volumes = [] }]) => [
      ...networks,
      ...volumes.map(volume => volume.split(':')[0]),
    ]);
    expect(used).toEqual(
      expect.arrayContaining([...Object.keys(compose.networks), ...Object.keys(compose.volumes)] as string[]),
    );
  });

  test.each(services.filter(([, service]) => !isOneShot(service)))(
    '%s is restarted, and its health is watched by itself or by Traefik',
    (name, service) => {
      expect(service.restart).toBe('unless-stopped');
      const byTraefik = Object.values(traefik.services).some(({ loadBalancer }) =>
        loadBalancer.servers.some(({ url }) => new URL(url).hostname === name && loadBalancer.healthCheck.path !== ''),
      );
      expect((service.healthcheck?.test?.length ?? 0) > 1 || byTraefik).toBe(true);
    },
  );

  test.each(services)('%s has no more rights than it needs', (name, service) => {
    expect(service.privileged).toBeUndefined();
    expect(service.security_opt).toContain('no-new-privileges:true');
    // Postgres' image starts as root, to give the volume to its user.
    if (name !== 'postgres') {
      expect(service.user).toMatch(/^([1-9][0-9]*:[1-9][0-9]*|postgres)$/);
      expect(service.read_only).toBe(true);
      expect(service.cap_drop).toEqual(['ALL']);
    }
    for (const port of service.ports ?? []) {
      expect(port).toMatch(/^127\.0\.0\.1:/);
    }
  });

  test('has three replicas that differ in nothing but their name', () => {
    expect(replicas).toHaveLength(3);
    const rest = replicas.map(([name, service]) => {
      const { GATEBELL_REPLICA: replica, ...environment } = environmentOf(service);
      expect(replica).toBe(name);
      return { ...service, environment };
    });
    expect(rest[1]).toEqual(rest[0]);
    expect(rest[2]).toEqual(rest[0]);
    expect(rest[0]?.stop_grace_period).toBeDefined();
  });

  test.each(replicas)('%s has a configuration that the program accepts, with least privilege', (_, service) => {
    const config = readConfig({}, environmentOf(service));
    expect(config.host).toBe('0.0.0.0');
    expect(new URL(config.databaseUrl ?? '').username).toBe('gatebell_replica');
    expect(read('deploy/compose/init-roles.sql')).toMatch(
      /create role gatebell_replica login .* in role gatebell_daemon;/,
    );
  });

  test('replicas trust the network that they share with Traefik alone', () => {
    const ranges = replicas.map(([, { environment }]) => environment?.['GATEBELL_TRUSTED_PROXIES']);
    const trusted = Object.entries(compose.networks).filter(([, { ipam }]) => ipam?.config[0]?.subnet === ranges[0]);
    expect(trusted).toHaveLength(1);
    const members = services.filter(([, { networks }]) => networks?.includes(trusted[0]![0]));
    expect(members.map(([name]) => name).sort()).toEqual([...replicas.map(([name]) => name), 'traefik'].sort());
  });

  test("keeps Postgres' data where images from 18 on put it, and off the host's ports", () => {
    const { postgres } = compose.services;
    expect(postgres?.image).toMatch(/^postgres:18\./);
    expect(postgres?.volumes).toContain('postgres-data:/var/lib/postgresql');
    expect(postgres?.ports).toBeUndefined();
  });

  test('names only variables that the program reads', () => {
    const named = `${read('docker-compose.yml')}\n${dockerfile}`.match(/\bGATEBELL_\w+/g) ?? [];
    expect(named.length).toBeGreaterThan(0);
    expect(CONFIG_VARIABLES).toEqual(expect.arrayContaining([...new Set(named)]));
  });
});

describe('Dockerfile', () => {
  const lines = dockerfile.replace(/\\\n/g, ' ').split('\n');
  const instructions = (name: string): string[] =>
    lines.filter(line => line.startsWith(`${name} `)).map(line => line.slice(name.length + 1).trim());

  test('builds on pinned images whose Node the package accepts', () => {
    const images = instructions('FROM').map(from => from.split(' ')[0] ?? '');
    expect(images.length).toBeGreaterThan(1);
    const engine = packageJson.engines?.node;
    const least = engine === undefined ? [0, 0] : /^>=(\d+)\.(\d+)(?:\.0)?$/.exec(engine)?.slice(1).map(Number);
    // Another form of range needs another comparison here.
    expect(least).toBeDefined();
    for (const image of images) {
      expect(isPinned(image), image).toBe(true);
      const [major = 0, minor = 0] = image.slice('node:'.length).split('.').map(Number);
      const [leastMajor = 0, leastMinor = 0] = least ?? [];
      expect(major > leastMajor || (major === leastMajor && minor >= leastMinor), image).toBe(true);
    }
  });

  test('copies what is there, and runs the command as another user than root', () => {
    for (const copy of instructions('COPY').filter(line => !line.startsWith('--from'))) {
      for (const source of copy.split(/\s+/).slice(0, -1)) {
        expect(existsSync(root + source), source).toBe(true);
      }
    }
    expect(instructions('USER').at(-1)).toBe('node');
    expect(instructions('ENTRYPOINT')).toEqual(['["node", "dist/cli.js"]']);
    expect(instructions('CMD')).toEqual(['["serve"]']);
    expect(instructions('EXPOSE')).toEqual(['4280 4281']);
    expect(instructions('HEALTHCHECK')[0]).toContain('/readyz');
  });

  test('has no secrets and no installed modules in its context', () => {
    const ignored = read('.dockerignore').split('\n');
    expect(ignored).toEqual(expect.arrayContaining(['.git', '.env*', 'node_modules', 'dist']));
  });
});

describe('Traefik', () => {
  const { forwardAuth } = traefik.middlewares.gatebell;
  const address = new URL(forwardAuth.address);
  const [gateName, gate] =
    Object.entries(traefikStatic.entryPoints).find(([, entryPoint]) => entryPoint.address === address.host) ?? [];

  test('asks the endpoint of its dialect, with what it knows itself', () => {
    expect(address.pathname).toBe('/auth/forward');
    expect(address.search).toBe('');
    expect(forwardAuth.trustForwardHeader).toBe(false);
  });

  test('copies the full set of identity headers', async () => {
    expect(lowerCase(forwardAuth.authResponseHeaders)).toEqual(await identityHeaders());
  });

  test('asks through an entry point of its own, which only it can reach and which keeps what it says', () => {
    expect(gate?.address).toMatch(/^127\.0\.0\.1:/);
    expect(gate?.forwardedHeaders).toEqual({ trustedIPs: ['127.0.0.1/32'] });
    expect(gate?.asDefault).toBeUndefined();
    const open = Object.values(traefikStatic.entryPoints).filter(entryPoint => entryPoint !== gate);
    expect(open.every(entryPoint => entryPoint.forwardedHeaders === undefined)).toBe(true);
  });

  test('balances over all replicas, by their readiness', () => {
    const router = Object.values(traefik.routers).find(({ entryPoints }) => entryPoints.includes(gateName ?? ''));
    expect(router?.rule).toBe(`Path(\`${address.pathname}\`)`);
    const service = traefik.services[router?.service ?? '']?.loadBalancer;
    expect(service?.servers.map(({ url }) => url)).toEqual(
      replicas.map(([name, { environment }]) => `http://${name}:${environment?.['GATEBELL_PORT']}`),
    );
    expect(service?.healthCheck.path).toBe('/readyz');
    expect(String(service?.healthCheck.port)).toBe(replicas[0]?.[1].environment?.['GATEBELL_OPS_PORT']);
  });

  test('hands sign-in on to the replicas, before anything else and without asking them', () => {
    const router = traefik.routers['sign-in'];
    expect(router?.rule.split(' || ')).toEqual(SIGN_IN_PATHS.map(path => `Path(\`${path}\`)`));
    expect(router?.service).toBe('gatebell-sign-in');
    expect(router?.middlewares).not.toContain('gatebell');
    expect(router?.priority).toBeGreaterThan(
      Math.max(...Object.values(traefik.routers).map(({ rule }) => rule.length)),
    );
  });

  test('waits for sign-in as long as the other proxies do, and asks the same replicas', () => {
    const { serversTransport: ofSignIn, ...signIn } = traefik.services['gatebell-sign-in']!.loadBalancer;
    const { serversTransport: ofDecisions, ...decisions } = traefik.services['gatebell']!.loadBalancer;
    expect(signIn).toEqual(decisions);
    const patience = (name?: string): string | undefined =>
      traefik.serversTransports[name ?? '']?.forwardingTimeouts.responseHeaderTimeout;
    expect(patience(ofSignIn)).toBe('40s');
    expect(patience(ofDecisions)).toBe('10s');
  });

  test('guards every app', () => {
    for (const router of Object.values(traefik.routers)) {
      expect(Object.keys(traefik.services)).toContain(router.service);
      if (!['gatebell', 'gatebell-sign-in'].includes(router.service)) {
        expect(router.middlewares.slice(1)).toEqual(['unclaimed', 'gatebell']);
      }
    }
  });

  test('hands on nothing but WebSockets as an upgrade, for every app', () => {
    const apps = Object.values(traefik.routers).filter(({ middlewares }) => middlewares.includes('gatebell'));
    const setBy = ({ middlewares }: (typeof apps)[number]): string | undefined =>
      traefik.middlewares[middlewares[0]!]?.headers?.customRequestHeaders['Upgrade'];
    const forWebSockets = apps.filter(({ rule }) => rule.endsWith(' && HeaderRegexp(`Upgrade`, `(?i)^websocket$`)'));
    const others = apps.filter(app => !forWebSockets.includes(app));
    expect(forWebSockets.map(({ rule }) => rule.split(' && HeaderRegexp')[0])).toEqual(others.map(({ rule }) => rule));
    expect(new Set(forWebSockets.map(setBy))).toEqual(new Set(['websocket']));
    expect(new Set(others.map(setBy))).toEqual(new Set(['']));
  });
});

describe('nginx', () => {
  const conf = `${read('deploy/nginx/gatebell.conf')}\n${read('deploy/nginx/gatebell-headers.conf')}`
    .replace(/^\s*#.*$/gm, '')
    .replace(/\s+/g, ' ');

  test('hands on every identity header, from the gate and from nobody else', async () => {
    const names = await identityHeaders();
    for (const name of names) {
      const variable = new RegExp(`auth_request_set (\\$\\w+) \\$upstream_http_${name.replaceAll('-', '_')};`).exec(
        conf,
      );
      expect(variable, name).not.toBeNull();
      expect(conf.toLowerCase()).toContain(`proxy_set_header ${name} ${variable?.[1]};`);
    }
  });

  test('asks the endpoint of its dialect, without a body', () => {
    const location = /location = \/_gatebell \{([^}]*)\}/.exec(conf)?.[1] ?? '';
    expect(location).toContain('internal;');
    expect(location).toContain(`proxy_pass http://gatebell/auth/${nginxDialect.name};`);
    expect(location).toContain('proxy_pass_request_body off;');
    expect(location).toContain('proxy_set_header Content-Length "";');
    expect(location).toMatch(/proxy_set_header X-Original-URL \$gatebell_scheme:\/\/\$\w+\$request_uri;/);
    expect(location).toContain('proxy_set_header X-Original-Method $request_method;');
  });

  test('hands sign-in on to the gate by a path of its own making, and says itself where it is from', () => {
    const location = /location ~ \^\/_gatebell\/\(([a-z|]+)\)\$ \{([^}]*)\}/.exec(conf);
    expect(location?.[1]?.split('|').map(name => `/_gatebell/${name}`)).toEqual(SIGN_IN_PATHS);
    expect(location?.[2]).toContain('auth_request off;');
    expect(location?.[2]).toContain('proxy_pass http://gatebell/_gatebell/$1$is_args$args;');
    expect(location?.[2]).toContain('proxy_pass_request_body off;');
    expect(location?.[2]).toContain('proxy_set_header X-Forwarded-Host $gatebell_host;');
    expect(location?.[2]).toContain('proxy_set_header X-Forwarded-Proto $gatebell_scheme;');
  });

  test('keeps connections to several replicas', () => {
    const upstream = /upstream gatebell \{([^}]*)\}/.exec(read('deploy/nginx/gatebell-upstream.conf'))?.[1] ?? '';
    expect(upstream.match(/^\s*server /gm)?.length).toBeGreaterThan(1);
    expect(upstream).toMatch(/^\s*keepalive [1-9]/m);
  });
});

describe('Caddy', () => {
  test('hands sign-in on to the gate before it asks it', () => {
    const matcher = /^\s*@gatebell vars \{http\.request\.uri\.path\} (.+)$/m.exec(caddyfile);
    expect(matcher?.[1]?.split(' ')).toEqual(SIGN_IN_PATHS);
    expect(caddyfile.indexOf('reverse_proxy @gatebell')).toBeLessThan(caddyfile.indexOf('forward_auth {$'));
  });

  const caddyfile = read('deploy/caddy/Caddyfile');

  test('removes every identity header that a client sends, and copies the gate’s', async () => {
    const names = await identityHeaders();
    const removed = [...caddyfile.matchAll(/^\s*request_header -(\S+)$/gm)].map(match => match[1] ?? '');
    const copied = /^\s*copy_headers (.+)$/m.exec(caddyfile)?.[1]?.split(' ') ?? [];
    const isRemoved = (name: string): boolean =>
      lowerCase(removed).some(line => line === name || (line.endsWith('*') && name.startsWith(line.slice(0, -1))));
    expect(names.filter(name => !isRemoved(name))).toEqual([]);
    expect(lowerCase(copied)).toEqual(names);
    expect(caddyfile.indexOf('request_header')).toBeLessThan(caddyfile.indexOf('forward_auth {$'));
  });

  test('asks the endpoint of its dialect', () => {
    // Without the question mark Caddy appends the client's query, and raw UTF-8 there makes the question no HTTP.
    expect(caddyfile).toMatch(/^\s*uri \/auth\/forward\?$/m);
  });
});

describe('HAProxy', () => {
  const cfg = read('deploy/haproxy/haproxy.cfg').replace(/^\s*#.*$/gm, '');
  const lua = read('deploy/haproxy/gatebell.lua');
  const namesIn = (table: string): string[] =>
    [...(new RegExp(`^local ${table} = \\{([^}]*)\\}`, 'm').exec(lua)?.[1] ?? '').matchAll(/'([^']+)'/g)].map(
      m => m[1]!,
    );

  test('removes every identity header that a client sends, in either spelling, before it asks', async () => {
    const removed = [...cfg.matchAll(/http-request del-header (\S+)(?: -m (\w+))?/g)].map(
      ([, name = '', method]) => new RegExp(method === 'reg' ? name : `^${name}$`),
    );
    for (const name of await identityHeaders()) {
      for (const spelling of [name, name.replaceAll('-', '_'), name.replace('-', '_')]) {
        expect(
          removed.some(pattern => pattern.test(spelling)),
          spelling,
        ).toBe(true);
      }
    }
    expect(cfg.lastIndexOf('del-header')).toBeLessThan(cfg.indexOf('lua.gatebell'));
  });

  test('asks the endpoint of its dialect, and takes over the full set of identity headers', async () => {
    expect(lua).toContain(`/auth/${haproxyDialect.name}`);
    expect(namesIn('COPIED').sort()).toEqual([...(await identityHeaders()), 'authorization', 'cookie'].sort());
  });

  test('tells the gate every header that it looks at', () => {
    expect(namesIn('PASSED').sort()).toEqual([...ASKED_HEADERS].sort());
  });

  test('hands sign-in on to the replicas, without asking them', () => {
    expect(/acl sign_in path -m str (.*)/.exec(cfg)?.[1]?.split(' ')).toEqual(SIGN_IN_PATHS);
    expect(cfg).toContain('http-request lua.gatebell "$GATE" unless sign_in');
    expect(cfg).toContain('use_backend gatebell if sign_in');
  });

  test('hands nothing on by its own socket but the question of its dialect', () => {
    const frontend = /^frontend gate\n((?: .*\n)*)/m.exec(cfg.replace(/^\s*\n/gm, ''))?.[1] ?? '';
    expect(frontend.trim().split(/\s*\n\s*/)).toEqual([
      'bind "$GATE"',
      `http-request deny deny_status 403 unless { path -m str /auth/${haproxyDialect.name} }`,
      'default_backend gatebell',
    ]);
  });

  test('balances over several replicas, by their readiness', () => {
    expect(cfg).toContain('option httpchk GET /readyz');
    expect(cfg.match(/^\s*server gatebell-\d "\$GATE_\d" port "\$GATE_\d_OPS_PORT"$/gm)).toHaveLength(3);
  });
});

describe('Envoy', () => {
  const { listeners, clusters } = readYaml<EnvoyBootstrap>('deploy/envoy/envoy.yaml').static_resources;
  const manager = listeners[0]!.filter_chains[0]!.filters[0]!.typed_config;
  const filter = <T>(name: string): T =>
    manager.http_filters.find(({ name: of }) => of === `envoy.filters.http.${name}`)?.typed_config as T;
  const authz = filter<EnvoyAuthz>('ext_authz');
  const exact = ({ patterns }: EnvoyPatterns): string[] => patterns.map(({ exact: name }) => name).sort();

  test('lets nobody through when the gate fails', () => {
    expect(authz.failure_mode_allow).toBe(false);
    expect(authz.clear_route_cache).toBe(false);
  });

  test('asks the endpoint of its dialect, and tells it every header that it looks at', () => {
    expect(authz.http_service.path_prefix).toBe(ENVOY_PREFIX);
    expect(exact(authz.allowed_headers)).toEqual([...ASKED_HEADERS, 'x-forwarded-for', 'x-forwarded-proto'].sort());
  });

  test('removes every identity header that a client sends before it asks, and takes over the full set', async () => {
    const names = await identityHeaders();
    const { mutations } = filter<EnvoyMutation>('header_mutation');
    expect(mutations.request_mutations.map(({ remove }) => remove)).toEqual(expect.arrayContaining(names));
    expect(manager.http_filters.map(({ name }) => name.split('.').at(-1))).toEqual([
      'header_mutation',
      'ext_authz',
      'router',
    ]);
    const { authorization_response: answer } = authz.http_service;
    expect(exact(answer.allowed_upstream_headers)).toEqual([...names, 'authorization', 'cookie'].sort());
    expect(manager.common_http_protocol_options.headers_with_underscores_action).toBe('DROP_HEADER');
  });

  test('tells the client why, and sets no cookie of the gate', () => {
    const { authorization_response: answer } = authz.http_service;
    expect(exact(answer.allowed_client_headers)).toEqual(
      ['cache-control', 'location', 'retry-after', 'www-authenticate', 'x-gatebell-reason'].sort(),
    );
  });

  test('hands sign-in on to the replicas, without asking them', () => {
    const [signIn, rest] = manager.route_config.virtual_hosts[0]!.routes;
    const pattern = new RegExp(`^(?:${signIn!.match.safe_regex?.regex})$`);
    expect(SIGN_IN_PATHS.every(path => pattern.test(path))).toBe(true);
    expect(
      ['/_gatebell', '/_gatebell/', '/_gatebell/login/', '/x/_gatebell/login'].some(path => pattern.test(path)),
    ).toBe(false);
    expect(signIn!.route.cluster).toBe('gatebell');
    expect(signIn!.typed_per_filter_config?.['envoy.filters.http.ext_authz']).toMatchObject({ disabled: true });
    expect(rest).toMatchObject({ match: { prefix: '/' }, route: { cluster: 'app' } });
    expect(rest).not.toHaveProperty('typed_per_filter_config');
  });

  test('believes no X-Forwarded-* of a client, and normalises paths before anybody looks at them', () => {
    expect(manager).toMatchObject({
      use_remote_address: true,
      normalize_path: true,
      merge_slashes: true,
      path_with_escaped_slashes_action: 'REJECT_REQUEST',
    });
  });

  test('balances over all replicas, by their readiness', () => {
    const cluster = clusters.find(({ name }) => name === authz.http_service.server_uri.cluster);
    expect(cluster?.health_checks?.[0]?.http_health_check.path).toBe('/readyz');
    expect(cluster?.common_lb_config?.healthy_panic_threshold.value).toBe(0);
    const endpoints = cluster?.load_assignment.endpoints[0]?.lb_endpoints.map(({ endpoint }) => ({
      ...endpoint.address.socket_address,
      ops: endpoint.health_check_config?.port_value,
    }));
    expect(endpoints).toEqual(
      replicas.map(([name, { environment }]) => ({
        address: name,
        port_value: Number(environment?.['GATEBELL_PORT']),
        ops: Number(environment?.['GATEBELL_OPS_PORT']),
      })),
    );
  });
});

describe('a load balancer before the proxy', () => {
  const FILES = [
    'nginx/gatebell-upstream.conf',
    'caddy/Caddyfile',
    'haproxy/haproxy.cfg',
    'traefik/traefik.yml',
    'traefik/dynamic.yml',
    'envoy/envoy.yaml',
  ];
  const BELIEVING = new RegExp(
    [
      'set_real_ip_from|192\\.0\\.2\\.10|HOPS|set-src|from_hop|remote_ip',
      'trusted_proxies|trustedIPs: \\[(?!127)|xff_num_trusted_hops: [1-9]',
    ].join('|'),
  );

  test.each(FILES)('%s believes none until its lines are switched on', name => {
    const lines = read(`deploy/${name}`).split('\n');
    expect(lines.some(line => line.trim().startsWith('#hop '))).toBe(true);
    expect(lines.filter(line => !line.trim().startsWith('#') && BELIEVING.test(line))).toEqual([]);
  });

  test.each(['traefik/traefik.yml', 'traefik/dynamic.yml', 'envoy/envoy.yaml'])(
    '%s has one setting of each name with its lines switched on, too',
    name => {
      expect(parse(switchOn(read(`deploy/${name}`), { hop: '198.51.100.7' }))).toBeTypeOf('object');
    },
  );

  test('Envoy, which believes any peer about the scheme then, lets only the load balancer connect', () => {
    const text = switchOn(read('deploy/envoy/envoy.yaml'), { hop: '198.51.100.7' });
    const [chain, ...others] = (parse(text) as EnvoyBootstrap).static_resources.listeners[0]!.filter_chains;
    expect(others).toEqual([]);
    expect(chain).toMatchObject({
      filter_chain_match: { direct_source_prefix_ranges: [{ address_prefix: '198.51.100.7', prefix_len: 32 }] },
      filters: [{ typed_config: { use_remote_address: true, xff_num_trusted_hops: 1 } }],
    });
  });
});

describe('replicas on Unix sockets', () => {
  const SOCKETS = ['/run/gatebell/a.sock', '/run/gatebell/b.sock'];
  const withoutComments = (text: string): string => text.replaceAll(/^\s*#.*\n/gm, '');

  test.each(['nginx/gatebell-upstream.conf', 'caddy/Caddyfile', 'haproxy/haproxy.cfg', 'envoy/envoy.yaml'])(
    '%s says how, and names none until that is done',
    name => {
      const text = read(`deploy/${name}`);
      expect(text).toContain('unix:/run/gatebell/auth.sock');
      expect(text).toContain('docs/proxies.md');
      expect(withoutComments(text)).not.toContain('/run/gatebell');
    },
  );

  test('nginx asks the sockets in place of the ports, and keeps connections', () => {
    const text = withoutComments(switchToSockets(read('deploy/nginx/gatebell-upstream.conf'), SOCKETS));
    const upstream = /upstream gatebell \{([^}]*)\}/.exec(text)?.[1] ?? '';
    expect(upstream.match(/server .*/g)).toEqual(
      SOCKETS.map(path => `server unix:${path} max_fails=1 fail_timeout=2s;`),
    );
    expect(upstream).toMatch(/^\s*keepalive [1-9]/m);
  });

  test('Envoy asks the sockets in place of the ports, and whether they are ready', () => {
    const text = read('deploy/envoy/envoy.yaml');
    const before = (parse(text) as EnvoyBootstrap).static_resources.clusters;
    const [gate, ...others] = (parse(switchToSockets(text, SOCKETS)) as EnvoyBootstrap).static_resources.clusters;
    expect(others).toEqual(before.slice(1));
    expect(gate).toEqual({
      ...before[0],
      // Envoy resolves no names of sockets.
      type: 'STATIC',
      load_assignment: {
        cluster_name: 'gatebell',
        endpoints: [{ lb_endpoints: SOCKETS.map(path => ({ endpoint: { address: { pipe: { path } } } })) }],
      },
    });
    expect(gate?.health_checks?.[0]?.http_health_check.path).toBe('/readyz');
  });
});

describe('Prometheus', () => {
  /** The promised names; what a histogram is made of comes on top. */
  const counted = [
    'gatebell_decisions_total',
    'gatebell_cache_lookups_total',
    'gatebell_cache_entries',
    'gatebell_signals_total',
    'gatebell_invalidations_total',
    'gatebell_flushes_total',
    'gatebell_listener_state',
    'gatebell_listener_connections_total',
    'gatebell_staleness_bound_seconds',
    'gatebell_db_queries_total',
    'gatebell_notify_queue_usage_ratio',
    'gatebell_watch_problems',
    'gatebell_audit_stale_facts_total',
  ];
  const histograms = ['gatebell_decision_duration_seconds', 'gatebell_fence_rtt_seconds', 'gatebell_load_batch_size'];
  const known = new Set([
    // Prometheus' own: whether the scrape succeeded.
    'up',
    ...counted,
    ...histograms.flatMap(name => [`${name}_bucket`, `${name}_sum`, `${name}_count`]),
  ]);
  const rules = readYaml<Rules>('deploy/prometheus/alerts.yml').groups.flatMap(group => group.rules);

  /** Names of series in an expression: what is left without labels, ranges, groupings, functions and operators. */
  function seriesNames(expression: string): string[] {
    const bare = expression
      .replace(/\{[^}]*\}|\[[^\]]*\]|"[^"]*"/g, '')
      .replace(/\b(?:by|without|on|ignoring)\s*\([^)]*\)/g, '');
    return [...bare.matchAll(/\b([a-zA-Z_:][\w:]*)\b(?!\s*\()/g)]
      .map(match => match[1] ?? '')
      .filter(name => !['and', 'or', 'unless', 'bool', 'sum', 'max', 'min', 'count', 'avg'].includes(name));
  }

  test('scrapes every replica on its ops port', () => {
    const { scrape_configs: jobs, rule_files: files } = readYaml<Prometheus>('deploy/prometheus/prometheus.yml');
    expect(jobs.flatMap(job => job.static_configs.flatMap(({ targets }) => targets))).toEqual(
      replicas.map(([name, { environment }]) => `${name}:${environment?.['GATEBELL_OPS_PORT']}`),
    );
    expect(jobs.every(job => job.metrics_path === '/metrics')).toBe(true);
    for (const file of files) {
      expect(existsSync(`${root}deploy/prometheus/${file}`)).toBe(true);
    }
  });

  test('the check of expressions finds names of series, and nothing else', () => {
    expect(seriesNames('sum by (le, x) (rate(a_bucket{b="c"}[5m])) > 0.5 or vector(0) and max(d_total)')).toEqual([
      'a_bucket',
      'd_total',
    ]);
  });

  test.each(rules.map(rule => [rule.alert, rule] as const))('%s is about series that exist', (_, rule) => {
    const names = seriesNames(rule.expr);
    expect(names).not.toHaveLength(0);
    for (const name of names) {
      expect(known.has(name) || /^(process|nodejs)_/.test(name), name).toBe(true);
    }
    expect(rule.labels['severity']).toMatch(/^(warning|critical)$/);
    expect(rule.annotations['summary']).toBeTruthy();
    expect(rule.annotations['description']).toBeTruthy();
  });

  test.each([
    'gatebell_listener_state',
    'gatebell_staleness_bound_seconds',
    'gatebell_notify_queue_usage_ratio',
    'gatebell_listener_connections_total',
    'gatebell_decisions_total',
    'gatebell_fence_rtt_seconds_bucket',
  ])('an alert watches %s', name => {
    expect(rules.some(rule => seriesNames(rule.expr).includes(name))).toBe(true);
  });
});

describe('no request of a client can take a replica away', () => {
  /** A file without its comments. */
  const settings = (name: string): string =>
    readFileSync(fileURLToPath(new URL(`../../deploy/${name}`, import.meta.url)), 'utf8')
      .replaceAll(/^\s*#.*$/gm, '')
      .replaceAll(/\s#\s.*$/gm, '');

  test.each([
    ['caddy/Caddyfile', /fail_duration|max_fails|unhealthy_|health_port/],
    ['haproxy/haproxy.cfg', /observe|on-error|error-limit|mark-down/],
    ['nginx/gatebell.conf', /proxy_next_upstream .*(?:http_|invalid_header|non_idempotent)/],
    ['traefik/dynamic.yml', /passiveHealthCheck|circuitBreaker/],
    ['envoy/envoy.yaml', /enforcing_\w+: [1-9]|consecutive_(?:5xx|gateway_failure): [1-9]/],
  ])('%s counts no statuses and no broken requests against one', (name, counting) => {
    expect(settings(name)).not.toMatch(counting);
  });

  test.each([
    ['caddy/Caddyfile', /health_uri \/readyz/g, 2],
    ['haproxy/haproxy.cfg', /httpchk GET \/readyz/g, 1],
    ['traefik/dynamic.yml', /path: \/readyz/g, 2],
    ['envoy/envoy.yaml', /path: \/readyz/g, 1],
  ])('%s checks whether it is ready instead', (name, check, times) => {
    expect(settings(name).match(check)).toHaveLength(times);
  });

  test('the gate takes more than a proxy accepts: the question repeats the URL and adds headers', () => {
    const KB = 1_024;
    const numberIn = (name: string, pattern: RegExp): number => Number(pattern.exec(settings(name))?.[1]);
    const nginxLines = /large_client_header_buffers (\d+) (\d+)k/.exec(settings('nginx/gatebell.conf'));
    const lineBytes = Number(nginxLines?.[2]) * KB;
    const limits = {
      nginx: Number(nginxLines?.[1]) * lineBytes + lineBytes,
      HAProxy:
        numberIn('haproxy/haproxy.cfg', /req\.hdrs,length gt (\d+)/) +
        numberIn('haproxy/haproxy.cfg', /url,length gt (\d+)/),
      Envoy: numberIn('envoy/envoy.yaml', /max_request_headers_kb: (\d+)/) * KB,
    };
    const ROOM = 4 * KB;
    for (const [name, bytes] of Object.entries(limits)) {
      expect(bytes + ROOM, name).toBeLessThanOrEqual(HEADERS_BYTES_MAX);
    }
    expect(numberIn('haproxy/haproxy.cfg', /tune\.bufsize (\d+)/)).toBeGreaterThanOrEqual(limits.HAProxy + ROOM);
  });
});
