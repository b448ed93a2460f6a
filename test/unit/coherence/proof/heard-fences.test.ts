/** Fences heard on one connection, before and after it is known where they are sent from. */
import { beforeEach, expect, test } from 'vitest';
import {
  createHeardFences,
  signFence,
  type FenceMessage,
  type HeardFences,
} from '../../../../src/coherence/proof/heard-fences.js';

const HERE = { serverId: 'primary/1/16500.742', key: 'f0'.repeat(64) };
const ELSEWHERE = { serverId: 'primary/2/16500.742', key: '0f'.repeat(64) };

let heard: HeardFences;

beforeEach(() => {
  heard = createHeardFences();
});

function fenceOf({ serverId, key }: typeof HERE, id: number): FenceMessage {
  const unsigned = { id, number: id - 500, serverId };
  return { type: 'fence', ...unsigned, signature: signFence(key, unsigned) };
}

test('one that came before its sender was known counts as soon as it is', () => {
  expect(heard.hear(fenceOf(HERE, 900))).toBe(false);
  expect(heard.hasHeard(900, HERE.serverId)).toBe(false);
  heard.learn(HERE);
  expect([900, 901].map(bound => heard.hasHeard(bound, HERE.serverId))).toEqual([true, false]);
  expect(heard.newest).toBe(400);
});

test('one of elsewhere that came before the sender was known does not count later either', () => {
  heard.hear(fenceOf(ELSEWHERE, 900));
  heard.learn(HERE);
  heard.learn(ELSEWHERE);
  expect(heard.hasHeard(900, ELSEWHERE.serverId)).toBe(false);
});

test('of those that came before the sender was known, the newest 16 are remembered', () => {
  for (let id = 900; id < 917; id++) {
    heard.hear(fenceOf(id < 901 ? HERE : ELSEWHERE, id));
  }
  heard.learn(HERE);
  expect(heard.newest).toBe(0);
});

test('when the sender changes, ids start over, and earlier ones say nothing of either sender', () => {
  heard.learn(HERE);
  heard.hear(fenceOf(HERE, 900));
  heard.learn(ELSEWHERE);
  expect(heard.newest).toBe(0);
  expect(heard.hasHeard(10, ELSEWHERE.serverId)).toBe(false);
  expect(heard.hear(fenceOf(ELSEWHERE, 20))).toBe(true);
  expect([ELSEWHERE, HERE].map(({ serverId }) => heard.hasHeard(10, serverId))).toEqual([true, false]);
});

test('a new key of the same sender keeps what was heard; from then on only its fences are heard', () => {
  heard.learn(HERE);
  heard.hear(fenceOf(HERE, 900));
  const changed = { ...HERE, key: ELSEWHERE.key };
  heard.learn(changed);
  expect(heard.hasHeard(900, HERE.serverId)).toBe(true);
  expect([HERE, changed].map((sender, index) => heard.hear(fenceOf(sender, 901 + index)))).toEqual([false, true]);
});

test.each(['', '0', '0'.repeat(64), '0'.repeat(66), 'ü'.repeat(64)])('the signature %j is none', signature => {
  heard.learn(HERE);
  expect(heard.hear({ ...fenceOf(HERE, 900), signature })).toBe(false);
});

test('one that is sent again is not newer', () => {
  heard.learn(HERE);
  expect([900, 900, 899, 901].map(id => heard.hear(fenceOf(HERE, id)))).toEqual([true, false, false, true]);
});
