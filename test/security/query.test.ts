/** Rules are chosen by the path alone: no query, fragment or whatever looks like one makes a private path public. */
import { describe, expect, test } from 'vitest';
import { PROXY_DIALECTS } from '../support/dialects.js';
import { BEARER, useGate, verdictOf } from './gate.js';

const gate = useGate();

const DRESSED_UP = [
  ...[
    '/me?x=/pub',
    '/me?/pub',
    '/me?/../pub',
    '/me?x=/pub/',
    '/me?x=y&z=/pub/x',
    '/me??/pub',
    '/me?#/pub',
    '/me/?/pub',
  ],
  ...['/me#/pub', '/me#', '/me#/../pub', '/me%23/pub', '/me%23/../pub', '/me%2523/../pub', '/me?x%23/pub'],
  ...['/me%3f/pub', '/me%3F/../pub', '/me%253f/../pub', '/me;?/pub', '/me/..%3f/../pub', '/me\\?/pub', '/me%00?/pub'],
  ...['?/pub', '#/pub', '?x=/pub', '/?/pub', '/#/pub', '/me&x=/pub', '/me?uri=/pub&path=/pub&rd=/pub'],
  ...['/pub#/../me', '/pub%23/../me', '/pub%3f/../../me', '/pub/%23/../../me', '/pub/x?/../../me#/pub/../me#'],
];

describe.each(PROXY_DIALECTS)(
  'a rule sees query or fragment (CVE-2025-54576, CVE-2026-41059, CVE-2023-47106): never, on $name',
  dialect => {
    test.each(DRESSED_UP)('%s is not let through without a credential', async uri => {
      const answer = await gate.ask(dialect, { uri });
      // 404: without a slash it is not even below Envoy's prefix.
      expect([400, 401, 403, 404]).toContain(answer.status);
    });

    test.each(['/pub?x=/me', '/pub?/me', '/pub/x?next=/../me', '/pub?', '/pub??', '/pub?%23', '/pub?x=%2e%2e%2fme'])(
      '%s is as public as it is without its query',
      async uri => {
        expect(verdictOf(await gate.ask(dialect, { uri }))).toBe('200 public');
      },
    );

    test('a query does not change who is let through where a credential is needed', async () => {
      for (const uri of ['/me', '/me?x=/pub', '/me?role=admin&user=root']) {
        expect(verdictOf(await gate.ask(dialect, { uri }, BEARER))).toBe('200 authenticated');
      }
      expect(verdictOf(await gate.ask(dialect, { uri: '/pub/admin?x=/pub' }, BEARER))).toBe('403 role_required');
    });
  },
);
