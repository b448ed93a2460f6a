/**
 * Envoy's ext_authz over HTTP as a conformance test: what its source does with a request, configured from
 * deploy/envoy/envoy.yaml. It is not Envoy. Ported from envoyproxy/envoy:
 * - source/extensions/filters/common/ext_authz/check_request_utils.cc (1.2x on): what is told to the gate, headers that
 *   came twice joined with a comma (before CVE-2021-32777 the last one won);
 * - source/extensions/filters/common/ext_authz/ext_authz_http_impl.cc (at 9c276e3): path_prefix, the header lists and
 *   their defaults, Content-Length 0, exactly 200 allows, 5xx is an error, everything else is denied and told to the
 *   client;
 * - source/extensions/filters/http/ext_authz/ext_authz.cc (at 008b93a): headers of a 200 replace those of the request,
 *   empty ones too; failure_mode_allow and status_on_error;
 * - source/common/http/conn_manager_utility.cc, path_utility.cc, http1/codec_impl.cc: use_remote_address,
 *   X-Forwarded-*, normalize_path, merge_slashes, path_with_escaped_slashes_action, fragments refused,
 *   headers_with_underscores_action, the authority of an absolute target, Host twice is one value with a comma,
 *   HTTP/1.0 is answered 426, an upgrade to h2c is ignored and any other that is not configured is answered 403;
 * - source/common/http/header_mutation.cc: remove, and remove_on_match, which matches whole names;
 * - source/common/http/async_client_impl.cc, router/retry_state_impl.cc and upstream/outlier_detection_impl.cc:
 *   X-Forwarded-For of Envoy itself, retries asked for by headers, replicas that failed left alone.
 * Left out: HTTP/2 and 3, TLS, health checks (they only make failing over sooner), statistics, timeouts.
 */
import { Agent } from 'node:http';
import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { askPlain, HeaderList, NoAnswerError, startPlainServer, type PlainAnswer } from './plain-http.js';
import { areSockets, deployFile, switchOn, switchToSockets, type TestProxy } from './proxy.js';

interface Patterns {
  readonly patterns: readonly { readonly exact: string }[];
}

interface HeaderMutation {
  readonly mutations: {
    readonly request_mutations: readonly (
      | { readonly remove: string }
      | { readonly append: { readonly header: { readonly key: string; readonly value: string } } }
      | { readonly remove_on_match: { readonly key_matcher: { readonly safe_regex: { readonly regex: string } } } }
    )[];
  };
}

interface ExtAuthz {
  readonly failure_mode_allow: boolean;
  readonly status_on_error: { readonly code: string };
  readonly allowed_headers: Patterns;
  readonly http_service: {
    readonly path_prefix: string;
    readonly authorization_request: {
      readonly headers_to_add: readonly { readonly key: string; readonly value: string }[];
    };
    readonly authorization_response: {
      readonly allowed_upstream_headers: Patterns;
      readonly allowed_client_headers: Patterns;
    };
  };
}

interface ConnectionManager {
  readonly use_remote_address: boolean;
  readonly normalize_path: boolean;
  readonly merge_slashes: boolean;
  readonly path_with_escaped_slashes_action: string;
  readonly common_http_protocol_options: { readonly headers_with_underscores_action: string };
  readonly max_request_headers_kb: number;
  readonly upgrade_configs: readonly { readonly upgrade_type: string }[];
  readonly http_filters: readonly { readonly name: string; readonly typed_config: unknown }[];
}

interface OutlierDetection {
  readonly consecutive_local_origin_failure: number;
  readonly base_ejection_time: string;
  readonly max_ejection_percent: number;
}

interface Bootstrap {
  readonly static_resources: {
    readonly clusters: readonly { readonly name: string; readonly outlier_detection?: OutlierDetection }[];
    readonly listeners: readonly {
      readonly filter_chains: readonly { readonly filters: readonly { readonly typed_config: ConnectionManager }[] }[];
    }[];
  };
}

const STATUS_CODES: Readonly<Record<string, number>> = { Forbidden: 403, ServiceUnavailable: 503 };

const nameMatcher = ({ patterns }: Patterns, defaults: readonly string[] = []): ((name: string) => boolean) => {
  const names = new Set([...patterns.map(({ exact }) => exact), ...defaults]);
  return name => names.has(name);
};

/** A path after Envoy's normalisation, or the 400 that it answers. */
function normalisePath(target: string, manager: ConnectionManager): string | null {
  if (target.includes('#')) {
    return null;
  }
  const question = target.indexOf('?');
  const raw = question === -1 ? target : target.slice(0, question);
  const query = question === -1 ? '' : target.slice(question);
  if (!raw.startsWith('/')) {
    return null;
  }
  if (manager.path_with_escaped_slashes_action === 'REJECT_REQUEST' && /%(?:2f|5c)/i.test(raw)) {
    return null;
  }
  let path = raw;
  if (manager.normalize_path) {
    // The URL canonicaliser of Chromium: escaped unreserved characters are decoded, dots and backslashes resolved.
    const decoded = path.replace(/%([0-9A-Fa-f]{2})/g, (encoded, hex: string) => {
      const character = String.fromCharCode(Number.parseInt(hex, 16));
      return /[A-Za-z0-9\-._~]/.test(character) ? character : encoded;
    });
    if (!URL.canParse(`http://host${decoded}`)) {
      return null;
    }
    path = new URL(`http://host${decoded}`).pathname;
  }
  if (manager.merge_slashes) {
    path = path.replace(/\/{2,}/g, '/');
  }
  return path + query;
}

/** Sends the check to one replica after the other, as the two headers ask, and leaves alone what has failed. */
function createCheckClient(
  gates: readonly string[],
  { consecutive_local_origin_failure: failuresMax, base_ejection_time, max_ejection_percent }: OutlierDetection,
): (ask: CheckRequest) => Promise<PlainAnswer | null> {
  const agent = new Agent({ keepAlive: true });
  const ejectionMs = Number.parseFloat(base_ejection_time) * 1_000;
  const ejectedUntil = new Map<string, number>();
  let turn = 0;

  const isEjected = (gate: string): boolean => (ejectedUntil.get(gate) ?? 0) > performance.now();
  const next = (): string => {
    const healthy = gates.filter(gate => !isEjected(gate));
    const choice = healthy.length === 0 ? gates : healthy;
    return choice[turn++ % choice.length]!;
  };
  const fail = (gate: string): void => {
    const ejected = gates.filter(isEjected).length;
    // One may always be ejected, and more up to the percentage.
    if (failuresMax === 1 && (ejected === 0 || ((ejected + 1) * 100) / gates.length <= max_ejection_percent)) {
      ejectedUntil.set(gate, performance.now() + ejectionMs);
    }
  };

  return async ({ method, path, headers }) => {
    const retries = headers.get('x-envoy-retry-on')?.includes('reset')
      ? Number(headers.get('x-envoy-max-retries') ?? 1)
      : 0;
    headers.removeWhere(name => name.startsWith('x-envoy-retry') || name === 'x-envoy-max-retries');
    for (let attempt = 0; attempt <= retries; attempt += 1) {
      const address = next();
      try {
        return await askPlain({ address, method, path, headers, agent });
      } catch (error) {
        if (!(error instanceof NoAnswerError)) {
          throw error;
        }
        fail(address);
      }
    }
    return null;
  };
}

interface CheckRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: HeaderList;
}

/** codec_impl.cc ignores h2c, the connection manager refuses other types that are not configured; false: refused. */
function takeUpgrade(headers: HeaderList, { upgrade_configs: configured }: ConnectionManager): boolean {
  const tokens = headers.all('connection').flatMap(value => value.split(',').map(token => token.trim().toLowerCase()));
  const type = headers.all('upgrade').join(',').toLowerCase();
  const isUpgrade = tokens.includes('upgrade') && type !== '';
  if (isUpgrade && type !== 'h2c') {
    return configured.some(({ upgrade_type: known }) => known === type);
  }
  headers.remove('upgrade');
  headers.remove('connection');
  if (isUpgrade) {
    headers.remove('http2-settings');
  }
  return true;
}

/** The request as the connection manager gives it to the filters; a number is the status that it answers itself. */
function decode(
  message: { readonly url?: string | undefined; readonly rawHeaders: readonly string[]; readonly httpVersion: string },
  peer: string,
  manager: ConnectionManager,
): { readonly authority: string; readonly path: string; readonly headers: HeaderList } | number {
  if (message.httpVersion !== '1.1') {
    return 426;
  }
  const headers = new HeaderList(
    message.rawHeaders.map((text, index) => (index % 2 === 0 ? text.toLowerCase() : text)),
  );
  if (manager.common_http_protocol_options.headers_with_underscores_action === 'DROP_HEADER') {
    headers.removeWhere(name => name.includes('_'));
  }
  const hosts = headers.all('host');
  headers.remove('host');
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/is.exec(message.url ?? '');
  const authority = absolute === null ? hosts.join(',') : absolute[1]!;
  if (authority === '') {
    return 400;
  }
  const target =
    absolute === null ? (message.url ?? '') : absolute[2]!.startsWith('/') ? absolute[2]! : `/${absolute[2]}`;
  const path = normalisePath(target, manager);
  if (path === null) {
    return 400;
  }
  if (!takeUpgrade(headers, manager)) {
    return 403;
  }
  if (manager.use_remote_address) {
    headers.set('x-forwarded-for', [...headers.all('x-forwarded-for'), peer].join(','));
    headers.set('x-forwarded-proto', 'http');
  }
  return { authority, path, headers };
}

export const envoy: TestProxy = {
  name: 'Envoy',
  kind: 'conformance',
  unanswered: [503],
  retriesCuts: true,
  // Stripping needs no other file: what the gate has to say of Cookie and Authorization is always taken over.
  async start({ gates, app, ...switches }) {
    const text = switchOn(await readFile(deployFile('envoy/envoy.yaml'), 'utf8'), switches);
    const paths = gates.map(({ auth }) => auth.replace('unix:', ''));
    const bootstrap = parse(areSockets(gates) ? switchToSockets(text, paths) : text) as Bootstrap;
    const manager = bootstrap.static_resources.listeners[0]!.filter_chains[0]!.filters[0]!.typed_config;
    const cluster = bootstrap.static_resources.clusters.find(({ name }) => name === 'gatebell');
    const check = createCheckClient(
      gates.map(gate => gate.auth),
      cluster!.outlier_detection!,
    );

    const mutate = ({ mutations }: HeaderMutation, headers: HeaderList, peer: string): void => {
      for (const mutation of mutations.request_mutations) {
        if ('remove' in mutation) {
          headers.remove(mutation.remove);
        } else if ('append' in mutation) {
          // With OVERWRITE_IF_EXISTS_OR_ADD, and this substitution only.
          const { key, value } = mutation.append.header;
          headers.set(key, value.replace('%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%', peer));
        } else {
          // The whole name must match.
          const odd = new RegExp(`^(?:${mutation.remove_on_match.key_matcher.safe_regex.regex})$`);
          headers.removeWhere(name => odd.test(name));
        }
      }
    };

    /** Null: allowed, and the headers are those for the app. */
    const authorise = async (
      authz: ExtAuthz,
      request: CheckRequest & { readonly authority: string },
    ): Promise<PlainAnswer | null> => {
      const {
        path_prefix: prefix,
        authorization_request: asked,
        authorization_response: answered,
      } = authz.http_service;
      const isTold = nameMatcher(authz.allowed_headers, ['authorization']);
      const told = new HeaderList(['host', request.authority, 'content-length', '0']);
      for (const name of new Set(request.headers.names)) {
        if (name !== 'content-length' && isTold(name)) {
          told.add(name, request.headers.all(name).join(','));
        }
      }
      for (const { key, value } of asked.headers_to_add) {
        told.set(key, value);
      }
      // The client of the filters adds the address of Envoy itself: its host's first that is not loopback, if there is
      // one.
      told.set('x-envoy-internal', 'true');
      told.set('x-forwarded-for', [...told.all('x-forwarded-for'), '127.0.0.1'].join(','));
      const answer = await check({ method: request.method, path: prefix + request.path, headers: told });
      if (answer === null || answer.status >= 500) {
        const status = STATUS_CODES[authz.status_on_error.code] ?? 403;
        return authz.failure_mode_allow ? null : { status, headers: new HeaderList(), body: '' };
      }
      const pairs = answer.headers.names.map((name, index) => [name.toLowerCase(), answer.headers.raw[2 * index + 1]!]);
      if (answer.status !== 200) {
        const isForClient = nameMatcher(answered.allowed_client_headers, ['www-authenticate', 'location']);
        const headers = new HeaderList(pairs.filter(([name]) => isForClient(name!)).flat());
        return { status: answer.status, headers, body: answer.body };
      }
      const isForApp = nameMatcher(answered.allowed_upstream_headers);
      for (const [name, value] of pairs) {
        if (isForApp(name!)) {
          request.headers.set(name!, value!);
        }
      }
      return null;
    };

    return startPlainServer(0, { maxHeaderSize: manager.max_request_headers_kb * 1_024 }, async exchange => {
      const { message } = exchange;
      const decoded = decode(message, message.socket.remoteAddress ?? '', manager);
      if (typeof decoded === 'number') {
        exchange.refuse(decoded);
        return;
      }
      const { authority, path, headers } = decoded;
      for (const { name, typed_config: config } of manager.http_filters) {
        switch (name) {
          case 'envoy.filters.http.header_mutation':
            // The shape is what test/unit/deploy.test.ts checks.
            mutate(config as HeaderMutation, headers, message.socket.remoteAddress ?? '');
            break;
          case 'envoy.filters.http.ext_authz': {
            const method = message.method ?? '';
            const refusal = await authorise(config as ExtAuthz, { method, path, authority, headers });
            if (refusal !== null) {
              exchange.refuse(refusal.status, refusal.headers, refusal.body);
              return;
            }
            break;
          }
          case 'envoy.filters.http.router':
            headers.set('host', authority);
            exchange.pass(app, path, headers);
            return;
          default:
            throw new Error(`filter ${name} is not known here`);
        }
      }
    });
  },
};
