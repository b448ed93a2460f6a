/**
 * The headers that the gate looks at, each at most once. Node would join some that came twice with a comma and drop
 * others; here what came twice is known, because its repetition would let two parties read two different requests
 * (CVE-2021-32777).
 */

/**
 * All headers that are ever looked at. Underscores are not hyphens (CVE-2026-39858), but where a header only makes us
 * more careful.
 */
const NAMES = [
  'accept',
  'access-control-request-method',
  'authorization',
  'content-length',
  'cookie',
  'depth',
  'destination',
  'host',
  'origin',
  'sec-fetch-mode',
  'sec-fetch-site',
  'transfer-encoding',
  'x-amz-copy-source',
  'x-copy-from',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-method',
  'x-forwarded-proto',
  'x-forwarded-uri',
  'x-http-method-override',
  'x-original-method',
  'x-original-url',
  'x-real-ip',
  'x-requested-with',
] as const;

/** One of them, in lower case. */
export type HeaderName = (typeof NAMES)[number];

/** The headers of one request. */
export interface SingleHeaders {
  /** How many there are, those that are never looked at among them. */
  readonly count: number;
  /** The value that came first; undefined if there is none. */
  get(name: HeaderName): string | undefined;
  /** Whether the header came more than once. */
  isRepeated(name: HeaderName): boolean;
}

const PLACES = new Map<string, number>(NAMES.map((name, place) => [name, place]));
/**
 * All names under which some app takes another method for that of the request, as apps that follow CGI may read them,
 * too.
 */
const METHOD_OVERRIDE =
  /^(?:x[^a-z0-9](?:http[^a-z0-9]|tunneled[^a-z0-9])?method(?:[^a-z0-9]override)?|request[^a-z0-9]method)$/;
/**
 * Places by name as proxies spell it, -1 for all other headers: proxies spell in few ways, and looking one up is
 * cheaper than lowering it.
 */
const SPELLED = new Map<string, number>();
const SPELLED_MAX = 1_000;

function placeOf(spelled: string): number {
  const known = SPELLED.get(spelled);
  if (known !== undefined) {
    return known;
  }
  const name = spelled.toLowerCase();
  const place = PLACES.get(METHOD_OVERRIDE.test(name) ? 'x-http-method-override' : name) ?? -1;
  if (SPELLED.size < SPELLED_MAX) {
    SPELLED.set(spelled, place);
  }
  return place;
}

const NOTHING: readonly (string | undefined)[] = NAMES.map(() => undefined);

class Headers implements SingleHeaders {
  readonly count: number;
  readonly #values = NOTHING.slice();
  /** A bit a place. */
  #repeated = 0;

  constructor(rawHeaders: readonly string[]) {
    this.count = rawHeaders.length >> 1;
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
      const place = placeOf(rawHeaders[i]!);
      if (place === -1) {
        continue;
      }
      if (this.#values[place] === undefined) {
        this.#values[place] = rawHeaders[i + 1];
      } else {
        this.#repeated |= 1 << place;
      }
    }
  }

  get(name: HeaderName): string | undefined {
    return this.#values[PLACES.get(name)!];
  }

  isRepeated(name: HeaderName): boolean {
    return (this.#repeated & (1 << PLACES.get(name)!)) !== 0;
  }
}

/** Reads raw headers: names and values in turn, as Node's `rawHeaders` has them. */
export function singleHeaders(rawHeaders: readonly string[]): SingleHeaders {
  return new Headers(rawHeaders);
}
