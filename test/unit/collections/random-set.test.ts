import { describe, expect, test } from 'vitest';
import { createRandomSet, type Member, type RandomSet } from '../../../src/collections/random-set.js';
import { systemRandom } from '../../../src/time/clock.js';
import { createFixedRandom } from '../../support/simulated-clock.js';

interface Named extends Member {
  readonly name: number;
}

function fill(count: number): { randomSet: RandomSet<Named>; members: Named[] } {
  const randomSet = createRandomSet<Named>();
  const members = Array.from({ length: count }, (_, name) => ({ name, place: -1 }));
  for (const member of members) {
    randomSet.add(member);
  }
  return { randomSet, members };
}

const names = (drawn: readonly Named[]): number[] => drawn.map(({ name }) => name).sort((a, b) => a - b);

test('knows who is in', () => {
  const { randomSet, members } = fill(3);
  const [first, second, third] = members as [Named, Named, Named];
  expect(members.map(randomSet.has)).toEqual([true, true, true]);
  randomSet.remove(first);
  randomSet.remove(first);
  randomSet.remove({ name: 9, place: 0 });
  expect(members.map(randomSet.has)).toEqual([false, true, true]);
  randomSet.remove(third);
  randomSet.add(first);
  expect(names(randomSet.draw(9, systemRandom))).toEqual([first.name, second.name]);
  randomSet.clear();
  randomSet.remove(second);
  expect(members.map(randomSet.has)).toEqual([false, false, false]);
  randomSet.add(third);
  expect([first, second, third].map(randomSet.has)).toEqual([false, false, true]);
});

describe('draws', () => {
  test.each([0, 0.3, 0.999_999])('different members, all if there are few, whatever chance says (%d)', chance => {
    const { randomSet } = fill(101);
    expect(new Set(randomSet.draw(100, createFixedRandom(chance))).size).toBe(100);
    expect(names(randomSet.draw(500, createFixedRandom(chance)))).toEqual(
      Array.from({ length: 101 }, (_, name) => name),
    );
    expect(createRandomSet<Named>().draw(5, createFixedRandom(chance))).toEqual([]);
  });

  test('every member as often as any other, and not always the same', () => {
    const { randomSet } = fill(20);
    const drawn = Array.from({ length: 20 }, () => 0);
    for (let round = 0; round < 4_000; round++) {
      for (const { name } of randomSet.draw(5, systemRandom)) {
        drawn[name]! += 1;
      }
    }
    // Expected 1000 each; 200 is more than seven standard deviations.
    expect(drawn.filter(count => Math.abs(count - 1_000) > 200)).toEqual([]);
  });

  test('as well after it has drawn, and after some have left', () => {
    const { randomSet, members } = fill(50);
    for (const member of members.slice(0, 40)) {
      randomSet.draw(7, systemRandom);
      randomSet.remove(member);
    }
    expect(names(randomSet.draw(50, systemRandom))).toEqual(names(members.slice(40)));
  });
});
