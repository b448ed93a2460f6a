/**
 * The public keys of an issuer, from a URL (RFC 7517): fetched in the background, never while a request waits.
 *
 * The set is fetched at start, then at intervals, so that a key that was taken back stops to count within one. A token
 * with a key id that is not in the set asks for a fetch before its time, but nobody can cause more than one in
 * {@link COOLDOWN_MS}. When a fetch fails, the last good set stays: an issuer that is down must not lock everybody out.
 */
import { createLocalJWKSet, type JWK, type JWTVerifyGetKey } from 'jose';
import type { Clock, Random } from '../../time/clock.js';

/** What is observed while a key set is fetched. */
export type JwksObservation =
  /** `ignored`: keys that are none, or not public. */
  | { readonly event: 'jwks_refreshed'; readonly keys: number; readonly ignored: number; readonly changed: boolean }
  | { readonly event: 'jwks_failed'; readonly error: unknown; readonly retryMs: number };

/** Keys that were in the set before and are not any more, by their ids. */
export interface KeysLeft {
  readonly ids: ReadonlySet<string>;
  /** Whether any key at all has left. */
  readonly any: boolean;
}

/** What a key set needs. Times in milliseconds. */
export interface JwksOptions {
  /** Fetches the text of the set. */
  readonly fetchText: (signal: AbortSignal) => Promise<string>;
  readonly refreshMs: number;
  readonly clock: Clock;
  readonly random: Random;
  /** Called when another set is in use. */
  readonly onChange: (left: KeysLeft) => void;
  readonly observe: (observation: JwksObservation) => void;
}

export interface Jwks {
  /** Chooses the key of a token; null until a first set was had. */
  readonly getKey: JWTVerifyGetKey | null;
  /** A token names a key that is not in the set: there may be a newer set. */
  askForRefresh(): void;
  /** Idempotent. */
  start(): void;
  /** Idempotent. */
  stop(): void;
}

/** Between two fetches that tokens ask for; also between attempts that failed. */
export const COOLDOWN_MS = 30_000;
/** While there is no set yet, every request with a token is answered 503. */
const FIRST_RETRY_MS = 1_000;
const KEYS_MAX = 100;
const SET_BYTES_MAX = 262_144;
const TIMEOUT_MS = 5_000;

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A public key of a kind that signs. What else it holds is for jose to judge. */
const isPublicKey = (value: unknown): value is JWK & { readonly kty: string } =>
  isObject(value) && ['RSA', 'EC', 'OKP'].includes(value['kty'] as string) && !('d' in value) && !('k' in value);

/** A set as it was understood. */
export interface ParsedSet {
  readonly keys: readonly JWK[];
  readonly ignored: number;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // V8's own message quotes the text, and what is not a public key may be in it.
    throw new SyntaxError('the key set is no JSON');
  }
}

/** Reads the text of a set. @throws Error that says what is wrong, without quoting it */
export function parseJwks(text: string): ParsedSet {
  const set = parseJson(text);
  const listed = isObject(set) ? set['keys'] : undefined;
  if (!Array.isArray(listed)) {
    throw new TypeError('the key set is no JSON object with an array "keys"');
  }
  if (listed.length > KEYS_MAX) {
    throw new RangeError(`the key set has ${listed.length} keys; at most ${KEYS_MAX} are allowed`);
  }
  const keys = (listed as readonly unknown[]).filter(isPublicKey);
  // To use it would refuse every token, as no set at all would, only without a word.
  if (keys.length === 0) {
    throw new TypeError(`the key set has no public key among its ${listed.length} keys`);
  }
  return { keys, ignored: listed.length - keys.length };
}

/** Fetches a key set over HTTP: without redirects, within bounds of time and size. */
export function createJwksFetcher(url: string): JwksOptions['fetchText'] {
  return async signal => {
    const response = await fetch(url, {
      redirect: 'error',
      headers: { accept: 'application/jwk-set+json, application/json' },
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    if (response.status !== 200 || response.body === null) {
      await response.body?.cancel();
      throw new Error(`the key set was answered with status ${response.status}`);
    }
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for await (const part of response.body) {
      bytes += part.byteLength;
      if (bytes > SET_BYTES_MAX) {
        throw new RangeError(`the key set is larger than ${SET_BYTES_MAX} bytes`);
      }
      parts.push(part);
    }
    return Buffer.concat(parts).toString('utf8');
  };
}

/** The error that says why: `fetch` puts that into the cause. */
export const fetchFailure = (error: unknown): unknown =>
  error instanceof TypeError && error.cause instanceof Error ? error.cause : error;

/** Creates a key set that fetches nothing yet. */
export function createJwks(options: JwksOptions): Jwks {
  const { fetchText, refreshMs, clock, random, onChange, observe } = options;
  const abort = new AbortController();
  let getKey: JWTVerifyGetKey | null = null;
  /** The keys in use, by their texts. */
  let current = new Map<string, JWK>();
  let isRefreshing = false;
  let lastStartedMs = -Infinity;
  let nextMs = Infinity;
  let cancelTimer: () => void = () => undefined;
  let isStarted = false;

  const use = ({ keys, ignored }: ParsedSet): void => {
    const fresh = new Map(keys.map(key => [JSON.stringify(key), key]));
    const left = [...current].flatMap(([text, key]) => (fresh.has(text) ? [] : [key]));
    const changed = getKey === null || left.length > 0 || fresh.size > current.size;
    if (changed) {
      getKey = createLocalJWKSet({ keys: [...keys] });
      current = fresh;
      onChange({ ids: new Set(left.flatMap(({ kid }) => (kid === undefined ? [] : [kid]))), any: left.length > 0 });
    }
    observe({ event: 'jwks_refreshed', keys: keys.length, ignored, changed });
  };

  /** Refreshes in so many milliseconds, or earlier if that is planned already. */
  const plan = (ms: number): void => {
    const atMs = clock.now().monoMs + ms;
    if (abort.signal.aborted || atMs >= nextMs) {
      return;
    }
    cancelTimer();
    nextMs = atMs;
    cancelTimer = clock.startTimer(ms, () => {
      nextMs = Infinity;
      void refresh();
    });
  };

  /** Never rejects. */
  async function refresh(): Promise<void> {
    if (isRefreshing) {
      return;
    }
    isRefreshing = true;
    lastStartedMs = clock.now().monoMs;
    // Jittered so that replicas do not ask in step, and never later than was said.
    let inMs = refreshMs * (0.8 + random.uniform() / 5);
    try {
      const set = parseJwks(await fetchText(abort.signal));
      if (!abort.signal.aborted) {
        use(set);
      }
    } catch (error) {
      inMs = Math.min(refreshMs, getKey === null ? FIRST_RETRY_MS : COOLDOWN_MS) * (0.8 + random.uniform() / 5);
      if (!abort.signal.aborted) {
        observe({ event: 'jwks_failed', error: fetchFailure(error), retryMs: inMs });
      }
    }
    isRefreshing = false;
    plan(inMs);
  }

  return {
    get getKey() {
      return getKey;
    },
    askForRefresh() {
      if (isStarted && !isRefreshing) {
        plan(Math.max(0, lastStartedMs + COOLDOWN_MS - clock.now().monoMs));
      }
    },
    start() {
      if (!isStarted) {
        isStarted = true;
        void refresh();
      }
    },
    stop() {
      abort.abort();
      cancelTimer();
    },
  };
}
