/**
 * What is asked of a replica: the gate's own decision, made by the real code over simulated facts, or one fact alone.
 * It notes which facts the answer rests on, for the checker.
 */
import type { PresentedCredential } from '../../src/auth/request/credential.js';
import { decide, type Decision, type Undecided } from '../../src/auth/decide.js';
import type { JwtClaims } from '../../src/auth/jwt/verifier.js';
import { selectRoute } from '../../src/auth/request/path.js';
import type { FactRef, Facts, Question } from '../../src/coherence/facts/reader.js';
import type { AppFact, FactTypes } from '../../src/auth/facts.js';
import type { Key } from '../../src/coherence/signal.js';
import type { Fact, Topic } from './cluster.js';
import { ABSENT, factName, type Held } from './history.js';

export type SimulatedTypes = { readonly [S in Topic]: Fact };

/** What somebody asks of a replica. */
export interface Asked {
  readonly app: string;
  readonly credential: string;
  readonly strong: boolean;
  /** What a JWT says that is presented instead of the credential. */
  readonly jwt?: { readonly subject: string; readonly name: string; readonly jti: string };
  /** One fact alone, instead of a decision. */
  readonly only?: Topic;
}

/** A fact that an answer rests on. */
export interface UsedFact extends Held {
  readonly expiresAtMs: number | null;
}

/** An answer, and what it rests on. */
export interface Verdict {
  readonly facts: readonly UsedFact[];
  readonly isStrong: boolean;
  /** Null if one fact alone was asked for. */
  readonly decision: Decision | null;
  /** Expiry of the grant, and Postgres' clock as the replica knew it; null if there is none. */
  readonly expiry: { readonly expiresAtMs: number; readonly believedMs: number } | null;
}

/** What was seen of a question while it was asked. */
export interface Asking {
  /** How often it was asked: once, and once after each round of loading. */
  passes: number;
  isStrong: boolean;
  /** What the newest pass lacked. */
  lacks: readonly FactRef<SimulatedTypes>[];
  /** Names of all facts that any pass lacked. */
  readonly lacked: Set<string>;
  /** Credentials that were asked of Postgres since. */
  readonly sent: Set<string>;
}

/** The name of a user, by its id. */
export function nameOf(userId: string): string {
  return `name of ${userId}`;
}

/**
 * The question for a reader; `asking` is kept up to date while it is asked. The answer may be what must be done before
 * anything is decided.
 * @param presented what the client presents, as far as it is known
 * @param believedMs Postgres' clock as the replica knows it now
 */
export function ask(
  asked: Asked,
  asking: Asking,
  presented: PresentedCredential,
  believedMs: () => number,
): Question<Verdict | Undecided, SimulatedTypes> {
  return facts => {
    asking.passes += 1;
    const used: UsedFact[] = [];
    const lacks: FactRef<SimulatedTypes>[] = [];
    asking.lacks = lacks;
    const get = (topic: Topic, key: Key): Fact | null | undefined => {
      const fact = facts.get(topic, key);
      if (fact === undefined) {
        lacks.push({ topic, key });
        asking.lacked.add(factName(topic, key));
      } else {
        used.push({
          topic,
          key,
          name: factName(topic, key),
          text: fact?.text ?? ABSENT,
          expiresAtMs: fact?.expiresAtMs ?? null,
        });
      }
      return fact;
    };
    const { app, credential, strong, only } = asked;
    asking.isStrong ||= strong;
    if (only !== undefined) {
      const key =
        only === 'route' ? [app] : only === 'credential' ? [credential] : only === 'user' ? ['u1'] : ['u1', app];
      return get(only, key) === undefined
        ? { lacks }
        : { answer: { facts: used, isStrong: strong, decision: null, expiry: null }, strong };
    }
    const outcome = decide(
      requestOf(asked, presented),
      disguise(get, timeMs => facts.hasCome(timeMs)),
    );
    if ('lacks' in outcome) {
      return { lacks };
    }
    if (!('reason' in outcome.answer)) {
      return { answer: outcome.answer, strong: false };
    }
    const isStrong = strong || outcome.strong;
    asking.isStrong ||= isStrong;
    const expiresAtMs = used.find(fact => fact.expiresAtMs !== null)?.expiresAtMs ?? null;
    const expiry = expiresAtMs === null ? null : { expiresAtMs, believedMs: believedMs() };
    return { answer: { facts: used, isStrong, decision: outcome.answer, expiry }, strong: isStrong };
  };
}

/** The issuer of all JWTs. */
export const ISSUER = 'https://issuer.test';

/** What the client presents, before anything was verified. */
export function present({ credential, jwt }: Asked): PresentedCredential {
  return jwt === undefined
    ? { kind: 'token', hashes: [credential] }
    : { kind: 'unverified', token: `${jwt.subject} ${jwt.jti}` };
}

/** What a JWT says, once it is verified. */
export function claimsOf(jwt: NonNullable<Asked['jwt']>): JwtClaims {
  return {
    kind: 'jwt',
    issuer: ISSUER,
    userId: null,
    ...jwt,
    issuedAtMs: 0,
    validFromMs: -Infinity,
    validUntilMs: Infinity,
  };
}

const requestOf = ({ app }: Asked, presented: PresentedCredential): Parameters<typeof decide>[0] => ({
  host: app,
  wildcards: [],
  port: '',
  proto: 'https',
  method: 'GET',
  uri: '/',
  route: routes => selectRoute(routes, '/'),
  credential: () => presented,
  credentialText: () => '',
  isNavigation: () => false,
  isPreflight: () => false,
});

/** Simulated facts as the gate knows them. There is an app for every host, which never changes. */
function disguise(
  get: (topic: Topic, key: Key) => Fact | null | undefined,
  hasCome: (timeMs: number) => boolean,
): Pick<Facts<FactTypes>, 'get' | 'hasCome'> {
  const app = (host: string): AppFact => ({ id: host, name: host, host, enabled: true, headers: [], problem: null });
  const shown: { readonly [S in Topic]: (fact: Fact, key: Key) => FactTypes[S] } = {
    credential: ({ home }) => ({ userId: home, appId: null, revoked: false, expiresAtMs: null }),
    user: ({ text }, [id = '']) => ({
      id: text,
      name: nameOf(id),
      email: '',
      displayName: '',
      groups: [],
      enabled: true,
      jwtNotBeforeMs: null,
    }),
    identity: ({ home }) => ({ userId: home }),
    user_name: ({ home }) => ({ userId: home }),
    revoked_jwt: (_, [jti = '']) => ({ jti }),
    grant: ({ expiresAtMs }) => ({ role: 'user', expiresAtMs }),
    route: ({ strong }) => ({
      routes: [{ pathPrefix: '/', access: 'grant', roles: [], strong, preflight: false, headers: [] }],
      problem: null,
    }),
  };
  return {
    hasCome,
    get<S extends keyof FactTypes>(topic: S, key: Key): FactTypes[S] | null | undefined {
      const show = (): FactTypes[keyof FactTypes] | null | undefined => {
        if (topic === 'app') {
          return app(key[0]!);
        }
        // One of the simulated topics, since it is none of these.
        const simulated: Topic = topic;
        const fact = get(simulated, key);
        return fact === undefined || fact === null ? fact : shown[simulated](fact, key);
      };
      // Each topic is shown as the gate's fact of the same name.
      return show() as FactTypes[S] | null | undefined;
    },
  };
}
