/**
 * Express applications on our own servers. Express gives every request and response the prototypes of its application.
 * That multiplies the shapes of objects in the process, and then Node's own functions are slower for all its requests,
 * those included that Express never sees. Here the prototypes of the application are those that our requests and
 * responses have from the beginning: they carry Express' methods, and to set them changes nothing.
 *
 * A path is matched as it was sent: another spelling of it is another path.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import express, { type Express, type RequestHandler, type Router } from 'express';
import { GateRequest } from './request.js';
import { GateResponse } from './response.js';

/** What an application does besides its routers. */
export interface ApplicationOptions {
  /** In their order. */
  readonly routers: readonly RequestHandler[];
  /** Answers what no router has answered. */
  readonly notFound: (message: IncomingMessage, response: ServerResponse) => void;
  /**
   * Answers a request whose handler has thrown, rejected or passed an error on, after it may have sent a part of an
   * answer.
   */
  readonly failed: (error: unknown, message: IncomingMessage, response: ServerResponse) => void;
}

const ROUTING = { caseSensitive: true, strict: true } as const;

/**
 * An application without what Express does unasked: no header with its name, no entity tags, no parsing of queries, no
 * trust in proxies.
 */
function createBareApplication(): Express {
  const application = express();
  application.disable('x-powered-by');
  application.disable('etag');
  application.set('query parser', false);
  application.set('trust proxy', false);
  application.enable('case sensitive routing');
  application.enable('strict routing');
  return application;
}

// What Express' methods read of `app` are settings, which are the same in all our applications.
const app = { value: createBareApplication(), configurable: true };
Object.setPrototypeOf(GateRequest.prototype, Object.create(express.request, { app }));
Object.setPrototypeOf(GateResponse.prototype, Object.create(express.response, { app }));

/** The path of a request as it was sent, without its query. */
export function sentPath({ url = '/' }: Pick<IncomingMessage, 'url'>): string {
  const query = url.indexOf('?');
  return query === -1 ? url : url.slice(0, query);
}

/**
 * Creates a router that matches paths as they were sent. Express alone takes `http://any/livez` and `/livez#x` for
 * `/livez`.
 */
export function createRouter(): Router {
  const router = express.Router(ROUTING);
  router.use((request, _, next) => {
    next(request.path === sentPath(request) ? undefined : 'router');
  });
  return router;
}

/**
 * Creates an application, as the listener of a server. What goes wrong in a handler is answered; it costs neither the
 * connection nor the process.
 */
export function createApplication({ routers, notFound, failed }: ApplicationOptions): RequestListener {
  const application = Object.assign(createBareApplication(), {
    request: GateRequest.prototype,
    response: GateResponse.prototype,
  });
  for (const router of routers) {
    application.use(router);
  }
  return (message, response) => {
    // Instead of Express' own last handler, which waits for the body of the request and may show a stack.
    const answerRest = (error?: unknown): void => {
      try {
        if (error === undefined || error === null) {
          notFound(message, response);
        } else {
          failed(error, message, response);
        }
      } catch {
        response.destroy();
      }
    };
    // Express takes any message of Node's; its types ask for one of its own where there is a last handler.
    Reflect.apply(application, undefined, [message, response, answerRest]);
  };
}
