/**
 * What is asked of a replica: the gate's own decision, made by the real code over simulated facts, or one fact alone. It notes which facts
 * the answer rests on, for the checker.
 */
import { decide, type Decision } from '../../src/auth/decide.js';
import type { FactRef, Facts, Question } from '../../src/coherence/reader.js';
import type { AppFact, FactTypes } from '../../src/store/facts.js';
import type { Key } from '../../src/coherence/signal.js';
import type { Fact, Subject } from './cluster.js';
import { ABSENT, factName, type Held } from './history.js';

export type SimulatedTypes = { readonly [S in Subject]: Fact };

/** What somebody asks of a replica. */
export interface Asked {
  readonly app: string;
  readonly credential: string;
  readonly strong: boolean;
  /** One fact alone, instead of a decision. */
  readonly only?: Subject;
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

/** The question for a reader; `asking` is kept up to date while it is asked. */
export function ask(asked: Asked, asking: Asking): Question<Verdict, SimulatedTypes> {
  return facts => {
    asking.passes += 1;
    const used: UsedFact[] = [];
    const lacks: FactRef<SimulatedTypes>[] = [];
    asking.lacks = lacks;
    const get = (subject: Subject, key: Key): Fact | null | undefined => {
      const fact = facts.get(subject, key);
      if (fact === undefined) {
        lacks.push({ subject, key });
        asking.lacked.add(factName(subject, key));
      } else {
        used.push({
          subject,
          key,
          name: factName(subject, key),
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
    const outcome = decide(requestOf(asked), disguise(get, facts.serverTimeMs));
    if ('lacks' in outcome) {
      return { lacks };
    }
    if (!('reason' in outcome.answer)) {
      throw new Error('nobody presents a JWT here');
    }
    const isStrong = strong || outcome.strong;
    asking.isStrong ||= isStrong;
    const expiresAtMs = used.find(fact => fact.expiresAtMs !== null)?.expiresAtMs ?? null;
    const expiry = expiresAtMs === null ? null : { expiresAtMs, believedMs: facts.serverTimeMs };
    return { answer: { facts: used, isStrong, decision: outcome.answer, expiry }, strong: isStrong };
  };
}

const requestOf = ({ app, credential }: Asked): Parameters<typeof decide>[0] => ({
  host: app,
  wildcards: [],
  port: '',
  proto: 'https',
  method: 'GET',
  uri: '/',
  readings: ['/'],
  credential: () => ({ kind: 'token', hashes: [credential] }),
  isNavigation: () => false,
  isPreflight: () => false,
});

/** Simulated facts as the gate knows them. There is an app for every host, which never changes. */
function disguise(
  get: (subject: Subject, key: Key) => Fact | null | undefined,
  serverTimeMs: number,
): Facts<FactTypes> {
  const app = (host: string): AppFact => ({ id: host, name: host, host, enabled: true, headers: [], problem: null });
  const shown: { readonly [S in Subject]: (fact: Fact) => FactTypes[S] } = {
    credential: ({ home }) => ({ userId: home, appId: null, revoked: false, expiresAtMs: null }),
    user: ({ text }) => ({
      id: text,
      name: text,
      email: '',
      displayName: '',
      groups: [],
      enabled: true,
      jwtNotBeforeMs: null,
    }),
    grant: ({ expiresAtMs }) => ({ role: 'user', expiresAtMs }),
    route: ({ strong }) => ({
      routes: [{ pathPrefix: '/', access: 'granted', roles: [], strong, preflight: false, headers: [] }],
      problem: null,
    }),
  };
  return {
    serverTimeMs,
    get<S extends keyof FactTypes>(subject: S, key: Key): FactTypes[S] | null | undefined {
      const show = (): FactTypes[keyof FactTypes] | null | undefined => {
        if (subject === 'app') {
          return app(key[0]!);
        }
        if (subject === 'identity' || subject === 'user_name' || subject === 'revoked_jwt') {
          throw new Error('nobody presents a JWT here');
        }
        // One of the simulated subjects, since it is none of these.
        const simulated: Subject = subject;
        const fact = get(simulated, key);
        return fact === undefined || fact === null ? fact : shown[simulated](fact);
      };
      // Each subject is shown as the gate's fact of the same name.
      return show() as FactTypes[S] | null | undefined;
    },
  };
}
