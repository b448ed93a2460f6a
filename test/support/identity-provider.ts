/**
 * A real OpenID Connect provider (oidc-provider) on loopback: a browser that names an account at its page is signed in
 * as that.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Provider } from 'oidc-provider';
import { vi } from 'vitest';

export interface IdentityProvider {
  readonly issuer: string;
  /** What the gate has to be told to use it. */
  readonly env: NodeJS.ProcessEnv;
  /** Until then it answers 503. Browsers may be sent back to these. */
  open(redirectUris: readonly string[]): void;
  /** Puts something before its answers; whatever does not answer passes the request on by returning false. */
  intercept(answer: ((request: IncomingMessage, response: ServerResponse) => boolean) | null): void;
  stop(): Promise<void>;
}

const CLIENT_ID = 'gatebell';
const CLIENT_SECRET = 'the-secret-of-the-test-client';

/** Claims of an account: its name, and an address that is verified unless the name says otherwise. */
const claimsOf = (name: string): Record<string, string | boolean> => ({
  preferred_username: name,
  email: `${name}@example.test`,
  email_verified: name !== 'unverified',
});

function createOidcProvider(issuer: string, redirectUris: readonly string[]): Provider {
  // It tells at length that it is made for development here.
  const silent = [vi.spyOn(console, 'warn'), vi.spyOn(console, 'info')].map(spy => spy.mockReturnValue(undefined));
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: CLIENT_ID,
        client_secret: CLIENT_SECRET,
        redirect_uris: [...redirectUris],
        response_types: ['code'],
        grant_types: ['authorization_code'],
      },
    ],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['preferred_username'] },
    cookies: { keys: ['of the test'] },
    pkce: { required: () => true },
    ttl: { AccessToken: 600, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
    features: {
      devInteractions: { enabled: false },
      rpInitiatedLogout: {
        enabled: true,
        postLogoutSuccessSource(ctx) {
          ctx.body = '<!doctype html><title>Gone</title>';
        },
        logoutSource(ctx, form) {
          ctx.body =
            `<!doctype html><title>Leave</title>${form}` +
            '<button form="op.logoutForm" name="logout" value="yes">Leave</button>';
        },
      },
    },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub, ...claimsOf(sub) }) }),
    // Nobody is asked for consent.
    async loadExistingGrant(ctx) {
      const { client, session, provider: own } = ctx.oidc;
      const grant = new own.Grant({ clientId: client!.clientId, accountId: session!.accountId! });
      grant.addOIDCScope('openid profile email');
      await grant.save();
      return grant;
    },
  });
  silent.forEach(spy => {
    spy.mockRestore();
  });
  return provider;
}

const PAGE = `<!doctype html><title>Who are you?</title>
<form method="post"><input name="account">
<button name="do" value="enter">Enter</button><button name="do" value="cancel">Cancel</button></form>`;

/** Asks who it is, and takes the word for it. */
async function interact(provider: Provider, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== 'POST') {
    response.setHeader('Content-Type', 'text/html').end(PAGE);
    return;
  }
  let body = '';
  for await (const part of request.setEncoding('utf8')) {
    body += String(part);
  }
  const form = new URLSearchParams(body);
  await provider.interactionFinished(
    request,
    response,
    form.get('do') === 'cancel'
      ? { error: 'access_denied', error_description: '<script>document.title = "owned"</script>' }
      : { login: { accountId: form.get('account') ?? '' } },
  );
}

/** Starts it, closed. */
export async function startIdentityProvider(): Promise<IdentityProvider> {
  let provider: Provider | null = null;
  let intercepted: ((request: IncomingMessage, response: ServerResponse) => boolean) | null = null;
  const server = createServer((request, response) => {
    if (intercepted?.(request, response) === true) {
      return;
    }
    if (provider === null) {
      response.writeHead(503).end();
    } else if (request.url?.startsWith('/interaction/') === true) {
      void interact(provider, request, response);
    } else {
      void provider.callback()(request, response);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // A listening TCP server has an address of this form.
  const issuer = `http://localhost:${(server.address() as AddressInfo).port}`;
  return {
    issuer,
    env: {
      GATEBELL_OIDC_ISSUER: issuer,
      GATEBELL_OIDC_CLIENT_ID: CLIENT_ID,
      GATEBELL_OIDC_CLIENT_SECRET: CLIENT_SECRET,
    },
    open(redirectUris) {
      provider = createOidcProvider(issuer, redirectUris);
    },
    intercept(answer) {
      intercepted = answer;
    },
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
