/**
 * Sign-in for browsers: `/_gatebell/login`, `/_gatebell/callback` and `/_gatebell/logout`, which the proxy hands on
 * from each app's host, or from one sign-in host. What comes of it is a session in the cookie that the gate reads.
 * Login and callback send a browser that is signed in already to where it wanted to go.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { addressText, type LoginPage } from '../auth/login.js';
import { readCookies } from '../auth/request/cookies.js';
import { singleHeaders } from '../auth/request/headers.js';
import { parseHost, parseProto, requireHeader } from '../auth/request/request.js';
import { createApplication, createRouter } from '../http/application.js';
import { createCallback } from './callback.js';
import { createLogin } from './login.js';
import { createSignOut, createSignOutPage } from './logout.js';
import { pageAnswer, type Answer } from './page.js';
import { SignInRefused } from './refusal.js';
import { createOrigin, keptAddress } from './return-address.js';
import { isUnder } from './settings.js';
import {
  CALLBACK,
  NEGATIVE_LOOKUPS,
  LOGIN,
  LOGOUT,
  createRefusals,
  createShared,
  type AnswerRequest,
  type Refusals,
  type SignInOptions,
  type SignInRequest,
} from './shared.js';

const QUERY_CHARACTERS_MAX = 8_192;

/** What answers each method. */
type Endpoint = Readonly<Record<string, AnswerRequest>>;

/**
 * Where browsers are sent to sign in: this host, or the one for all. An app that the cookie would not reach has no
 * login page.
 */
export function createSignInPage(central: SignInOptions['central']): LoginPage {
  return wanted => {
    if (central !== null && !isUnder(wanted.host, central.cookieDomain)) {
      return null;
    }
    const { proto, port } = wanted;
    const page = addressText({ proto, host: central?.host ?? wanted.host, port, uri: LOGIN });
    return `${page}?rd=${encodeURIComponent(addressText(keptAddress(wanted)))}`;
  };
}

const readRequest = (message: IncomingMessage, query: string): SignInRequest => {
  const headers = singleHeaders(message.rawHeaders);
  const host = requireHeader(headers, 'x-forwarded-host');
  const proto = requireHeader(headers, 'x-forwarded-proto');
  const parsedHost = typeof host === 'string' ? parseHost(host) : null;
  const parsedProto = typeof proto === 'string' ? parseProto(proto) : null;
  const repeated = (['cookie', 'origin', 'sec-fetch-site'] as const).find(name => headers.isRepeated(name));
  if (parsedHost === null || parsedProto === null || repeated !== undefined || query.length > QUERY_CHARACTERS_MAX) {
    throw new SignInRefused('bad_request');
  }
  return {
    origin: createOrigin(parsedProto, parsedHost),
    headers,
    cookies: readCookies(headers.get('cookie')),
    query,
  };
};

const write = (message: IncomingMessage, response: ServerResponse, { status, headers, body }: Answer): void => {
  response.writeHead(status, [...headers, 'Content-Length', String(Buffer.byteLength(body))]);
  response.end(message.method === 'HEAD' ? '' : body);
};

/** What answers each path. */
function createEndpoints(options: SignInOptions, refusals: Refusals): ReadonlyMap<string, Endpoint> {
  const shared = createShared(options);
  const login = createLogin(options, shared, refusals);
  const askToSignOut = createSignOutPage(options, shared);
  return new Map<string, Endpoint>([
    [LOGIN, { GET: login, HEAD: login }],
    [CALLBACK, { GET: createCallback(options, shared, refusals) }],
    [LOGOUT, { GET: askToSignOut, HEAD: askToSignOut, POST: createSignOut(options, shared, refusals) }],
  ]);
}

/** Creates a function that admits a request and asks its endpoint. */
function createAnswer({
  isTrusted,
  admission,
}: SignInOptions): (methods: Endpoint, message: IncomingMessage) => Promise<Answer> {
  return async (methods, message) => {
    if (!isTrusted(message)) {
      throw new SignInRefused('untrusted_proxy');
    }
    const endpoint = Object.hasOwn(methods, message.method ?? '') ? methods[message.method ?? ''] : undefined;
    if (endpoint === undefined) {
      const headers = ['Allow', Object.keys(methods).join(', ')];
      return pageAnswer({
        status: 405,
        title: 'Not allowed',
        says: 'This page is not asked for in this way.',
        headers,
      });
    }
    const url = message.url ?? '/';
    const mark = url.indexOf('?');
    const request = readRequest(message, mark === -1 ? '' : url.slice(mark + 1));
    const visit = admission.enter(request.headers);
    try {
      const answered = await endpoint(request);
      visit.leave(false);
      return answered;
    } catch (error) {
      visit.leave(error instanceof SignInRefused && NEGATIVE_LOOKUPS.has(error.code));
      throw error;
    }
  };
}

/** Creates the endpoints, an Express application; it answers 404 to all other paths. */
export function createSignInEndpoints(options: SignInOptions): RequestListener {
  const refusals = createRefusals(options.observe);
  const { refusalOf, refuse } = refusals;
  const endpoints = createEndpoints(options, refusals);
  const answer = createAnswer(options);
  const router = createRouter();
  for (const [path, methods] of endpoints) {
    router.all(path, async (request, response) => {
      write(request, response, await answer(methods, request));
    });
  }
  const application = createApplication({
    routers: [router],
    notFound(message, response) {
      write(message, response, pageAnswer({ status: 404, title: 'Not found', says: 'There is nothing here.' }));
    },
    failed(error, message, response) {
      const refusal = refuse(refusalOf(error));
      if (response.headersSent) {
        response.destroy();
      } else {
        write(message, response, refusal);
      }
    },
  });
  return (message, response) => {
    // None of them has a body; one that comes nevertheless is not read.
    if ((message.headers['content-length'] ?? '0') !== '0' || message.headers['transfer-encoding'] !== undefined) {
      response.shouldKeepAlive = false;
    }
    application(message, response);
  };
}
