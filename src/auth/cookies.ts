/**
 * The one reader of the `Cookie` header (RFC 6265, 4.2 and 5.4). Everything here that looks at cookies uses it, so that no two parts can
 * read one header differently: not the credential, not what an app is given instead, not sign-in.
 */

/** One cookie as a browser sends it. */
export interface SentCookie {
  /** Empty for a cookie without a name. */
  readonly name: string;
  /** Without the double quotes around it, if it has some. Nothing is decoded. */
  readonly value: string;
}

const SPACE = 0x20;
const TAB = 0x09;

const isBlank = (code: number): boolean => code === SPACE || code === TAB;

/** Removes spaces and tabs alone from both ends: `trim()` removes characters too that a browser takes for a part of the name. */
function trimBlanks(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isBlank(text.charCodeAt(from))) {
    from += 1;
  }
  while (to > from && isBlank(text.charCodeAt(to - 1))) {
    to -= 1;
  }
  return text.slice(from, to);
}

const unquote = (value: string): string =>
  value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;

/** Cuts a header into its pairs, in its order, without the blanks around them; empty ones are left out. */
function splitPairs(header: string): string[] {
  return header
    .split(';')
    .map(trimBlanks)
    .filter(pair => pair !== '');
}

/** The name of a pair; a pair without `=` is the value of a cookie without a name. */
function nameOf(pair: string): string {
  const equals = pair.indexOf('=');
  return equals === -1 ? '' : trimBlanks(pair.slice(0, equals));
}

/** All cookies of a header, in its order: browsers send first what was set first. */
export function readCookies(header: string | undefined): readonly SentCookie[] {
  return splitPairs(header ?? '').map(pair => ({
    name: nameOf(pair),
    value: unquote(trimBlanks(pair.slice(pair.indexOf('=') + 1))),
  }));
}

/** The values of the cookies of this name, in the order of the header. */
export function cookieValues(header: string | undefined, name: string): readonly string[] {
  // Nearly every request without the cookie is told here, whatever else it carries.
  return header?.includes(name) === true
    ? readCookies(header)
        .filter(cookie => cookie.name === name)
        .map(({ value }) => value)
    : [];
}

/** The header without the cookies of this name; all others are as they were. Some apps take a pair without `=` for a name. */
export function withoutCookies(header: string | undefined, name: string): string {
  return splitPairs(header ?? '')
    .filter(pair => nameOf(pair) !== name && pair !== name)
    .join('; ');
}
