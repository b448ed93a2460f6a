/** A map that keeps what was used lately, within a bound of bytes. */
import { expect, test } from 'vitest';
import { RecentMap } from '../../../src/collections/recent-map.js';

interface Value {
  readonly text: string;
  readonly bytes: number;
}

const textOf = ({ text }: Value): string => text;
const found = (map: RecentMap<Value>, text: string): Value | undefined => map.get(text, textOf);

function fill(map: RecentMap<Value>, from: number, to: number, bytes = 10): void {
  for (let n = from; n < to; n++) {
    map.set(`${n}`, { text: `${n}`, bytes });
  }
}

test('finds what was set, and what replaced it', () => {
  const map = new RecentMap<Value>(1_000);
  fill(map, 0, 3);
  map.set('1', { text: '1', bytes: 20 });
  expect(found(map, '0')).toEqual({ text: '0', bytes: 10 });
  expect(found(map, '1')).toEqual({ text: '1', bytes: 20 });
  map.clear();
  expect(found(map, '0')).toBeUndefined();
});

test('keeps no more than its bytes, and drops what was not used', () => {
  const map = new RecentMap<Value>(1_000);
  fill(map, 0, 1_000);
  const left = Array.from({ length: 1_000 }, (_, n) => n).filter(n => found(map, `${n}`) !== undefined);
  expect(left.length).toBeLessThanOrEqual(100);
  expect(left).toContain(999);
  expect(left).not.toContain(0);
});

test('keeps what is used, however much else comes', () => {
  const map = new RecentMap<Value>(1_000);
  fill(map, 0, 1);
  for (let n = 1; n < 1_000; n++) {
    fill(map, n, n + 1);
    expect(found(map, '0'), `after ${n}`).toBeDefined();
  }
});

test('a value that is replaced counts once', () => {
  const map = new RecentMap<Value>(1_000);
  fill(map, 0, 1);
  for (let n = 0; n < 1_000; n++) {
    map.set('again', { text: 'again', bytes: 10 });
  }
  fill(map, 1, 40);
  expect(found(map, '0')).toBeDefined();
});

test('a value larger than the bound is kept alone, until the next', () => {
  const map = new RecentMap<Value>(1_000);
  map.set('large', { text: 'large', bytes: 5_000 });
  expect(found(map, 'large')).toBeDefined();
  fill(map, 0, 120);
  expect(found(map, 'large')).toBeUndefined();
});

test('keeps no text of those who ask', () => {
  const map = new RecentMap<Value>(100);
  fill(map, 0, 1);
  const asked: string[] = [];
  const textSeen = (value: Value): string => {
    asked.push(value.text);
    return value.text;
  };
  fill(map, 1, 6);
  expect(map.get('0', textSeen)).toBeDefined();
  expect(asked, 'moved by its own text').toEqual(['0']);
});
