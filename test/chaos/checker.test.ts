/** The checker has teeth: each kind of wrong answer is seen, and what is allowed passes. */
import { expect, test } from 'vitest';
import { History } from '../sim/history.js';
import { factsOf, type Answer } from './answer.js';
import { createChecker, describeViolation, stalenessMs } from './checker.js';
import { APP, emailOf } from './people.js';

const LEASE_MS = 3_000;
const ANN = ['ann'];

/**
 * ann: enabled, email v1, good credential and grant v1 from the start. The grant becomes v2 between 10,000 and 10,010,
 * and ends between 20,000 and 20,010.
 */
function history(): History {
  const told = new History();
  told.note('credential', ANN, 'good', -Infinity);
  told.note('enabled', ANN, 'true', -Infinity);
  told.note('email', ANN, 'v1', -Infinity);
  told.note('grant', ANN, 'v1', -Infinity);
  told.noteBetween('grant', ANN, 'v2', 10_000, 10_010);
  told.noteBetween('grant', ANN, 'absent', 20_000, 20_010);
  return told;
}

/** An allow by the grant `role`, one millisecond after it was asked for. */
function answer(sentMs: number, role: string, other: Partial<Answer> = {}): Answer {
  return {
    replica: 'replica-1',
    process: 'replica-1',
    person: 'ann',
    route: 'granted',
    sentMs,
    answeredMs: sentMs + 1,
    status: 200,
    reason: 'granted',
    user: 'ann',
    app: APP,
    role,
    email: emailOf('v1'),
    ...other,
  };
}

const denied = (sentMs: number, other: Partial<Answer> = {}): Answer =>
  answer(sentMs, '', { status: 403, reason: 'no_grant', user: '', app: '', email: '', ...other });

const verdicts = (...answers: readonly Answer[]): string[] =>
  createChecker(history(), LEASE_MS)
    .judge(answers)
    .map(({ promise, answer }) => `${promise} at ${answer.sentMs}`);

test('what was true within the lease before the question, or became true before the answer, is allowed', () => {
  expect(
    verdicts(
      answer(5_000, 'v1'),
      answer(10_000, 'v2'),
      answer(12_000, 'v1', { replica: 'replica-2', process: 'replica-2' }),
      answer(13_009, 'v1', { replica: 'replica-2', process: 'replica-2' }),
      answer(23_009, 'v2', { replica: 'replica-2', process: 'replica-2' }),
      denied(20_001),
      denied(30_000),
    ),
  ).toEqual([]);
});

test('G1: an allow, or a denial, by what was replaced longer ago than the lease', () => {
  expect(verdicts(answer(13_011, 'v1'))).toEqual(['G1 at 13011']);
  expect(verdicts(answer(23_011, 'v2'))).toEqual(['G1 at 23011']);
  const late = new History();
  late.note('credential', ANN, 'revoked', -Infinity);
  late.noteBetween('credential', ANN, 'good', 1_000, 1_005);
  const stale = denied(4_010, { status: 401, reason: 'bad_credential' });
  expect(createChecker(late, LEASE_MS).judge([stale])).toHaveLength(1);
  expect(createChecker(late, LEASE_MS).judge([{ ...stale, sentMs: 4_000 }])).toHaveLength(0);
});

test('G1: a denial by what was never so', () => {
  expect(verdicts(denied(5_000))).toEqual(['G1 at 5000']);
});

test('G2: an older version after a newer one, on the same replica; a question sent before may still get it', () => {
  expect(verdicts(answer(10_005, 'v2'), answer(10_007, 'v1'))).toEqual(['G2 at 10007']);
  expect(verdicts(denied(20_005), answer(20_007, 'v2'))).toEqual(['G2 at 20007']);
  expect(verdicts(answer(10_005, 'v2'), answer(10_007, 'v1', { replica: 'replica-2', process: 'replica-2' }))).toEqual(
    [],
  );
  expect(verdicts(answer(10_005, 'v2'), answer(10_005.5, 'v1'))).toEqual([]);
});

test('G2: across two batches of answers, too', () => {
  const checker = createChecker(history(), LEASE_MS);
  expect(checker.judge([answer(10_005, 'v2')])).toHaveLength(0);
  expect(checker.judge([answer(10_007, 'v1')])).toMatchObject([{ promise: 'G2' }]);
});

test('G2: not after a failover that lost the newer version', () => {
  const told = history();
  told.noteBetween('grant', ANN, 'v3', 30_000, 30_001);
  told.noteBetween('grant', ANN, 'v4', 31_000, 31_001);
  told.noteBetween('grant', ANN, 'v3', 32_000, 32_500);
  const checker = createChecker(told, LEASE_MS);
  expect(checker.judge([answer(31_500, 'v4'), answer(33_000, 'v3'), answer(34_000, 'v3')])).toEqual([]);
  expect(checker.judge([answer(36_000, 'v4')])).toMatchObject([{ promise: 'G1' }]);
});

test('G3: a strong answer by what was replaced before the question was sent, however shortly', () => {
  expect(verdicts(answer(10_011, 'v1', { route: 'strong' }))).toEqual(['G3 at 10011']);
  expect(verdicts(answer(10_009, 'v1', { route: 'strong' }))).toEqual([]);
});

test('G3: a strong answer by facts that were never true together', () => {
  const told = history();
  told.noteBetween('email', ANN, 'v2', 10_050, 10_060);
  const mixed = answer(10_005, 'v1', { route: 'strong', answeredMs: 10_100, email: emailOf('v2') });
  expect(createChecker(told, LEASE_MS).judge([mixed])).toMatchObject([{ promise: 'G3' }]);
  expect(createChecker(told, LEASE_MS).judge([{ ...mixed, route: 'granted' }])).toEqual([]);
});

test('G4: an allow by what was never committed, for somebody else, into another app, or without a grant', () => {
  expect(verdicts(answer(5_000, 'v9'))).toEqual(['G4 at 5000']);
  expect(verdicts(answer(5_000, 'v2'))).toEqual(['G4 at 5000']);
  expect(verdicts(answer(5_000, 'v1', { user: 'bob' }))).toEqual(['G4 at 5000']);
  expect(verdicts(answer(5_000, 'v1', { app: 'wiki' }))).toEqual(['G4 at 5000']);
  expect(verdicts(answer(5_000, '', { reason: 'authenticated' }))).toEqual(['G4 at 5000']);
  expect(verdicts(answer(5_000, 'v1', { status: 500, reason: '' }))).toEqual(['G4 at 5000']);
});

test('503 is never wrong, and shows nothing', () => {
  expect(factsOf(denied(5_000, { status: 503, reason: 'unavailable' }))).toEqual({ facts: [] });
  expect(verdicts(denied(50_000, { status: 503, reason: 'unavailable' }))).toEqual([]);
});

test('staleness is how long before the question the oldest fact was replaced', () => {
  expect(stalenessMs(answer(10_500, 'v1'), history())).toBeCloseTo(490);
  expect(stalenessMs(answer(10_500, 'v2'), history())).toBe(0);
});

test('a violation is reported with the history around it', () => {
  const [violation] = createChecker(history(), LEASE_MS).judge([answer(13_500, 'v1')]);
  expect(describeViolation(violation!)).toBe(
    'G1 on replica-1: asked about ann (granted) at 13500.000, answered at ' +
      '13501.000: 200 granted, role v1, email v1@chaos.test\n' +
      '  stale grant[ann] was v1; the truth since 10500.000: v2 from 10000.000 to 20010.000',
  );
});
