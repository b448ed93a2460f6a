import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { keyText, parseMessage } from '../../../src/coherence/signal.js';

fc.configureGlobal({ seed: 1 });

describe('parseMessage', () => {
  test.each([
    [
      'a change of some keys',
      {
        v: 1,
        s: 'grant',
        k: [
          ['7', '12'],
          ['7', '13'],
        ],
      },
      {
        type: 'change',
        topic: 'grant',
        keys: [
          ['7', '12'],
          ['7', '13'],
        ],
      },
    ],
    ['a change of all of a topic', { v: 1, s: 'grant' }, { type: 'change', topic: 'grant', keys: null }],
    [
      'a change of a topic that nobody here knows',
      { v: 1, s: 'price_list_2' },
      { type: 'change', topic: 'price_list_2', keys: null },
    ],
    ['a key with an empty part', { v: 1, s: 'app', k: [['']] }, { type: 'change', topic: 'app', keys: [['']] }],
    ['a topic of 40 characters', { v: 1, s: 'a'.repeat(40) }, { type: 'change', topic: 'a'.repeat(40), keys: null }],
    [
      'a fence',
      { v: 1, f: 812, n: 42, i: 'primary/1', m: '00' },
      { type: 'fence', id: 812, number: 42, serverId: 'primary/1', signature: '00' },
    ],
    ['a greeting', { v: 1, g: 'mark' }, { type: 'greeting', mark: 'mark' }],
    ['a barrier', { v: 1, b: 'id' }, { type: 'barrier', id: 'id' }],
    [
      'an acknowledgement',
      { v: 1, a: 'id', r: 'replica-1' },
      { type: 'acknowledgement', id: 'id', replica: 'replica-1' },
    ],
  ])('understands %s', (_name, payload, message) => {
    expect(parseMessage(JSON.stringify(payload))).toEqual(message);
  });

  test.each([
    ['nothing', ''],
    ['what is not JSON', 'hello'],
    ['half of a message', '{"v":1,"s":"gra'],
    ['deep nesting', '['.repeat(7_900)],
    ['null', 'null'],
    ['a number', '1'],
    ['a string', '"grant"'],
    ['an array', '[{"v":1,"s":"grant"}]'],
    ['an empty object', '{}'],
    ['no version', '{"s":"grant"}'],
    ['a newer version', '{"v":2,"s":"grant"}'],
    ['a version as text', '{"v":"1","s":"grant"}'],
    ['a version alone', '{"v":1}'],
    ['keys without a topic', '{"v":1,"k":[["7"]]}'],
    ['two kinds at once', '{"v":1,"s":"grant","f":"abc"}'],
    ['a kind that is null beside another', '{"v":1,"s":"grant","b":null}'],
    ['a field that it does not know', '{"v":1,"s":"grant","x":1}'],
    ['a field named __proto__', '{"v":1,"s":"grant","__proto__":{}}'],
    ['a topic that is no text', '{"v":1,"s":7}'],
    ['an empty topic', '{"v":1,"s":""}'],
    ['a topic in capitals', '{"v":1,"s":"Grant"}'],
    ['a topic that begins with a digit', '{"v":1,"s":"1st"}'],
    ['a topic with a line break after it', '{"v":1,"s":"grant\\n"}'],
    ['a topic of 41 characters', JSON.stringify({ v: 1, s: 'a'.repeat(41) })],
    ['keys that are null', '{"v":1,"s":"grant","k":null}'],
    ['keys that are no array', '{"v":1,"s":"grant","k":"7"}'],
    ['no keys at all', '{"v":1,"s":"grant","k":[]}'],
    ['a key that is no array', '{"v":1,"s":"grant","k":["7"]}'],
    ['a key without parts', '{"v":1,"s":"grant","k":[[]]}'],
    ['a key part that is a number', '{"v":1,"s":"grant","k":[[7]]}'],
    ['a key part that is null', '{"v":1,"s":"grant","k":[["7",null]]}'],
    ['one bad key among good ones', '{"v":1,"s":"grant","k":[["7"],[8]]}'],
    ['a change with a replica', '{"v":1,"s":"grant","r":"replica-1"}'],
    ['a fence without a number', '{"v":1,"f":7,"i":"1/1","m":"00"}'],
    ['a fence with half a number', '{"v":1,"f":7,"n":1.5,"i":"1/1","m":"00"}'],
    ['a fence with an id that is text', '{"v":1,"f":"abc","n":7,"i":"1/1","m":"00"}'],
    ['a fence with an id that no double can hold', '{"v":1,"f":9007199254740993,"n":7,"i":"1/1","m":"00"}'],
    ['a change with a number', '{"v":1,"s":"grant","n":7}'],
    ['a fence of no server', '{"v":1,"f":1,"n":1,"m":"00"}'],
    ['a fence that is not signed', '{"v":1,"f":1,"n":1,"i":"1/1"}'],
    ['a fence with keys', '{"v":1,"f":1,"n":1,"i":"1/1","m":"00","k":[["7"]]}'],
    ['a fence with a replica', '{"v":1,"f":1,"n":1,"i":"1/1","m":"00","r":"replica-1"}'],
    ['a change that is signed', '{"v":1,"s":"grant","m":"00"}'],
    ['a greeting that is no text', '{"v":1,"g":1}'],
    ['a greeting with keys', '{"v":1,"g":"abc","k":[["7"]]}'],
    ['a barrier that is no text', '{"v":1,"b":{}}'],
    ['a barrier with keys', '{"v":1,"b":"id","k":[["7"]]}'],
    ['a barrier with a replica', '{"v":1,"b":"id","r":"replica-1"}'],
    ['an acknowledgement of nobody', '{"v":1,"a":"id"}'],
    ['an acknowledgement of a number', '{"v":1,"a":"id","r":1}'],
    ['an acknowledgement of nothing', '{"v":1,"a":1,"r":"replica-1"}'],
    ['an acknowledgement with keys', '{"v":1,"a":"id","r":"replica-1","k":[["7"]]}'],
  ])('calls %s malformed', (_name, payload) => {
    expect(parseMessage(payload)).toEqual({ type: 'malformed', problem: expect.stringMatching(/^(not|keys|a) /) });
  });

  test('returns a message for any string', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.json()), payload => {
        expect(parseMessage(payload)).toHaveProperty('type');
      }),
    );
  });

  test('returns a message for any object that looks nearly right', () => {
    const value = fc.oneof(fc.string(), fc.integer(), fc.constant(null), fc.array(fc.array(fc.string())), fc.object());
    const payloads = fc.record(
      {
        v: fc.constantFrom(1, 2, '1'),
        s: value,
        k: value,
        f: value,
        i: value,
        m: value,
        b: value,
        a: value,
        r: value,
        g: value,
      },
      { requiredKeys: ['v'] },
    );
    fc.assert(
      fc.property(payloads, payload => {
        expect(parseMessage(JSON.stringify(payload))).toHaveProperty('type');
      }),
    );
  });

  test('gives back exactly the keys that were sent', () => {
    const keys = fc.array(fc.array(fc.string({ unit: 'grapheme' }), { minLength: 1 }), { minLength: 1 });
    fc.assert(
      fc.property(keys, sent => {
        expect(parseMessage(JSON.stringify({ v: 1, s: 'grant', k: sent }))).toMatchObject({ keys: sent });
      }),
    );
  });
});

describe('keyText', () => {
  test('is the same for equal keys', () => {
    expect(keyText(['7', '12'])).toBe(keyText(['7', '12']));
  });

  test.each([
    [
      ['ab', 'c'],
      ['a', 'bc'],
    ],
    [['a'], ['a', '']],
    [[], ['']],
    [['1:a'], ['', 'a']],
    [['a1:b'], ['a', 'b']],
    [['\x001:a1:b'], ['a', 'b']],
    [
      ['a', 'b'],
      ['b', 'a'],
    ],
    [['\u{1F600}'], ['\uD83D']],
  ])('tells %j from %j', (one, other) => {
    expect(keyText(one)).not.toBe(keyText(other));
  });

  test('is different for different keys, whatever their parts contain', () => {
    // Few characters, those that the text itself is made of: what collides at all collides here.
    const part = fc.string({ unit: fc.constantFrom('1', '2', ':', 'a', ',', '"', '\0'), maxLength: 4 });
    const key = fc.array(part, { maxLength: 3 });
    fc.assert(
      fc.property(key, key, (one, other) => {
        expect(keyText(one) === keyText(other)).toBe(JSON.stringify(one) === JSON.stringify(other));
      }),
      { numRuns: 2_000 },
    );
  });

  test('can be read back, so no two keys share one', () => {
    const readBack = (text: string): string[] => {
      if (!text.startsWith('\0')) {
        return [text];
      }
      const parts: string[] = [];
      for (let at = 1; at < text.length;) {
        const colon = text.indexOf(':', at);
        const end = colon + 1 + Number(text.slice(at, colon));
        parts.push(text.slice(colon + 1, end));
        at = end;
      }
      return parts;
    };
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' })), key => {
        expect(readBack(keyText(key))).toEqual(key);
      }),
    );
  });
});
