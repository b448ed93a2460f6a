/** What the fuzzed gate knows, and the fuzzer with it: apps, users, and tokens that are always the same. */
import { hashToken } from '../../../src/auth/token.js';
import { ALICE, createMemoryFacts, route, type MemoryFacts } from '../../support/memory-facts.js';

/**
 * Made once by `createToken`, so that a case has the same bytes whenever it is made. They open nothing outside this
 * suite.
 */
const TOKENS = [
  'gb_Om0UM3Yasr94YxUO4T8mlxT55pLPoiS41WGRggDwv8Y42G1L8',
  'gb_OtndeNU4cRAGOuY98mR7wMwtvSi9DBQeRnL1a3k43qm1tPVNL',
  'gb_loaMXXUV23vMjIqLMWjC9AaH7oICygKmdm7dWbh3i531fJBaP',
  'gb_MJVNxTtooXWBtMzNBbJGJaDM53kWea18R8sLHArMnza1GopNF',
  'gb_uAm1qHQzqSvZDyELtBqmqtXz0gPZ7WpNDzOKOs9N1oQ2juQsv',
  'gb_y19PrQYdM3S84o6WrYEViib6fdPwthY3P4MNXkpz9yx3ndrPl',
  'gb_xK20JlDXkYjEjOGSQG0bWxLmtlMHlqOVVYkGzcALNiA21zv81',
  'gb_BSNloDxeDHPU7LPqGy4SxQ3uZd9wzvjDVzXtU1KuQ8B3W9keK',
  'gb_ESza8eOXqDfIrf9Syvw1syUqaI9un1ixAIsksqA4YZM2kQ9FW',
  'gb_IkXsZsgDM6BmM1xdnT3Hx9OozDZIjP4VqjLINQfzrzF2hvNFG',
  'gb_LioeXeXn8RCAqDObAa5y0s1x7BLdIJnu43JixXgUxgj0QFhqi',
  'gb_JzYANOCzSPIDWKn65NITyd3Uz66yg9AQkkltLFpppDh1sRSgu',
] as const;

const USERS = 7;

/** The users who may enter everything that is not public, by number. */
export const USER_TOKENS: readonly string[] = TOKENS.slice(0, USERS);
export const EXPIRED_TOKEN: string = TOKENS[7];
export const REVOKED_TOKEN: string = TOKENS[8];
export const DISABLED_TOKEN: string = TOKENS[9];
export const UNGRANTED_TOKEN: string = TOKENS[10];
/** Well formed, and nobody's. */
export const UNKNOWN_TOKEN: string = TOKENS[11];
export const UNGRANTED_USER = 'ungranted';

/** Nothing is public here. */
export const CLOSED_HOSTS: readonly string[] = [
  'c0.example.test',
  'c1.example.test',
  'c2.example.test',
  'deep.c3.example.test',
];
/** Below `/pub` everything is public here, but for `/pub/admin`. */
export const OPEN_HOST = 'open.example.test';
/** Hosts of the apps: one of them holds all of a domain. */
export const APP_HOSTS: readonly string[] = [...CLOSED_HOSTS.slice(0, -1), '*.c3.example.test', OPEN_HOST];
export const LOGIN_URL = 'https://login.example.test/start';

/** The name of the user whose token it is. */
export const userName = (at: number): string => `user${at}`;

export function createFuzzWorld(): MemoryFacts {
  const facts = createMemoryFacts();
  const closed = [route('/me', 'authenticated')];
  APP_HOSTS.forEach((host, at) => {
    const id = String(at);
    facts.set('app', [host], { id, name: host, host, enabled: true, headers: [], problem: null });
    facts.set('route', [id], {
      problem: null,
      routes: host === OPEN_HOST ? [route('/pub/admin', 'grant'), route('/pub', 'public'), ...closed] : closed,
    });
  });
  const addUser = (id: string, name: string, token: string, enabled: boolean, isGranted: boolean): void => {
    facts.set('user', [id], {
      ...ALICE,
      id,
      name,
      email: `${name}@example.test`,
      displayName: name,
      groups: [name],
      enabled,
    });
    facts.set('credential', [hashToken(token)], { userId: id, appId: null, revoked: false, expiresAtMs: null });
    for (const at of isGranted ? APP_HOSTS.keys() : []) {
      facts.set('grant', [id, String(at)], { role: name, expiresAtMs: null });
    }
  };
  USER_TOKENS.forEach((token, at) => addUser(String(100 + at), userName(at), token, true, true));
  addUser('200', 'disabled', DISABLED_TOKEN, false, true);
  addUser('201', UNGRANTED_USER, UNGRANTED_TOKEN, true, false);
  facts.set('credential', [hashToken(EXPIRED_TOKEN)], {
    userId: '100',
    appId: null,
    revoked: false,
    expiresAtMs: facts.serverTimeMs,
  });
  facts.set('credential', [hashToken(REVOKED_TOKEN)], { userId: '100', appId: null, revoked: true, expiresAtMs: null });
  return facts;
}
