import { expect, test } from 'vitest';
import {
  flowCookieName,
  flowCookiePrefix,
  removeCookie,
  setCookie,
  surplusFlows,
} from '../../../src/sign-in/cookies.js';

const HERE = { secure: true, domain: null };

test('no script and no request of another site carries one, and over https no request in the clear', () => {
  expect(setCookie('a', 'b', HERE, 60)).toBe('a=b; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax');
  expect(setCookie('a', 'b', { secure: false, domain: 'example.com' }, 60)).toBe(
    'a=b; Path=/; Domain=example.com; Max-Age=60; HttpOnly; SameSite=Lax',
  );
  expect(removeCookie('a', HERE)).toBe('a=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax');
});

test("a flow's cookie can be set by this host alone, where browsers can keep to that", () => {
  const state = 'abcdefghijklmnopqrstuvwxyz';
  expect(flowCookieName(state, true)).toBe('__Host-gatebell_flow_abcdefghijklmnop');
  expect(flowCookieName(state, false)).toBe('gatebell_flow_abcdefghijklmnop');
});

test('of many sign-ins under way the oldest are given up, also when a few are large', () => {
  const flows = (count: number, value = 'x'): { name: string; value: string }[] =>
    Array.from({ length: count }, (_, index) => ({ name: `${flowCookiePrefix(true)}${index}`, value }));
  const names = (numbers: readonly number[]): string[] => numbers.map(number => `${flowCookiePrefix(true)}${number}`);
  expect(surplusFlows([{ name: 'theme', value: 'dark' }, ...flows(4)], true)).toEqual([]);
  expect(surplusFlows(flows(7), true).toSorted()).toEqual(names([0, 1, 2]));
  expect(surplusFlows(flows(4, 'x'.repeat(1_200)), true).toSorted()).toEqual(names([0, 1]));
  // Of the other scheme: not ours to remove.
  expect(surplusFlows(flows(9), false)).toEqual([]);
});
