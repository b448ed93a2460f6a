import { describe, expect, test } from 'vitest';
import { createRoster, type Member, type Roster } from '../../../src/collections/random-set.js';
import { systemRandom } from '../../../src/time/clock.js';
import { createFixedRandom } from '../../support/simulated-clock.js';

interface Named extends Member {
  readonly name: number;
}

function fill(count: number): { roster: Roster<Named>; members: Named[] } {
  const roster = createRoster<Named>();
  const members = Array.from({ length: count }, (_, name) => ({ name, place: -1 }));
  for (const member of members) {
    roster.add(member);
  }
  return { roster, members };
}

const names = (drawn: readonly Named[]): number[] => drawn.map(({ name }) => name).sort((a, b) => a - b);

test('knows who is in', () => {
  const { roster, members } = fill(3);
  const [first, second, third] = members as [Named, Named, Named];
  expect(members.map(roster.has)).toEqual([true, true, true]);
  roster.remove(first);
  roster.remove(first);
  roster.remove({ name: 9, place: 0 });
  expect(members.map(roster.has)).toEqual([false, true, true]);
  roster.remove(third);
  roster.add(first);
  expect(names(roster.draw(9, systemRandom))).toEqual([first.name, second.name]);
  roster.clear();
  roster.remove(second);
  expect(members.map(roster.has)).toEqual([false, false, false]);
  roster.add(third);
  expect([first, second, third].map(roster.has)).toEqual([false, false, true]);
});

describe('draws', () => {
  test.each([0, 0.3, 0.999_999])('different members, all if there are few, whatever chance says (%d)', chance => {
    const { roster } = fill(101);
    expect(new Set(roster.draw(100, createFixedRandom(chance))).size).toBe(100);
    expect(names(roster.draw(500, createFixedRandom(chance)))).toEqual(Array.from({ length: 101 }, (_, name) => name));
    expect(createRoster<Named>().draw(5, createFixedRandom(chance))).toEqual([]);
  });

  test('every member as often as any other, and not always the same', () => {
    const { roster } = fill(20);
    const drawn = Array.from({ length: 20 }, () => 0);
    for (let round = 0; round < 4_000; round++) {
      for (const { name } of roster.draw(5, systemRandom)) {
        drawn[name]! += 1;
      }
    }
    // Expected 1000 each; 200 is more than seven standard deviations.
    expect(drawn.filter(count => Math.abs(count - 1_000) > 200)).toEqual([]);
  });

  test('as well after it has drawn, and after some have left', () => {
    const { roster, members } = fill(50);
    for (const member of members.slice(0, 40)) {
      roster.draw(7, systemRandom);
      roster.remove(member);
    }
    expect(names(roster.draw(50, systemRandom))).toEqual(names(members.slice(40)));
  });
});
