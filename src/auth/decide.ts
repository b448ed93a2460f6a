/**
 * The decision: a pure, synchronous function of the request and the facts. It returns a decision, or the facts that it
 * lacks, all that can be named at once: two rounds are usual (app and credential, then routes, user and grant).
 */
import type { FactRef, Facts, Outcome } from '../coherence/facts/reader.js';
import type { CachedHead } from '../http/response.js';
import type { AppFact, FactTypes, GrantFact, Route, UserFact } from './facts.js';
import type { PresentedCredential } from './request/credential.js';
import {
  hasExpired,
  holderOfJwt,
  holderOfTokens,
  isIssuedInTime,
  type GetFact,
  type HasCome,
  type Holder,
} from './holder.js';
import type { JwtClaims } from './jwt/verifier.js';
import type { AuthRequest } from './request/request.js';

/** Why; the full list of what `X-Gatebell-Reason` can be. */
export const REASONS = [
  'public',
  'granted',
  'authenticated',
  'no_credential',
  'bad_credential',
  'expired_credential',
  'disabled_user',
  'unknown_app',
  'disabled_app',
  'no_grant',
  'expired_grant',
  'role_required',
  'bad_request',
  'uri_too_long',
  'untrusted_proxy',
  'unavailable',
] as const;

/** One of {@link REASONS}. */
export type Reason = (typeof REASONS)[number];

/** Statuses before a dialect bends them. */
export type Status = 200 | 400 | 401 | 403 | 414 | 503;

const STATUS: Readonly<Record<Reason, Status>> = {
  public: 200,
  granted: 200,
  authenticated: 200,
  no_credential: 401,
  bad_credential: 401,
  expired_credential: 401,
  disabled_user: 403,
  unknown_app: 403,
  disabled_app: 403,
  no_grant: 403,
  expired_grant: 403,
  role_required: 403,
  bad_request: 400,
  uri_too_long: 414,
  untrusted_proxy: 403,
  unavailable: 503,
};

/** What a decision comes to: an error is one that could not be made. */
export type DecisionOutcome = 'allow' | 'deny' | 'error';

const OUTCOMES: Readonly<Record<Status, DecisionOutcome>> = {
  200: 'allow',
  400: 'deny',
  401: 'deny',
  403: 'deny',
  414: 'deny',
  503: 'error',
};

/** What decisions for this reason come to. */
export function outcomeOf(reason: Reason): DecisionOutcome {
  return OUTCOMES[STATUS[reason]];
}

/**
 * Nothing can be decided before something is done that takes a while: verify this JWT, or bind the subject of a
 * verified one to a user. Then ask again with what came of it.
 */
export type Undecided = { readonly verify: string } | { readonly bind: JwtClaims };

/** What was decided, and on which facts: the identity is there only if the answer may show it. */
export interface Decision {
  readonly reason: Reason;
  readonly status: Status;
  readonly app: AppFact | null;
  /** The rules of the app, where the path has chosen among them; null: the path did not matter. */
  readonly rules: readonly Route[] | null;
  /** The rule that applies; null: none does; undefined: the path can be read in more than one way. */
  readonly route: Route | null | undefined;
  readonly user: UserFact | null;
  readonly grant: GrantFact | null;
  /** Where the head of the answer is kept, if the decision is (`decision-memory.ts`). */
  head: CachedHead | null;
}

/** A decision for this reason, without an identity. */
export function refuse(reason: Reason, app: AppFact | null = null): Decision {
  return { reason, status: STATUS[reason], app, rules: null, route: null, user: null, grant: null, head: null };
}

function allow(
  reason: Reason,
  app: AppFact,
  rules: readonly Route[],
  route: Route | null,
  user: UserFact | null,
  grant: GrantFact | null,
): Decision {
  return { reason, status: STATUS[reason], app, rules, route, user, grant, head: null };
}

const NO_ROUTES: readonly Route[] = [];

/**
 * Decides, or returns what is lacking or must be done first.
 *
 * @param credential what the client's credential has turned out to be; null: it is read from the request
 * @param charge called before the path takes much more work than an ordinary one; throws if the client has had too much
 *   of that
 */
export function decide(
  request: AuthRequest,
  facts: Pick<Facts<FactTypes>, 'get' | 'hasCome'>,
  credential: PresentedCredential | null = null,
  charge?: () => void,
): Outcome<Decision | Undecided, FactTypes> {
  const lacks: FactRef<FactTypes>[] = [];
  const get: GetFact = (topic, key) => {
    const fact = facts.get(topic, key);
    if (fact === undefined) {
      lacks.push({ topic, key });
    }
    return fact;
  };
  const hasCome: HasCome = timeMs => facts.hasCome(timeMs);
  /** Whose it is; null if it is nobody's, or cannot be said before it is verified; undefined if a fact is lacking. */
  const findHolder = (presented: PresentedCredential, appId: string | null): Holder | null | undefined => {
    switch (presented.kind) {
      case 'token':
        return holderOfTokens(presented.hashes, appId, get, hasCome);
      case 'jwt':
        return holderOfJwt(presented, get, hasCome);
      default:
        return null;
    }
  };
  /** Asks already for what a route that is not public will need. */
  const prefetchIdentity = (appId: string | null): Outcome<never, FactTypes> => {
    const holder = findHolder(credential ?? request.credential(), appId);
    if (holder !== null && holder !== undefined && 'userId' in holder) {
      get('user', [holder.userId]);
      if (appId !== null) {
        get('grant', [holder.userId, appId]);
      }
    }
    return { lacks };
  };

  /** An app of this very host, else of the longest wildcard that holds it. */
  const findApp = (): AppFact | null | undefined => {
    const exact = get('app', [request.host]);
    if (exact !== null) {
      return exact;
    }
    for (const wildcard of request.wildcards) {
      const app = get('app', [wildcard]);
      // A shorter one may only be chosen where all longer ones are known not to exist.
      if (app !== null && app !== undefined && lacks.length === 0) {
        return app;
      }
    }
    return lacks.length === 0 ? null : undefined;
  };

  const app = findApp();
  if (app === undefined) {
    return prefetchIdentity(null);
  }
  let strong = false;
  const answer = (decision: Decision): Outcome<Decision, FactTypes> => ({ answer: decision, strong });

  if (app === null) {
    return answer(refuse('unknown_app'));
  }
  if (!app.enabled || app.problem !== null) {
    return answer(refuse('disabled_app', app));
  }
  const rules = get('route', [app.id]);
  if (rules === undefined) {
    return prefetchIdentity(app.id);
  }
  if (rules !== null && rules.problem !== null) {
    return answer(refuse('disabled_app', app));
  }
  const routes = rules?.routes ?? NO_ROUTES;
  const route = request.route(routes, charge);
  const deny = (reason: Reason): Outcome<Decision, FactTypes> =>
    answer({ ...refuse(reason, app), rules: routes, route });
  if (route === undefined) {
    return deny('bad_request');
  }
  strong = route?.strong === true;
  const access = route?.access ?? 'grant';
  if (access === 'public' || (route?.preflight === true && request.isPreflight())) {
    return answer(allow('public', app, routes, route, null, null));
  }

  const presented = credential ?? request.credential();
  if (presented.kind === 'unverified') {
    return { answer: { verify: presented.token }, strong: false };
  }
  const holder = findHolder(presented, app.id);
  if (holder === undefined) {
    return { lacks };
  }
  if (holder === null) {
    return deny(presented.kind === 'none' ? 'no_credential' : 'bad_credential');
  }
  if ('refused' in holder) {
    return deny(holder.refused);
  }
  if ('bind' in holder) {
    return { answer: holder, strong: false };
  }

  const roles = route?.roles ?? [];
  const needsGrant = access === 'grant' || roles.length > 0;
  const user = get('user', [holder.userId]);
  const grant = needsGrant ? get('grant', [holder.userId, app.id]) : null;
  if (user === undefined || grant === undefined) {
    return { lacks };
  }
  if (user === null || (presented.kind === 'jwt' && !isIssuedInTime(presented, user))) {
    return deny('bad_credential');
  }
  if (!user.enabled) {
    return deny('disabled_user');
  }
  if (!needsGrant) {
    return answer(allow('authenticated', app, routes, route, user, null));
  }
  if (grant === null) {
    return deny('no_grant');
  }
  if (hasExpired(grant.expiresAtMs, hasCome)) {
    return deny('expired_grant');
  }
  if (roles.length > 0 && !roles.includes(grant.role)) {
    return deny('role_required');
  }
  return answer(allow(access === 'grant' ? 'granted' : access, app, routes, route, user, grant));
}
