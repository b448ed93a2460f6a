import { describe, expect, test } from 'vitest';
import { REASONS } from '../../../src/auth/decide.js';
import { envoyDialect } from '../../../src/auth/dialects/envoy.js';
import { forwardDialect } from '../../../src/auth/dialects/forward.js';
import { haproxyDialect } from '../../../src/auth/dialects/haproxy.js';
import { nginxDialect } from '../../../src/auth/dialects/nginx.js';
import { singleHeaders } from '../../../src/auth/request/headers.js';
import type { BadRequest, RequestTarget } from '../../../src/auth/request/request.js';

const FORWARD = {
  'X-Forwarded-Method': 'GET',
  'X-Forwarded-Proto': 'https',
  'X-Forwarded-Host': 'forward.example.com',
  'X-Forwarded-Uri': '/forward?x=1',
};
const ORIGINAL = { 'X-Original-Method': 'POST', 'X-Original-URL': 'http://original.example.com:81/original?x=//y' };
const OF_FORWARD = { method: 'GET', proto: 'https', host: 'forward.example.com', uri: '/forward?x=1' };
const OF_ORIGINAL = { method: 'POST', proto: 'http', host: 'original.example.com:81', uri: '/original?x=//y' };

/** What an Envoy would ask; to all others it says nothing. */
const SUBREQUEST = { method: 'PUT', url: '/auth/envoy/envoy?x=2' };

const DIALECTS = [
  { dialect: forwardDialect, headers: FORWARD, others: ORIGINAL, expected: OF_FORWARD },
  { dialect: haproxyDialect, headers: FORWARD, others: ORIGINAL, expected: OF_FORWARD },
  { dialect: nginxDialect, headers: ORIGINAL, others: FORWARD, expected: OF_ORIGINAL },
] as const;

describe.each(DIALECTS)('$dialect.name', ({ dialect, headers, others, expected }) => {
  const read = (...sets: readonly Readonly<Record<string, string>>[]): RequestTarget | BadRequest =>
    dialect.readTarget(singleHeaders(sets.flatMap(set => Object.entries(set).flat())), SUBREQUEST);

  test('reads the target from its own headers, whatever the others say', () => {
    expect(read(headers)).toEqual(expected);
    expect(read(others, headers)).toEqual(expected);
  });

  test('takes nothing from the headers of the other', () => {
    expect(read(others)).toHaveProperty('problem');
  });

  test.each(Object.keys(headers))('refuses a request without %s, also if the other dialect could tell', missing => {
    const { [missing]: _, ...rest } = headers as Readonly<Record<string, string>>;
    expect(read(rest)).toEqual({ problem: `header ${missing.toLowerCase()} is missing` });
    expect(read(rest, others)).toEqual({ problem: `header ${missing.toLowerCase()} is missing` });
    expect(read({ ...headers, [missing]: '' })).toEqual({ problem: `header ${missing.toLowerCase()} is missing` });
  });

  test.each(Object.keys(headers))('refuses %s twice, equal or not', name => {
    const value = (headers as Readonly<Record<string, string>>)[name]!;
    const problem = `header ${name.toLowerCase()} came more than once`;
    expect(read(headers, { [name]: value })).toEqual({ problem });
    expect(read(headers, { [name.toUpperCase()]: '/other' })).toEqual({ problem });
    expect(read({ [name]: '/other' }, headers)).toEqual({ problem });
  });

  test.each(Object.keys(headers))('never reads the underscore alias of %s', name => {
    const value = (headers as Readonly<Record<string, string>>)[name]!;
    const alias = name.replaceAll('-', '_');
    const { [name]: _, ...rest } = headers as Readonly<Record<string, string>>;
    expect(read({ ...rest, [alias]: value })).toHaveProperty('problem');
    expect(read(headers, { [alias]: '/other' })).toEqual(expected);
  });

  test.each(Object.keys(headers))('never takes %s from a longer or shorter name', name => {
    expect(read(headers, { [`${name}-X`]: '/other', [name.slice(2)]: '/other' })).toEqual(expected);
  });
});

test.each([
  ...[
    '/path',
    'original.example.com/path',
    '//original.example.com/path',
    'http:/original.example.com',
    'http://',
    'http:///x',
  ],
  ...[
    'http://original.example.com',
    'http://original.example.com?x',
    'http://original.example.com#/x',
    '://a/b',
    'h1://a/b',
  ],
])('nginx refuses the URL %j', url => {
  const target = nginxDialect.readTarget(singleHeaders(['X-Original-Method', 'GET', 'X-Original-URL', url]), {});
  expect(target).toEqual({ problem: 'header x-original-url must be scheme://host/path' });
});

test('nginx reads the path raw, with all its slashes', () => {
  const url = 'https://h//pub/../adm%2fin//x?y=http://z/';
  expect(nginxDialect.readTarget(singleHeaders(['X-Original-Method', 'GET', 'X-Original-URL', url]), {})).toMatchObject(
    {
      host: 'h',
      uri: '//pub/../adm%2fin//x?y=http://z/',
    },
  );
});

describe('envoy', () => {
  const read = (headers: Readonly<Record<string, string>>, url = SUBREQUEST.url): RequestTarget | BadRequest =>
    envoyDialect.readTarget(singleHeaders(Object.entries(headers).flat()), { ...SUBREQUEST, url });
  const own = { Host: 'envoy.example.com:81', 'X-Forwarded-Proto': 'https' };
  const expected = { method: 'PUT', proto: 'https', host: 'envoy.example.com:81', uri: '/envoy?x=2' };

  test('is asked with the method, the path after the prefix and the host of the request itself', () => {
    expect(read(own)).toEqual(expected);
    expect(read(own, '/auth/envoy//pub/../adm%2fin//x?y=/auth/envoy/z')).toMatchObject({
      uri: '//pub/../adm%2fin//x?y=/auth/envoy/z',
    });
  });

  test('believes X-Forwarded-Proto, and nothing else that is told in headers', () => {
    expect(read({ ...FORWARD, ...ORIGINAL, ...own })).toEqual(expected);
    expect(read({ ...FORWARD, ...ORIGINAL })).toEqual({ problem: 'header host is missing' });
    expect(read({ Host: own.Host, ...ORIGINAL })).toEqual({ problem: 'header x-forwarded-proto is missing' });
  });

  test('must name host and scheme once', () => {
    for (const name of ['host', 'x-forwarded-proto']) {
      const headers = singleHeaders([...Object.entries(own).flat(), name, 'http']);
      expect(envoyDialect.readTarget(headers, SUBREQUEST)).toEqual({ problem: `header ${name} came more than once` });
    }
  });
});

test('nginx hears only 200, 401 and 403; envoy nothing above 499; the others hear what is', () => {
  const statuses = [200, 400, 401, 403, 414, 503] as const;
  expect(statuses.map(nginxDialect.status)).toEqual([200, 403, 401, 403, 403, 403]);
  expect(statuses.map(envoyDialect.status)).toEqual([200, 400, 401, 403, 414, 403]);
  expect(statuses.map(forwardDialect.status)).toEqual(statuses);
  expect(statuses.map(haproxyDialect.status)).toEqual(statuses);
  expect(REASONS).toHaveLength(16);
});
