/**
 * The one reader of the `Cookie` header (RFC 6265, 4.2 and 5.4). Everything here that looks at cookies uses it, so that
 * no two parts can read one header differently: not the credential, not what an app is given instead, not sign-in.
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

/**
 * Removes spaces and tabs alone from both ends: `trim()` removes characters too that a browser takes for a part of the
 * name.
 */
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

/** All cookies of a header, in its order: browsers send first what was set first. */
export function readCookies(header: string | undefined): readonly SentCookie[] {
  return (header ?? '')
    .split(';')
    .map(trimBlanks)
    .filter(pair => pair !== '')
    .map(pair => {
      const equals = pair.indexOf('=');
      return {
        name: equals === -1 ? '' : trimBlanks(pair.slice(0, equals)),
        value: unquote(trimBlanks(pair.slice(equals + 1))),
      };
    });
}

/**
 * Calls `found` for each pair that has the name, or is the name without `=`: with where the pair begins and ends, and
 * with where its value begins, -1 if it has none. All other pairs are passed over in one search, so that thousands of
 * them cost what a long header costs.
 */
function findPairs(header: string, name: string, found: (from: number, to: number, valueAt: number) => void): void {
  for (let at = header.indexOf(name); at !== -1;) {
    const semicolon = header.indexOf(';', at);
    const to = semicolon === -1 ? header.length : semicolon;
    let from = at;
    while (from > 0 && isBlank(header.charCodeAt(from - 1))) {
      from -= 1;
    }
    let after = at + name.length;
    while (after < to && isBlank(header.charCodeAt(after))) {
      after += 1;
    }
    const isAlone = after === to;
    if ((from === 0 || header[from - 1] === ';') && (isAlone || header[after] === '=')) {
      found(from, to, isAlone ? -1 : after + 1);
    }
    // A name stands at the head of its pair: behind that, in the same pair, there is none.
    at = header.indexOf(name, to);
  }
}

/** The values of the cookies of this name, in the order of the header. */
export function cookieValues(header: string | undefined, name: string): readonly string[] {
  const values: string[] = [];
  if (header !== undefined) {
    findPairs(header, name, (_, to, valueAt) => {
      if (valueAt !== -1) {
        values.push(unquote(trimBlanks(header.slice(valueAt, to))));
      }
    });
  }
  return values;
}

/**
 * The header without the cookies of this name; all others are as they were. Some apps take a pair without `=` for a
 * name.
 */
export function withoutCookies(header: string | undefined, name: string): string {
  const kept: string[] = [];
  let keptTo = 0;
  if (header === undefined) {
    return '';
  }
  const keep = (to: number): void => {
    const part = trimBlanks(header.slice(keptTo, to));
    if (part !== '') {
      kept.push(part);
    }
  };
  findPairs(header, name, (from, to) => {
    keep(Math.max(keptTo, from - 1));
    keptTo = to + 1;
  });
  keep(header.length);
  return kept.join('; ');
}
