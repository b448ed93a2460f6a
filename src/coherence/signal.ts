/**
 * What travels on the channel, and what travels on the bus. The parser is total: it returns a value for every payload,
 * because anyone with a connection can NOTIFY, and a payload that we do not understand may be a change that we missed
 * (P27).
 */

import type { FenceMessage } from './proof/heard-fences.js';

/** Key of one fact: the values of its key columns as text, in the order in which the table is watched. */
export type Key = readonly string[];

/** Facts of a topic may have changed: these keys, or all of them (`keys` is null). */
export interface Change {
  readonly type: 'change';
  readonly topic: string;
  readonly keys: readonly Key[] | null;
}

/** Why everything cached was dropped. */
export type FlushCause = 'down' | 'malformed';

/** Everything that is cached must be forgotten. */
export interface Flush {
  readonly type: 'flush';
  readonly cause: FlushCause;
}

/** What the bus carries. */
export type Signal = Change | Flush;

/** One payload of the channel, understood or not. */
export type Message =
  | Change
  | FenceMessage
  | { readonly type: 'barrier'; readonly id: string }
  | { readonly type: 'acknowledgement'; readonly id: string; readonly replica: string }
  /** What a connection sends to itself. */
  | { readonly type: 'greeting'; readonly mark: string }
  | { readonly type: 'malformed'; readonly problem: string };

const TOPIC = /^[a-z][a-z0-9_]{0,39}$/;
const WIRE_VERSION = 1;

/** Whether a table can be watched under this name. */
export function isTopic(text: string): boolean {
  return TOPIC.test(text);
}

function malformed(problem: string): Message {
  return { type: 'malformed', problem };
}

function isKey(value: unknown): value is Key {
  return Array.isArray(value) && value.length > 0 && value.every(part => typeof part === 'string');
}

function isFence(id: unknown, number: unknown, serverId: unknown, signature: unknown): boolean {
  return (
    Number.isSafeInteger(id) &&
    Number.isSafeInteger(number) &&
    typeof serverId === 'string' &&
    typeof signature === 'string'
  );
}

/**
 * Parses a payload of the channel. Never throws.
 *
 * @example
 * parseMessage('{"v":1,"s":"grant","k":[["7","12"]]}') // { type: 'change', topic: 'grant', keys: [['7', '12']] }
 */
export function parseMessage(payload: string): Message {
  let parsed: unknown;
  try {
    parsed = JSON.parse(payload);
  } catch {
    return malformed('not JSON');
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    return malformed('not a JSON object');
  }
  const { v, s, k, f, n, i, m, b, a, r, g, ...rest } = parsed as Record<string, unknown>;
  if (v !== WIRE_VERSION) {
    return malformed('not version 1');
  }
  if (Object.keys(rest).length > 0 || [s, f, b, a, g].filter(kind => kind !== undefined).length !== 1) {
    return malformed('not one of change, fence, barrier, acknowledgement, greeting');
  }
  if (isFence(f, n, i, m) && k === undefined && r === undefined) {
    return { type: 'fence', id: f as number, number: n as number, serverId: i as string, signature: m as string };
  }
  if (n !== undefined || i !== undefined || m !== undefined) {
    return malformed('a field has the wrong type');
  }
  if (typeof s === 'string' && r === undefined) {
    if (!isTopic(s)) {
      return malformed('not a topic');
    }
    if (k === undefined) {
      return { type: 'change', topic: s, keys: null };
    }
    return Array.isArray(k) && k.length > 0 && k.every(isKey)
      ? { type: 'change', topic: s, keys: k }
      : malformed('keys are not arrays of strings');
  }
  if (k === undefined && typeof b === 'string' && r === undefined) {
    return { type: 'barrier', id: b };
  }
  if (k === undefined && typeof a === 'string' && typeof r === 'string') {
    return { type: 'acknowledgement', id: a, replica: r };
  }
  if (k === undefined && typeof g === 'string' && r === undefined) {
    return { type: 'greeting', mark: g };
  }
  return malformed('a field has the wrong type');
}

/**
 * One text for one key, different for different keys whatever their parts contain. A key of one part is that part, so
 * that most look-ups make no new string; any other is a NUL, which no text in Postgres has, and each part after its
 * length. (Joining with a separator confuses keys: CVE-2021-32701 and its like.)
 */
export function keyText(key: Key): string {
  if (key.length === 1 && key[0]!.charCodeAt(0) !== 0) {
    return key[0]!;
  }
  let text = '\0';
  for (const part of key) {
    text += part.length + ':' + part;
  }
  return text;
}
