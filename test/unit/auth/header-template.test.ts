import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  compileHeaders,
  encodeHeaderValue,
  renderHeader,
  TEMPLATE_VARIABLES,
  TemplateError,
  type TemplateValues,
} from '../../../src/auth/header-template.js';

const VALUES: TemplateValues = {
  'user.id': '7',
  'user.name': 'zoë',
  'user.email': 'zoe@example.com',
  'user.display_name': ' Zoë 100% ',
  'user.groups': 'a,b',
  'app.name': 'wiki',
  'app.host': 'wiki.example.com',
  'grant.role': 'admin',
};

function render(template: string, values: TemplateValues = VALUES): string {
  return renderHeader(compileHeaders({ 'X-Test': template })[0]!, values);
}

describe('a template', () => {
  test.each([
    ['plain', 'plain'],
    ['', ''],
    ['{{user.name}}', 'zo%C3%AB'],
    ['{{ user.name }}', 'zo%C3%AB'],
    ['{{user.name}}{{user.id}}', 'zo%C3%AB7'],
    ['<{{user.email}}> as {{grant.role}}', '<zoe@example.com> as admin'],
    ['{{user.display_name}}', '%20Zo%C3%AB 100%25%20'],
    ['{{user.groups}}@{{app.name}}.{{app.host}}', 'a,b@wiki.wiki.example.com'],
    ['{"id": "{{user.id}}"}', '{"id": "7"}'],
    ['{user.name}', '{user.name}'],
  ])('%j renders as %j', (template, expected) => {
    expect(render(template)).toBe(expected);
  });

  test.each(TEMPLATE_VARIABLES)('may name %s; what is not there renders as nothing', variable => {
    expect(render(`{{${variable}}}`)).toBe(encodeHeaderValue(VALUES[variable]!));
    expect(render(`a {{${variable}}}`, {})).toBe('a');
  });

  test('does not read what a value says', () => {
    expect(render('{{user.name}}', { 'user.name': '{{user.email}}' })).toBe('{{user.email}}');
  });

  test.each([
    ...[
      '{{user.password}}',
      '{{}}',
      '{{ }}',
      '{{user.name',
      'user.name}}',
      '{{user.name}}}}',
      '{{{user.name}}}',
      '{{{{user.name}}}}',
    ],
    ...[
      '{{__proto__}}',
      '{{constructor}}',
      '{{USER.NAME}}',
      'a\r\nb',
      'a\nb',
      'a\tb',
      'a\0',
      'ü',
      '\u2028',
      'x'.repeat(1_025),
    ],
    ...[7, null, true, ['x'], { a: 'b' }],
  ])('%j is refused', template => {
    expect(() => compileHeaders({ 'X-Test': template })).toThrow(TemplateError);
  });

  test('that is refused says which, and what is allowed', () => {
    expect(() => compileHeaders({ 'X-Test': '{{user.nme}}' })).toThrow(/X-Test.*"user\.nme".*user\.name, /);
    expect(() => compileHeaders({ 'X Test': '' })).toThrow(/"X Test" is not allowed: letters, digits/);
  });

  test('may be 1,024 characters long', () => {
    expect(render('x'.repeat(1_024))).toHaveLength(1_024);
  });
});

describe('the name of a header', () => {
  test.each(['X-User', 'a', 'X1', 'Authorization', 'X-WebAuth-User', 'Remote', 'Contents', 'X-' + 'a'.repeat(62)])(
    '%s is allowed',
    name => {
      expect(compileHeaders({ [name]: 'x' })).toEqual([{ name, parts: ['x'] }]);
    },
  );

  test.each([
    ...['', '-', '-X', 'X-', 'X_User', 'X User', 'X:', 'X\r\nY', 'X\0', 'Ü', 'X.Y', 'X/Y', 'X-' + 'a'.repeat(63)],
    ...[
      'Remote-User',
      'REMOTE-USER',
      'remote-anything',
      'X-Gatebell-Reason',
      'x-gatebell-new',
      'Cache-Control',
      'Connection',
    ],
    ...[
      'Content-Length',
      'Content-Type',
      'content-encoding',
      'Cookie',
      'Date',
      'Host',
      'Keep-Alive',
      'Location',
      'Retry-After',
    ],
    ...[
      'Set-Cookie',
      'set-cookie',
      'TE',
      'Trailer',
      'Transfer-Encoding',
      'TRANSFER-ENCODING',
      'Upgrade',
      'WWW-Authenticate',
    ],
    ...['Proxy-Authorization', 'Proxy-Connection', 'X-Forwarded-For', 'x-forwarded-user', 'X-Original-URL'],
  ])('%j is refused', name => {
    expect(() => compileHeaders({ [name]: 'x' })).toThrow(TemplateError);
  });
});

describe('the headers of a row', () => {
  test.each([null, undefined, 'x', 7, true, [], [['X', 'y']]])('%j are refused', headers => {
    expect(() => compileHeaders(headers)).toThrow(TemplateError);
  });

  test('are at most 32', () => {
    const many = (count: number): object => Object.fromEntries(Array.from({ length: count }, (_, i) => [`X-${i}`, '']));
    expect(compileHeaders(many(32))).toHaveLength(32);
    expect(() => compileHeaders(many(33))).toThrow(/33 headers are too many: at most 32/);
  });

  test('are compiled, or refused with a TemplateError, whatever a row holds', () => {
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), fc.dictionary(fc.string(), fc.string())), headers => {
        try {
          compileHeaders(headers);
        } catch (error) {
          expect(error).toBeInstanceOf(TemplateError);
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('a header value', () => {
  const tricky = fc.string({ unit: fc.constantFrom(...' %20ab,é\u00a0\r\n\t\0\x7f\u0130😀'), maxLength: 6 });
  const texts = fc.oneof(fc.string({ unit: 'binary' }), fc.string(), tricky);
  const decode = (value: string): string => decodeURIComponent(value);

  test.each([
    ['', ''],
    ['plain text, with: "all" of {it}', 'plain text, with: "all" of {it}'],
    ['Zoë', 'Zo%C3%AB'],
    ['100%', '100%25'],
    ['%C3%AB', '%25C3%25AB'],
    [' ', '%20'],
    ['  ', '%20%20'],
    [' a ', '%20a%20'],
    ['a\r\nSet-Cookie: x', 'a%0D%0ASet-Cookie: x'],
    ['\t', '%09'],
    ['\0\x7f', '%00%7F'],
    ['日本 😀', '%E6%97%A5%E6%9C%AC %F0%9F%98%80'],
  ])('of %j is %j', (text, expected) => {
    expect(encodeHeaderValue(text)).toBe(expected);
  });

  test('is printable ASCII without spaces at its ends and can be read back: no two texts give one value', () => {
    fc.assert(
      fc.property(texts, text => {
        const value = encodeHeaderValue(text);
        expect(value).toMatch(/^(?:[!-~](?:[ -~]*[!-~])?)?$/);
        expect(decode(value)).toBe(text);
      }),
      { numRuns: 3_000 },
    );
  });

  test('differs where texts differ', () => {
    fc.assert(
      fc.property(
        tricky,
        tricky,
        (one, other) => (encodeHeaderValue(one) === encodeHeaderValue(other)) === (one === other),
      ),
      { numRuns: 3_000 },
    );
  });

  test('rendered from any values by any template never carries a line end or anything but ASCII', () => {
    const parts = fc.array(
      fc.oneof(fc.constantFrom(...TEMPLATE_VARIABLES.map(name => `{{${name}}}`)), fc.constantFrom(' ', 'x', '%')),
    );
    fc.assert(
      fc.property(parts, texts, (template, text) => {
        const values = Object.fromEntries(TEMPLATE_VARIABLES.map(name => [name, text]));
        expect(
          render(
            template
              .join('')
              .slice(0, 1_000)
              .replace(/\{\{[^}]*\}?$/, ''),
            values,
          ),
        ).toMatch(/^[ -~]*$/);
      }),
    );
  });
});
