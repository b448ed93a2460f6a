/** Why somebody is not signed in: what the page says, what is counted, and the status. */

/** All of them. */
export const REFUSALS = [
  'untrusted_proxy',
  'bad_request',
  'unknown_host',
  'bad_return_address',
  'bad_flow',
  'provider_refused',
  'bad_provider_answer',
  'no_user_name',
  'unknown_user',
  'foreign_origin',
  'provider_unavailable',
  'overloaded',
  'cookie_needs_https',
  'cookie_in_the_way',
  'not_signed_out',
  'unavailable',
] as const;

/** One of {@link REFUSALS}. */
export type Refusal = (typeof REFUSALS)[number];

/** The page of each refusal: it never says which user exists, and repeats nothing that was sent here. */
export const REFUSAL_PAGES: Readonly<
  Record<Refusal, { readonly status: 400 | 403 | 404 | 409 | 503; readonly says: string }>
> = {
  untrusted_proxy: { status: 403, says: 'This page is only for requests that come through the proxy.' },
  bad_request: { status: 400, says: 'This request cannot be understood.' },
  unknown_host: { status: 404, says: 'There is nothing to sign in to on this host.' },
  bad_return_address: { status: 400, says: 'The return address does not belong to one of these apps.' },
  bad_flow: {
    status: 400,
    says:
      'This sign-in was not begun in this browser, has been used ' +
      'already, or has taken too long. Open the app again.',
  },
  provider_refused: { status: 403, says: 'The identity provider did not sign you in.' },
  bad_provider_answer: {
    status: 400,
    says: 'The answer of the identity provider cannot be accepted. Open the app again.',
  },
  no_user_name: { status: 403, says: 'You may not sign in here.' },
  unknown_user: { status: 403, says: 'You may not sign in here.' },
  foreign_origin: { status: 403, says: 'Sign out on the page of this host.' },
  provider_unavailable: { status: 503, says: 'The identity provider cannot be reached now. Try again in a moment.' },
  overloaded: { status: 503, says: 'Too many people sign in at this moment. Try again in a moment.' },
  cookie_needs_https: {
    status: 400,
    says:
      'The cookie for sign-in is for https alone, and this page came over http. Open the app with https. If you ' +
      'have, the proxy does not tell the gate so.',
  },
  cookie_in_the_way: {
    status: 409,
    says: 'You have signed in, but the app did not get the session.',
  },
  not_signed_out: {
    status: 503,
    says: 'You are still signed in: signing out cannot be done now. Try again in a moment.',
  },
  unavailable: { status: 503, says: 'This cannot be done now. Try again in a moment.' },
};

/** Somebody is not signed in. */
export class SignInRefused extends Error {
  readonly code: Refusal;
  /** For the log: without secrets, and without what a stranger chose. */
  readonly detail: string | null;

  constructor(code: Refusal, detail: string | null = null, options?: ErrorOptions) {
    super(detail === null ? code : `${code}: ${detail}`, options);
    this.name = 'SignInRefused';
    this.code = code;
    this.detail = detail;
  }
}
