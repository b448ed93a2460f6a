/** Who makes way when a room is full. */
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { createSieveMap, type SieveNode, type SieveMap } from '../../../src/collections/sieve-map.js';
import { RecentSet } from '../../../src/collections/recent-set.js';

interface Named extends SieveNode<Named> {
  readonly name: string;
}

setFlagsFromString('--expose-gc');
// Checked by the test that calls it.
const collectGarbage = runInNewContext('gc') as () => void;

let left: string[];
let room: SieveMap<Named>;
const open = (sizeMax: number): SieveMap<Named> => createSieveMap<Named>(sizeMax, ({ name }) => left.push(name));
const enter = (...names: string[]): void => {
  for (const name of names) {
    room.set({ name, text: name, used: false, older: null, newer: null });
  }
};
const use = (...names: string[]): void => {
  for (const name of names) {
    room.get(name)!.used = true;
  }
};

beforeEach(() => {
  left = [];
  room = open(3);
});

test('the oldest that was not used makes way', () => {
  enter('a', 'b', 'c');
  use('a');
  enter('d');
  expect(left).toEqual(['b']);
  expect(room.get('a')).toMatchObject({ used: false });
});

test('who was used is spared once for each time, and the hand goes on from where it was', () => {
  enter('a', 'b', 'c');
  use('a', 'b', 'c');
  enter('d', 'e');
  expect(left).toEqual(['a', 'b']);
});

test('one that comes again replaces itself and nobody else', () => {
  enter('a', 'b', 'c', 'b');
  expect([left, room.size]).toEqual([['b'], 3]);
});

test('what is deleted, or cleared, makes room', () => {
  enter('a', 'b', 'c');
  expect(room.delete('b')).toMatchObject({ name: 'b' });
  expect(room.delete('b')).toBeUndefined();
  enter('d');
  room.clear();
  enter('e', 'f', 'g');
  expect([left, room.size]).toEqual([[], 3]);
  enter('h');
  expect(left).toEqual(['e']);
});

test('who left is garbage, however long the hand has waited', async () => {
  enter('a');
  for (let index = 0; index < 1_000; index++) {
    enter(`guest ${index}`);
    room.delete(`guest ${index}`);
  }
  const gone = new WeakRef(room.delete('a')!);
  // What a reference was made of, or read from, stays until the turn ends.
  await turn();
  collectGarbage();
  expect(gone.deref()).toBeUndefined();
  expect(room.size).toBe(0);
});

test.each([
  { how: 'cleared', leave: () => room.clear() },
  { how: 'deleted', leave: () => ['a', 'b', 'c'].forEach(name => room.delete(name)) },
  { how: 'evicted', leave: () => enter('d', 'e', 'f') },
])('who was $how keeps no other alive', async ({ leave }) => {
  enter('a', 'b', 'c');
  const stays = room.get('b')!;
  const others = ['a', 'c'].map(name => new WeakRef(room.get(name)!));
  leave();
  await turn();
  collectGarbage();
  expect(others.map(other => other.deref())).toEqual([undefined, undefined]);
  expect(stays.name).toBe('b');
});

test('whatever comes and goes, there are never more, and who left is not there', () => {
  const name = fc.integer({ min: 0, max: 8 }).map(String);
  const step = fc.record({ what: fc.constantFrom('enter', 'use', 'delete', 'clear'), name });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.array(step, { maxLength: 60 }), (sizeMax, steps) => {
      left = [];
      room = open(sizeMax);
      const present = new Set<string>();
      for (const { what, name: who } of steps) {
        if (what === 'enter') {
          const before = left.length;
          enter(who);
          left.slice(before).forEach(gone => present.delete(gone));
          present.add(who);
        } else if (what === 'use' && present.has(who)) {
          use(who);
        } else if (what === 'delete') {
          expect(room.delete(who)?.name).toBe(present.delete(who) ? who : undefined);
        } else if (what === 'clear') {
          room.clear();
          present.clear();
        }
        expect(room.size).toBe(present.size);
        expect(room.size).toBeLessThanOrEqual(sizeMax);
        expect([...present].every(one => room.get(one)?.name === one)).toBe(true);
      }
    }),
  );
});

describe('recent texts', () => {
  test('are the last ones, at least half as many as there is room for and never more', () => {
    const recent = new RecentSet(10);
    const texts = Array.from({ length: 23 }, (_, index) => `text ${index}`);
    for (const text of texts) {
      recent.add(text);
    }
    const held = texts.filter(text => recent.has(text));
    expect(held.length).toBeLessThanOrEqual(10);
    expect(held).toEqual(texts.slice(-held.length));
    expect(held.length).toBeGreaterThanOrEqual(5);
  });

  test('stay as long as they are seen again', () => {
    const recent = new RecentSet(4);
    for (let index = 0; index < 20; index++) {
      recent.add('always');
      recent.add(`other ${index}`);
      expect(recent.has('always')).toBe(true);
    }
  });
});
