/** A little of what `npm run fuzz` does at length, and that its judge is awake. */
import { describe, expect, test } from 'vitest';
import { BLOCK_CASES, makeBlock, type TameCase, type WildCase } from './fuzz/cases.js';
import { fuzz } from './fuzz/fuzz.js';
import { judge } from './fuzz/judge.js';
import { OPEN_HOST, USER_TOKENS } from './fuzz/fuzzed-apps.js';

const CASES = 4_000;

test(`${CASES} cases find nothing: no 5xx, nobody let in by another's credential, no hang, no crash`, async () => {
  const { faults, cases, requests, seen, connections } = await fuzz({ seed: 5, cases: CASES });
  expect(faults).toEqual([]);
  expect(cases).toBe(CASES);
  expect(requests).toBeGreaterThan(CASES / 2);
  expect(connections).toBeGreaterThan(CASES / BLOCK_CASES);
  // A generator that only ever makes one kind would prove little.
  const kinds = [
    'smuggling: 400',
    'mutated: 400',
    'mutated: 401',
    'mutated: 200',
    'oversized: 431',
    'foreign: 404',
    'cut off: 400',
  ];
  const tame = ['forward', 'internal', 'nginx', 'envoy', 'haproxy'].flatMap(name => [
    `tame ${name}: 200`,
    `tame ${name}: 401`,
  ]);
  expect([...seen.keys()]).toEqual(expect.arrayContaining([...kinds, ...tame]));
});

test('the same seed makes the same cases, another seed others', () => {
  expect(JSON.stringify(makeBlock(1, 7))).toBe(JSON.stringify(makeBlock(1, 7)));
  expect(JSON.stringify(makeBlock(1, 7))).not.toBe(JSON.stringify(makeBlock(2, 7)));
  const numbers = makeBlock(1, 7).flatMap(({ first, cases }) => cases.map((_, at) => first + at));
  expect(numbers).toEqual(Array.from({ length: BLOCK_CASES }, (_, at) => 7 * BLOCK_CASES + at));
});

/** An answer as the gate writes it. */
function answer(status: number, reason: string, user: string, app = ''): string {
  const body = status === 200 ? '' : `gatebell: ${reason}\n`;
  const identity = ['Remote-User', 'Remote-Name', 'Remote-Email', 'Remote-Groups', 'X-Gatebell-Role'].map(
    name => `${name}: ${user}`,
  );
  const lines = [
    `X-Gatebell-Reason: ${reason}`,
    'Cache-Control: no-store',
    ...(status === 200 ? [...identity, `X-Gatebell-App: ${app}`] : []),
  ];
  return `HTTP/1.1 ${status} X\r\n${lines.join('\r\n')}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

describe('the judge', () => {
  const tame = (status: number, reason: string, user: string): TameCase => ({
    type: 'tame',
    kind: 'tame',
    bytes: '',
    isHead: false,
    expected: { status, reason, user, app: status === 200 ? 'a' : '' },
  });
  const wild = (bytes: string, isSmuggling = false): WildCase => ({
    type: 'wild',
    kind: 'wild',
    bytes,
    cuts: [],
    ending: 'half-close',
    isSmuggling,
  });
  const one = tame(200, 'granted', 'user0');
  const two = tame(401, 'no_credential', '');
  const ofOne = answer(200, 'granted', 'user0', 'a');
  const ofTwo = answer(401, 'no_credential', '');

  test('is content with the right answers in the right order', () => {
    expect(judge([one, two], ofOne + ofTwo)).toBeNull();
    expect(judge([one, wild(`Bearer ${USER_TOKENS[3]}`)], ofOne + answer(200, 'granted', 'user3', 'a'))).toBeNull();
    expect(judge([wild(OPEN_HOST)], answer(200, 'public', '', 'a'))).toBeNull();
    expect(judge([wild('x')], 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')).toBeNull();
    expect(judge([wild('x')], '')).toBeNull();
  });

  test.each([
    ['answers in another order', [one, two], ofTwo + ofOne],
    ['the identity of another', [one], ofOne.replaceAll('user0', 'user1')],
    ['another app', [one], ofOne.replace('X-Gatebell-App: a', 'X-Gatebell-App: b')],
    ['an answer too few', [one, two], ofOne],
    ['an answer too many', [one], ofOne + ofTwo],
    ['an identity header less', [one], ofOne.replace('Remote-Groups: user0\r\n', '')],
    ['an identity header twice', [one], ofOne.replace('Remote-Groups', 'Remote-User: user0\r\nRemote-Groups')],
    ['somebody whose credential was not sent', [wild('x')], ofOne],
    ['nobody, where nothing is public', [wild('x')], answer(200, 'public', '', 'a')],
    ['nobody, as one with a grant', [wild(OPEN_HOST)], answer(200, 'granted', '', 'a')],
    ['who was smuggled', [wild(`Bearer ${USER_TOKENS[0]}`, true)], ofTwo + ofOne],
    ['a fault of the gate', [wild('x')], answer(500, 'x', '')],
    ['a gate that is not available', [wild('x')], answer(503, 'unavailable', '')],
    ['an identity with a refusal', [wild('x')], ofTwo.replace('Cache', 'Remote-User: user0\r\nCache')],
  ] as const)('sees %s', (_, cases, text) => {
    expect(judge(cases, text)).not.toBeNull();
  });
});
