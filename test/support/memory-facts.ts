/** Facts in a map, for the decision and the handler: what is not set does not exist, what is forgotten is not known yet. */
import type { Facts, Reader } from '../../src/coherence/facts/reader.js';
import { keyText } from '../../src/coherence/signal.js';
import type { AppFact, FactTypes, Route, UserFact } from '../../src/auth/facts.js';
import { createToken, hashToken } from '../../src/auth/token.js';

export interface MemoryFacts extends Facts<FactTypes> {
  serverTimeMs: number;
  set<S extends keyof FactTypes>(subject: S, key: readonly string[], fact: FactTypes[S] | null): void;
  /** Makes the facts of these subjects unknown until they are set again. */
  forget(...subjects: readonly (keyof FactTypes)[]): void;
  /** Subjects asked for so far, in order. */
  readonly asked: (keyof FactTypes)[];
}

export function createMemoryFacts(): MemoryFacts {
  const known = new Map<string, unknown>();
  const forgotten = new Set<keyof FactTypes>();
  const asked: (keyof FactTypes)[] = [];
  const place = (subject: string, key: readonly string[]): string => `${subject}/${keyText(key)}`;
  return {
    serverTimeMs: 1_750_000_000_000,
    asked,
    set(subject, key, fact) {
      forgotten.delete(subject);
      known.set(place(subject, key), fact);
    },
    forget(...subjects) {
      subjects.forEach(subject => forgotten.add(subject));
    },
    get<S extends keyof FactTypes>(subject: S, key: readonly string[]): FactTypes[S] | null | undefined {
      asked.push(subject);
      // `set` puts only facts of the subject in its place.
      return forgotten.has(subject)
        ? undefined
        : ((known.get(place(subject, key)) as FactTypes[S] | undefined) ?? null);
    },
  };
}

/** A reader that has all facts in memory, and rejects when it lacks one. */
export function createMemoryReader(facts: Facts<FactTypes>): Reader<FactTypes> {
  return {
    read(question) {
      const outcome = question(facts);
      return 'answer' in outcome ? outcome.answer : Promise.reject(new Error('a fact is lacking'));
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
      route('/pub/admin', 'granted', { roles: ['admin', 'owner'] }),
      route('/strong', 'granted', { strong: true }),
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
