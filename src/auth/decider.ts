/**
 * Decides a parsed request, whoever asks: a proxy about somebody else's, or an application about its own. What memory
 * has all facts for is decided in the same turn, without a promise. What has to wait for Postgres is admitted first, so
 * that neither many requests nor one client take a replica away from others.
 */
import { UnavailableError } from '../coherence/errors.js';
import type { Reader } from '../coherence/facts/reader.js';
import { createClientRateLimiter, type ClientRateLimiter, type Permit } from './client-rate-limiter.js';
import { createDecisionMemory } from './decision-memory.js';
import { decide, refuse, type Decision, type DecisionOutcome, type Reason, type Undecided } from './decide.js';
import type { FactTypes } from './facts.js';
import { knownHolder } from './holder.js';
import type { BindIdentity } from './identities.js';
import type { JwtObservation, JwtVerifier } from './jwt/verifier.js';
import type { Dialect } from './reply.js';
import type { PresentedCredential } from './request/credential.js';
import type { AuthRequest } from './request/request.js';

/** Who asks: a proxy in its dialect, or an Express application. */
export type Asker = Dialect['name'] | 'express';

/** What can happen while requests are decided. */
export type AuthObservation =
  | {
      readonly event: 'decision';
      readonly decision: DecisionOutcome;
      readonly reason: Reason;
      readonly dialect: Asker;
      readonly durationMs: number;
    }
  /** So many requests wait for facts now. */
  | { readonly event: 'waiting'; readonly requests: number }
  /** A request was not let wait, because too many do. */
  | { readonly event: 'shed' }
  /**
   * A request was not let ask Postgres, or was not worked on further, because its client has had too much of either.
   */
  | { readonly event: 'limited'; readonly dialect: Asker }
  | {
      readonly event: 'bad_request';
      readonly dialect: Asker;
      readonly problem: string;
      /** Address of the peer, `unix` on a Unix socket; null: the connection has gone. */
      readonly peer: string | null;
    }
  /** A peer asked that is not among the trusted proxies, or did not show the secret. */
  | { readonly event: 'untrusted_proxy'; readonly dialect: Asker; readonly peer: string | null }
  | { readonly event: 'decision_failed'; readonly error: unknown }
  | JwtObservation;

/** What deciding needs. */
export interface DeciderOptions {
  readonly reader: Reader<FactTypes>;
  /** Verifies JWTs; null, the default: they are somebody else's bearers. */
  readonly jwt?: JwtVerifier | null;
  /** Binds subjects of JWTs that are seen for the first time. Default: they mean nobody. */
  readonly bindIdentity?: BindIdentity;
  /**
   * Requests that may wait for facts at once; those beyond are answered 503 at once if memory cannot answer them.
   * Default 10,000.
   */
  readonly waitingMax?: number;
  /** How often a client may look up what does not exist, or ask for much work. Default: a limiter of its own. */
  readonly limiter?: ClientRateLimiter;
  /** Receives what happens. Must not throw. Default: nobody does. */
  readonly observe?: (observation: AuthObservation) => void;
}

/**
 * Decides: in the same turn if memory has all facts. Never rejects: what cannot be decided is `unavailable`.
 *
 * @param network of the client, which is charged for lookups that find nothing; null: it is not known
 */
export type Decide = (request: AuthRequest, asker: Asker, network: () => string | null) => Decision | Promise<Decision>;

/** What is wrong with a request that is parsed, and yet decided to be a bad one. */
export const AMBIGUOUS_PATH = 'the path can be read in more than one way, and the rules differ';

/** More would wait longer than proxies do; each holds a connection and a few kilobytes. */
const WAITING_MAX = 10_000;

/** Before a user's id, in the name of a source: no address begins so. */
const USER_SOURCE = 'user ';

/** One for all: under overload an error a request would cost more than the answer. */
const TOO_MANY = new UnavailableError('queue_full', 'too many requests wait, or the client has had too much');

/**
 * Whether Postgres was asked for what does not exist, as far as a client can choose it. Below a wildcard a client can
 * choose any host, but one for which it is allowed is not made up.
 */
function wasNegativeLookup({ reason, status, app }: Decision): boolean {
  return (
    reason === 'bad_credential' || reason === 'unknown_app' || (status !== 200 && app?.host.startsWith('*.') === true)
  );
}

/** Creates a decider that decides nothing yet. */
export function createDecider({
  reader,
  jwt = null,
  bindIdentity = () => Promise.resolve(null),
  waitingMax = WAITING_MAX,
  limiter = createClientRateLimiter(),
  observe = () => undefined,
}: DeciderOptions): Decide {
  let waiting = 0;
  const keysVersion = (): number => jwt?.keysVersion ?? 0;
  const memory = createDecisionMemory(keysVersion);

  const noteWaiting = (change: 1 | -1): void => {
    waiting += change;
    observe({ event: 'waiting', requests: waiting });
  };

  /** Lets a client do what is limited; null: the client is not known. @throws UnavailableError if it may not */
  const limit = (asker: Asker, network: () => string | null, user: string | null): Permit | null => {
    // A user who is known is a client of their own, so that a scanner behind the same balancer does not shut them out.
    const source = user === null ? network() : `${USER_SOURCE}${user}`;
    const admitted = source === null ? null : limiter.admit(source);
    if (source !== null && admitted === null) {
      observe({ event: 'limited', dialect: asker });
      throw TOO_MANY;
    }
    return admitted;
  };

  /** Lets a request wait for Postgres; null: its client is not known. @throws UnavailableError if it may not */
  const admit = (asker: Asker, network: () => string | null, user: string | null): Permit | null => {
    if (waiting >= waitingMax) {
      observe({ event: 'shed' });
      throw TOO_MANY;
    }
    return limit(asker, network, user);
  };

  const decideWith = async (request: AuthRequest, credential: PresentedCredential): Promise<Decision> => {
    return decideUndecided(request, await reader.read(facts => decide(request, facts, credential)));
  };

  /** Does what a decision waits for, and decides with what comes of it, from the start. */
  const decideUndecided = async (request: AuthRequest, outcome: Decision | Undecided): Promise<Decision> => {
    if ('verify' in outcome) {
      const verdict = (await jwt?.verify(outcome.verify)) ?? null;
      return verdict === null ? refuse('unavailable') : decideWith(request, verdict);
    }
    if ('bind' in outcome) {
      const userId = await bindIdentity(outcome.bind);
      return decideWith(request, userId === null ? { kind: 'bad' } : { ...outcome.bind, userId });
    }
    return outcome;
  };

  const fail = (error: unknown): Decision => {
    if (!(error instanceof UnavailableError)) {
      observe({ event: 'decision_failed', error });
    }
    return refuse('unavailable');
  };

  return (request, asker, network) => {
    const version = keysVersion();
    /** Of a request that waits; undefined: it does not. */
    let permit: Permit | null | undefined;
    const charge = (): void => {
      void reader.read(facts => {
        limit(asker, network, knownHolder(request.credential(), facts))?.release(true);
        return { answer: null, strong: false };
      });
    };
    let decision: Decision | Promise<Decision>;
    try {
      const recalled = memory.recall(request, charge);
      if (recalled !== undefined) {
        return recalled;
      }
      const answered = reader.read(
        facts => {
          const outcome = decide(request, facts, null, charge);
          if (permit === undefined && ('lacks' in outcome || outcome.strong || !('reason' in outcome.answer))) {
            permit = admit(asker, network, knownHolder(request.credential(), facts));
          }
          return outcome;
        },
        kept => {
          // A decision that waited for Postgres is remembered only if it names a user: many others are for made-up
          // credentials, which nobody sends again. While it waited, keys may have changed.
          const wasInMemory = permit === undefined;
          if (wasInMemory || ('user' in kept.answer && kept.answer.user !== null && version === keysVersion())) {
            memory.remember(request, kept);
          }
        },
      );
      decision =
        answered instanceof Promise
          ? answered.then(outcome => decideUndecided(request, outcome))
          : 'reason' in answered
            ? answered
            : decideUndecided(request, answered);
    } catch (error) {
      return fail(error);
    }
    if (!(decision instanceof Promise)) {
      return decision;
    }
    noteWaiting(1);
    return decision.catch(fail).then(settled => {
      noteWaiting(-1);
      permit?.release(wasNegativeLookup(settled));
      return settled;
    });
  };
}
