/** A browser that is sent to sign in comes back to a registered host, whatever was asked. */
import { describe, expect, test } from 'vitest';
import { PROXY_DIALECTS } from '../support/dialects.js';
import { APP } from '../support/memory-facts.js';
import { BROWSER, LOGIN_URL, useGate } from './gate.js';

const gate = useGate();

const URIS = [
  ...[
    '/',
    '//evil.test',
    '//evil.test/x',
    '/\\evil.test',
    '/\\/evil.test',
    '///evil.test',
    '/@evil.test',
    '/.evil.test',
  ],
  ...[
    '/%2f%2fevil.test',
    '/%5cevil.test',
    '/x?rd=https://evil.test',
    '/?rd=//evil.test&x',
    '/x?y=%26rd=https://evil.test',
  ],
  ...[
    '/https://evil.test',
    '/%68ttps:evil.test',
    '/:80@evil.test',
    '/..//evil.test',
    '/%0d%0aLocation:%20https://evil.test',
  ],
  ...['/x%0aSet-Cookie:a=b', '/"><script>', '/x?%0d%0a', '/x?<>"', '/\xe9', '/x?\xff'],
];
const HOSTS = [
  ...[APP.host, APP.host.toUpperCase(), `${APP.host}.`, `${APP.host}:8443`, 'evil.test', `${APP.host}.evil.test`],
  ...[`evil.test/${APP.host}`, `${APP.host}@evil.test`, `evil.test#${APP.host}`, `evil.test\\${APP.host}`],
];

describe.each(PROXY_DIALECTS)('open redirect (CVE-2020-5233, CVE-2021-21291): never on $name', dialect => {
  test.each(HOSTS)('for host %s', async host => {
    let told = 0;
    for (const uri of URIS) {
      for (const proto of ['https', 'http', 'wss', 'javascript', 'data', 'HTTPS']) {
        const answer = await gate.ask(dialect, { host, uri, proto }, BROWSER);
        const { location } = answer.headers;
        expect(answer.status).not.toBe(200);
        if (location === undefined) {
          continue;
        }
        told += 1;
        expect(location.startsWith(`${LOGIN_URL}?rd=`)).toBe(true);
        expect(location).toMatch(/^[\x21-\x7e]+$/);
        const parameters = [...new URL(location).searchParams];
        expect(parameters).toHaveLength(1);
        const back = new URL(parameters[0]![1]);
        expect([back.hostname.replace(/\.$/, ''), back.username, back.password]).toEqual([APP.host, '', '']);
        expect(['http:', 'https:']).toContain(back.protocol);
        // Where the upstream's host and path are one text, what follows a slash is the path, of a host that is not
        // registered.
        expect(answer.status).toBe(dialect.redirects ? 302 : 401);
      }
    }
    expect(told > 0).toBe(host.toLowerCase().replace(/\.?(:\d+)?$/, '') === APP.host);
  });

  test('a host that is not registered is not told where to sign in', async () => {
    const answer = await gate.ask(dialect, { host: 'evil.test', uri: '/' }, BROWSER);
    expect([answer.status, answer.headers['location']]).toEqual([403, undefined]);
  });
});
