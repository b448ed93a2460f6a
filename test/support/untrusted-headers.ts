/** The list of deploy/untrusted-headers.yml, the spellings of a name, and headers that every app may rely on. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import type { Pairs } from './proxy-client.js';

/** What a header is about: the keys of the file. */
const TOPICS = ['path', 'method', 'scheme', 'host', 'client', 'user', 'gate', 'upgrade'] as const;
export type HeaderTopic = (typeof TOPICS)[number];

export interface UntrustedHeader {
  /** As HTTP writes it: `X-Original-Url`. */
  readonly name: string;
  readonly about: HeaderTopic;
}

/** The shape is what test/unit/untrusted-headers.test.ts checks. */
const list = parse(readFileSync(new URL('../../deploy/untrusted-headers.yml', import.meta.url), 'utf8')) as Readonly<
  Record<HeaderTopic, Readonly<Record<string, string>>>
>;

/** Why a name is on the list, by name. */
export const REASONS: Readonly<Record<string, string>> = Object.assign({}, ...Object.values(list));

export const UNTRUSTED_HEADERS: readonly UntrustedHeader[] = TOPICS.flatMap(about =>
  Object.keys(list[about]).map(name => ({ name, about })),
);

/**
 * What a header's name may hold besides letters, digits and hyphens. Apps that follow CGI read each of these signs like
 * a hyphen.
 */
const OTHER_SEPARATORS = "_!#$%&'*+.^`|~";

/**
 * Every spelling that an app may take for the name: hyphens or underscores in each place in three cases, and one other
 * sign in all places.
 */
export function spellingsOf(name: string): string[] {
  const separated = name
    .split('-')
    .reduce<string[]>(
      (heads, part) => (heads.length === 0 ? [part] : heads.flatMap(head => [`${head}-${part}`, `${head}_${part}`])),
      [],
    );
  const others = name.includes('-') ? [...OTHER_SEPARATORS].map(sign => name.replaceAll('-', sign)) : [];
  const spellings = [...separated, ...others].flatMap(each => [each, each.toLowerCase(), each.toUpperCase()]);
  return [...new Set(spellings)];
}

/** Headers of browsers, scripts, WebDAV clients and page frameworks: an app gets them as they were sent. */
export const ORDINARY_HEADERS: Pairs = [
  ['Accept', 'text/html, application/json;q=0.9'],
  ['Accept-Language', 'de-CH, en;q=0.5'],
  ['Cache-Control', 'no-cache'],
  ['Content-Type', 'application/json'],
  ['Depth', '1'],
  ['DNT', '1'],
  ['HX-Request', 'true'],
  ['If', '(<urn:uuid:181d4fae-7d8c-11d0-a765-00a0c91e6bf2>)'],
  ['If-Match', '"x"'],
  ['If-None-Match', '"x"'],
  ['Last-Event-ID', '17'],
  ['Lock-Token', '<urn:uuid:181d4fae-7d8c-11d0-a765-00a0c91e6bf2>'],
  ['Next-Action', 'abc'],
  ['Next-Router-State-Tree', 'abc'],
  ['OCS-APIRequest', 'true'],
  ['Origin', 'https://photos.test'],
  ['Overwrite', 'F'],
  ['Prefer', 'return=minimal'],
  ['Priority', 'u=1, i'],
  ['Private-Token', 'abc'],
  ['Range', 'bytes=0-99'],
  ['Referer', 'https://photos.test/album'],
  ['RSC', '1'],
  ['Sec-CH-UA-Platform', '"Linux"'],
  ['Sec-Fetch-Mode', 'cors'],
  ['Sec-Fetch-Site', 'same-origin'],
  ['Sec-GPC', '1'],
  ['SOAPAction', '"urn:x"'],
  ['Timeout', 'Second-3600'],
  ['Traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
  ['Tus-Resumable', '1.0.0'],
  ['Upload-Offset', '0'],
  ['User-Agent', 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0'],
  ['X-Api-Key', 'abc'],
  ['X-CSRF-Token', 'abc'],
  ['X-Inertia', 'true'],
  ['X-Method-Name', 'list'],
  ['X-Middleware-Prefetch', '1'],
  ['X-Nextjs-Data', '1'],
  ['X-Realm', 'abc'],
  ['X-Requested-With', 'XMLHttpRequest'],
  ['X-XSRF-TOKEN', 'abc'],
];
