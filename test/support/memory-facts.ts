/**
 * Facts in a map, for the decision and the handler: what is not set does not exist, what is forgotten is not known yet.
 */
import type { Facts, Reader } from '../../src/coherence/facts/reader.js';
import { keyText } from '../../src/coherence/signal.js';
import type { AppFact, FactTypes, Route, UserFact } from '../../src/auth/facts.js';
import { createToken, hashToken } from '../../src/auth/token.js';

export interface MemoryFacts extends Facts<FactTypes> {
  serverTimeMs: number;
  set<S extends keyof FactTypes>(topic: S, key: readonly string[], fact: FactTypes[S] | null): void;
  /** Makes the facts of these topics unknown until they are set again. */
  forget(...topics: readonly (keyof FactTypes)[]): void;
  /** Topics asked for so far, in order. */
  readonly asked: (keyof FactTypes)[];
}

export function createMemoryFacts(): MemoryFacts {
  const known = new Map<string, unknown>();
  const forgotten = new Set<keyof FactTypes>();
  const asked: (keyof FactTypes)[] = [];
  const place = (topic: string, key: readonly string[]): string => `${topic}/${keyText(key)}`;
  return {
    serverTimeMs: 1_750_000_000_000,
    asked,
    hasCome(timeMs) {
      return timeMs <= this.serverTimeMs;
    },
    set(topic, key, fact) {
      forgotten.delete(topic);
      known.set(place(topic, key), fact);
    },
    forget(...topics) {
      topics.forEach(topic => forgotten.add(topic));
    },
    get<S extends keyof FactTypes>(topic: S, key: readonly string[]): FactTypes[S] | null | undefined {
      asked.push(topic);
      // `set` puts only facts of the topic in its place.
      return forgotten.has(topic) ? undefined : ((known.get(place(topic, key)) as FactTypes[S] | undefined) ?? null);
    },
  };
}

/**
 * A reader that has all facts in memory, and rejects when it lacks one. Answers are kept until a fact or a time is
 * another.
 */
export function createMemoryReader(facts: Facts<FactTypes>): Reader<FactTypes> {
  return {
    read(question, keep) {
      const seen: (() => boolean)[] = [];
      const outcome = question({
        ...facts,
        get(topic, key) {
          const fact = facts.get(topic, key);
          seen.push(() => facts.get(topic, key) === fact);
          return fact;
        },
        hasCome(timeMs) {
          const hasCome = facts.hasCome(timeMs);
          seen.push(() => facts.hasCome(timeMs) === hasCome);
          return hasCome;
        },
      });
      if ('lacks' in outcome) {
        return Promise.reject(new Error('a fact is lacking'));
      }
      const { answer, strong } = outcome;
      if (!strong) {
        const isHeld = (): boolean => seen.every(isSo => isSo());
        keep?.({ answer, isHeld, recall: () => (isHeld() ? answer : undefined) });
      }
      return answer;
    },
  };
}

export function route(pathPrefix: string, access: Route['access'], more: Partial<Route> = {}): Route {
  return { pathPrefix, access, roles: [], strong: false, preflight: false, headers: [], ...more };
}

export const APP: AppFact = {
  id: '12',
  name: 'wiki',
  host: 'wiki.example.com',
  enabled: true,
  headers: [],
  problem: null,
};
export const ALICE: UserFact = {
  id: '7',
  name: 'alice',
  email: 'alice@example.com',
  displayName: 'Alice A.',
  groups: ['staff', 'wiki'],
  enabled: true,
  jwtNotBeforeMs: null,
};
export const TOKEN = createToken();

/** One app with a rule of each kind, one user with a token and a grant. */
export function createWorld(): MemoryFacts {
  const facts = createMemoryFacts();
  facts.set('app', [APP.host], APP);
  facts.set('route', [APP.id], {
    problem: null,
    routes: [
      route('/pub/admin', 'grant', { roles: ['admin', 'owner'] }),
      route('/strong', 'grant', { strong: true }),
      route('/roles', 'authenticated', { roles: ['admin'] }),
      route('/open', 'public', { strong: true, roles: ['admin'] }),
      route('/pub', 'public'),
      route('/me', 'authenticated'),
    ],
  });
  facts.set('user', [ALICE.id], ALICE);
  facts.set('credential', [hashToken(TOKEN)], { userId: ALICE.id, appId: null, revoked: false, expiresAtMs: null });
  facts.set('grant', [ALICE.id, APP.id], { role: 'user', expiresAtMs: null });
  return facts;
}
