/**
 * All ways in which an upstream may read a path.
 *
 * A gate that reads a path in one way and an upstream that reads it in another is a bypass (GHSA-p224-6x5r-fjpm,
 * CVE-2025-66490). The *readings* of a path are: raw, decoded (also all but the slash), dot segments resolved, double
 * slashes merged or taken for the head of a host, backslashes taken for slashes, matrix parameters and sessions of
 * ASP.NET dropped, trailing dots and spaces of segments dropped, look-alike characters folded, each any number of times
 * and in any order.
 *
 * Of a path with a script in it, an upstream may also read only what follows the script: PHP runs `/index.php/admin` as
 * `/admin`. Such readings are told apart, since their rule is not the only one that counts (see `path.ts`).
 *
 * The work is bounded: one pass over each reading says which of the interpretations can change it, and a path with too
 * many readings, or too long ones, is refused.
 */
import { isUtf8 } from 'node:buffer';

/** The readings of one path. */
export interface PathInterpretations {
  /** The path itself first. */
  readonly exact: readonly string[];
  /** Of what follows a script segment. */
  readonly scripted: readonly string[];
}

/** Paths without anything that could be read in two ways (but for their case, extensions, scripts and sessions). */
const PLAIN = /^(?:\/[A-Za-z0-9_~!$&'()*+,=:@-]+(?:\.[A-Za-z0-9_~!$&'()*+,=:@-]+)*)*\/?$/;
const BAD_ESCAPE = /%(?![0-9A-Fa-f]{2})/;
/** Readings of one path that are looked at, and their characters in all; a path with more is refused. */
const READINGS_MAX = 48;
const CHARACTERS_MAX = 20_480;
/**
 * Passes over characters, for all paths of a request: a long path of few readings needs as many as a short one of many.
 * So much takes the longest path with an escape in it: four passes over what was sent, two over what that is read as.
 */
const WORK_MAX = 49_152;
/**
 * Of these, what every request has: enough for a path of a thousand characters with escapes in it. The rest is charged
 * to the client.
 */
const WORK_FREE = 8_192;
/** Passes over a reading besides those of its interpretations. */
const WORK_OF_EACH = 2;
/** Scripts in one reading; a path with more is refused. */
const SCRIPTS_MAX = 4;

const NONE: readonly string[] = [];

/** What a reading has in it: each interpretation needs something of it. */
const CONTROL = 1;
const PERCENT = 2;
const QUERY = 4;
const NOT_ASCII = 8;
const BACKSLASH = 16;
const SEMICOLON = 32;
const DOT_OR_SPACE = 64;
/** Two slashes in a row. */
const EMPTY_SEGMENT = 128;
/** A dot or space at the end of a segment, as every dot segment has. */
const SEGMENT_END = 256;
/** The end of a session as ASP.NET without cookies writes it: `(S(id))`. */
const SESSION_END = 512;

const SLASH = 0x2f;
const CLOSING = 0x29;
/** What each byte is. */
const CLASSES = new Uint8Array(256);
CLASSES.fill(CONTROL, 0, 0x20).fill(CONTROL, 0x7f, 0x80).fill(NOT_ASCII, 0x80);
for (const [character, itsClass] of [
  ['%', PERCENT],
  ['?', QUERY],
  ['#', QUERY],
  ['\\', BACKSLASH],
  [';', SEMICOLON],
  ['.', DOT_OR_SPACE],
  [' ', DOT_OR_SPACE],
] as const) {
  CLASSES[character.charCodeAt(0)] = itsClass;
}

function featuresOf(path: string): number {
  let features = 0;
  let before = 0;
  for (let i = 0; i < path.length; i += 1) {
    const code = path.charCodeAt(i);
    features |= CLASSES[code]!;
    if (code === SLASH) {
      if (before === SLASH) {
        features |= EMPTY_SEGMENT;
      } else if (CLASSES[before] === DOT_OR_SPACE) {
        features |= SEGMENT_END;
      }
    } else if (code === CLOSING && before === CLOSING) {
      features |= SESSION_END;
    }
    before = code;
  }
  return CLASSES[before] === DOT_OR_SPACE ? features | SEGMENT_END : features;
}

/** Where escapes are decoded in place. */
const BYTES = Buffer.allocUnsafeSlow(CHARACTERS_MAX);
/** Values of hexadecimal digits; 255 for all other bytes. */
const DIGITS = new Uint8Array(256).fill(255);
for (const [value, digit] of Array.from('0123456789abcdef').entries()) {
  DIGITS[digit.charCodeAt(0)] = value;
  DIGITS[digit.toUpperCase().charCodeAt(0)] = value;
}
const ESCAPE = 0x25;

function decode(path: string, isSlashKept: boolean): string {
  const length = BYTES.write(path, 'latin1');
  let to = 0;
  for (let from = 0; from < length; from += 1, to += 1) {
    const byte = BYTES[from]!;
    const high = byte === ESCAPE && from + 2 < length ? DIGITS[BYTES[from + 1]!]! : 255;
    const low = high === 255 ? 255 : DIGITS[BYTES[from + 2]!]!;
    const value = low === 255 ? byte : high * 16 + low;
    if (low === 255 || (isSlashKept && value === SLASH)) {
      BYTES[to] = byte;
    } else {
      BYTES[to] = value;
      from += 2;
    }
  }
  return BYTES.toString('latin1', 0, to);
}

function resolveDots(path: string): string {
  const segments: string[] = [];
  const all = path.split('/');
  for (let i = 1; i < all.length; i += 1) {
    const segment = all[i]!;
    if (segment === '..') {
      segments.pop();
    } else if (segment !== '.') {
      segments.push(segment);
      continue;
    }
    if (i === all.length - 1) {
      segments.push('');
    }
  }
  return '/' + segments.join('/');
}

/** What a character that is not ASCII may be read as, if that is ASCII, or nothing; null: as itself alone. */
function foldCharacter(character: string): string | null {
  if (/\p{Default_Ignorable_Code_Point}/u.test(character)) {
    return '';
  }
  const folded = character.normalize('NFKC').replace(/[^\x00-\x7f]+/g, others => others.toUpperCase().toLowerCase());
  return /[\x00-\x7f]/.test(folded) ? folded : null;
}

/**
 * A byte for each code point: looked at never, is read as itself alone, is in `FOLDED`. Folding takes longer than all
 * the rest.
 */
const KNOWN = new Uint8Array(0x11_00_00);
const AS_ITSELF = 1;
const OTHERWISE = 2;
const FOLDED = new Map<number, string>();

function foldOf(code: number): string | null {
  if (KNOWN[code] === 0) {
    const folded = foldCharacter(String.fromCodePoint(code));
    KNOWN[code] = folded === null ? AS_ITSELF : OTHERWISE;
    if (folded !== null) {
      FOLDED.set(code, folded);
    }
  }
  return KNOWN[code] === AS_ITSELF ? null : FOLDED.get(code)!;
}

/** Folds what some upstreams fold to ASCII, such as the full-width slash and the dotless i, or drops what some drop. */
function fold(path: string, isDropping: boolean): string {
  const text = Buffer.from(path, 'latin1').toString('utf8');
  let read = '';
  let readTo = 0;
  for (let i = 0; i < text.length; i += 1) {
    const at = i;
    let code = text.charCodeAt(i);
    if (code < 0x80) {
      continue;
    }
    if (code >= 0xd8_00 && code < 0xdc_00) {
      code = text.codePointAt(i)!;
      i += 1;
    }
    const folded = foldOf(code);
    if (folded !== null && (folded === '') === isDropping) {
      read += text.slice(readTo, at) + folded;
      readTo = i + 1;
    }
  }
  return readTo === 0 ? path : Buffer.from(read + text.slice(readTo), 'utf8').toString('latin1');
}

function cutAt(path: string, at: number): string {
  return at === -1 ? path : path.slice(0, at);
}

/**
 * What a reading must have in it for an interpretation to change it, and the interpretation, which takes time linear in
 * its length.
 */
const INTERPRETATIONS: readonly (readonly [needs: number, read: (path: string) => string])[] = [
  [PERCENT, path => decode(path, false)],
  [PERCENT, path => decode(path, true)],
  [QUERY, path => cutAt(path, path.search(/[?#]/))],
  [NOT_ASCII, path => fold(path, false)],
  [NOT_ASCII, path => fold(path, true)],
  [BACKSLASH, path => path.replaceAll('\\', '/')],
  [SEMICOLON, path => path.replace(/;[^/]*/g, '')],
  [SEMICOLON, path => cutAt(path, path.indexOf(';'))],
  [SEGMENT_END, path => path.replace(/(?<! ) +(?=\/|$)/g, '')],
  [SEGMENT_END, path => path.replace(/(?<=[^/. ])[. ]+(?=\/|$)/g, '')],
  [SEGMENT_END, path => path.replace(/(?<=\/)(?!\.{1,2}(?:\/|$))[. ]+(?=\/|$)/g, '')],
  // ASP.NET without cookies drops `(S(id))` with one of the slashes beside it (CVE-2023-36899).
  [SESSION_END, path => path.replace(/\((?:[A-Za-z]\([^()/]*\))+\)(?:\/|$)/g, '')],
  [SESSION_END, path => path.replace(/\/\((?:[A-Za-z]\([^()/]*\))+\)/g, '')],
  // What follows two slashes is a host to `new URL(request.url, base)`.
  [EMPTY_SEGMENT, path => path.replace(/^\/{2,}[^/]*/, '')],
  [EMPTY_SEGMENT, path => path.replace(/\/{2,}/g, '/')],
  [SEGMENT_END, resolveDots],
];

/** The work that may be done for the paths of one request. */
export class Effort {
  #left = WORK_FREE;
  #isCharged = false;
  readonly #charge: () => void;

  /** @param charge called once, before more work is done than every request has; throws if it may not be done */
  constructor(charge: () => void) {
    this.#charge = charge;
  }

  /** Takes some of the work. @returns false if there is too little left */
  take(passes: number): boolean {
    this.#left -= passes;
    if (this.#left < 0 && !this.#isCharged) {
      this.#charge();
      this.#isCharged = true;
      this.#left += WORK_MAX - WORK_FREE;
    }
    return this.#left >= 0;
  }
}

/** Readings that are found one after the other; the work for all of them is bounded. */
class Found {
  readonly readings = new Set<string>();
  #characters = 0;
  readonly #effort: Effort;

  constructor(effort: Effort) {
    this.#effort = effort;
  }

  /** Adds a reading that is new. @returns false if it is one too many, or none that an upstream can be told */
  add(reading: string): boolean {
    if (this.readings.has(reading)) {
      return true;
    }
    this.readings.add(reading);
    this.#characters += reading.length;
    return this.readings.size <= READINGS_MAX && this.#characters <= CHARACTERS_MAX;
  }

  #addRead(reading: string, read: (path: string) => string): boolean {
    return this.#effort.take(reading.length) && this.add(read(reading) || '/');
  }

  /** Tries each interpretation on each reading, until none is new; false if there are too many, or one is no text. */
  close(): boolean {
    // The loop also meets the readings that it adds, and those that it has met before, whose interpretations are all
    // there.
    for (const reading of this.readings) {
      const features = featuresOf(reading);
      if (
        !this.#effort.take(reading.length * WORK_OF_EACH) ||
        (features & CONTROL) !== 0 ||
        ((features & NOT_ASCII) !== 0 && !isUtf8(Buffer.from(reading, 'latin1'))) ||
        !INTERPRETATIONS.every(([needs, read]) => (features & needs) === 0 || this.#addRead(reading, read))
      ) {
        return false;
      }
    }
    return true;
  }
}

/** A segment that is run with what follows it: by its extension, or by the folder that it is in. */
const SCRIPT_EXTENSIONS = [
  'php\\d?|phtml|phar|cgi|fcgi|wsgi|psgi|pl|py|rb|lua|sh|exe|dll|aspx?|ash[xq]|asmx|axd|svc',
  'cfm|cfc|jspx?|jsf|do|action|nsf|x?html?|shtml',
].join('|');
const SCRIPT = new RegExp(`(?:\\.(?:${SCRIPT_EXTENSIONS})|/cgi-bin/[^/]+)(?=/)`, 'gi');

/** Whether something follows a script in the path. */
export function hasScript(path: string): boolean {
  return path.search(SCRIPT) !== -1;
}

/**
 * Nearly all paths are told here to have no script, at little cost: no dot before a slash, and no folder of scripts.
 */
function mayHaveScript(path: string): boolean {
  const dot = path.indexOf('.');
  return (dot !== -1 && dot < path.lastIndexOf('/')) || /-bin\//i.test(path);
}

/**
 * Adds what follows each script in a reading, alone and in the script's folder; false if there are too many scripts.
 */
function addScripted(reading: string, found: Found): boolean {
  if (!mayHaveScript(reading)) {
    return true;
  }
  let scripts = 0;
  for (const { index, 0: script } of reading.matchAll(SCRIPT)) {
    scripts += 1;
    const end = index + script.length;
    const folder = reading.lastIndexOf('/', end - 1);
    const rest = reading.slice(end);
    if (scripts > SCRIPTS_MAX || !found.add(rest) || !found.add(reading.slice(0, folder) + rest)) {
      return false;
    }
  }
  return true;
}

/**
 * All readings of a raw path, or null if it is refused outright: broken escapes, control characters or bytes that are
 * not UTF-8 in any reading, or too many readings.
 *
 * @param path the path as it was sent, without its query; it begins with a slash
 * @param effort the work that may be done; default: all that a request may have, charged to nobody
 */
export function interpretPath(path: string, effort: Effort = new Effort(() => undefined)): PathInterpretations | null {
  const isPlain = PLAIN.test(path) && !path.includes('))');
  if (isPlain && !mayHaveScript(path)) {
    return { exact: [path], scripted: NONE };
  }
  const found = new Found(effort);
  if (!found.add(path) || (!isPlain && (BAD_ESCAPE.test(path) || !found.close()))) {
    return null;
  }
  const exact = [...found.readings];
  if (!exact.every(reading => addScripted(reading, found))) {
    return null;
  }
  if (found.readings.size > exact.length && !found.close()) {
    return null;
  }
  return { exact, scripted: [...found.readings].slice(exact.length) };
}
