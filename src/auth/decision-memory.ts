/**
 * Decisions that were made lately from memory, each with the answer's head, to be given again for the same credential,
 * host and rule. What is remembered is never stale: each decision is kept together with the cached facts that it was
 * made of, and is given again only while every one of them would be served (P34). So a change has nothing to
 * forget here.
 *
 * A decision depends on the request's host, on what its credential is read from, on the rule that its path falls under,
 * and on whether it is a preflight where the rule lets those pass. So that is what it is found by, or compared with.
 */
import { getHeapStatistics } from 'node:v8';
import type { Kept } from '../coherence/facts/pass.js';
import { RecentMap, type Sized } from '../collections/recent-map.js';
import { CachedHead } from '../http/response.js';
import type { Decision, Undecided } from './decide.js';
import type { AuthRequest } from './request/request.js';

/** The decisions of one credential on one host, one for each rule. */
interface Remembered extends Sized {
  readonly text: string;
  readonly decisions: Kept<Decision>[];
}

export interface DecisionMemory {
  /**
   * The decision, if it was made before and nothing that it rests on has changed.
   * @param charge see {@link AuthRequest.route}
   */
  recall(request: AuthRequest, charge: () => void): Decision | undefined;
  /** Remembers what was decided for the request, if that can be given again. */
  remember(request: AuthRequest, kept: Kept<Decision | Undecided>): void;
}

/**
 * A hundred thousand users of one app take about 115 MB: in a map of two halves, twice that finds all who are in use.
 */
const BYTES_MAX = 256 * 1_048_576;
/**
 * Of the heap that Node may use, at most. A decision that is not given again, since a fact has changed, also keeps what
 * its facts take, until it is dropped: as much again, and more.
 */
const HEAP_SHARE = 1 / 8;
/** What decisions that tell no user get beside that: anybody can cause as many as they like. */
const OTHERS_SHARE = 1 / 8;
/** A decision with its head, as measured on a heap of many; but for the user's groups, which are in the head, too. */
const DECISION_BYTES = 1_050;
/** Longer ones are decided each time: they are few, or somebody plays with us. */
const TEXT_CHARACTERS_MAX = 10_000;
/** Rules of one app under which one credential is remembered: most apps have one or two. */
const RULES_MAX = 8;

const textOf = (remembered: Remembered): string => remembered.text;

/** A host has no line break, nor has what a credential is read from. */
const place = (request: AuthRequest): string => `${request.host}\n${request.credentialText()}`;

/** Whether a decision that is remembered for the same credential and host is that of this request. */
function fits({ rules, route }: Decision, request: AuthRequest, charge: () => void): boolean {
  if (rules === null) {
    return true;
  }
  return request.route(rules, charge) === route && !(route?.preflight === true && request.isPreflight());
}

const bytesOf = ({ user }: Decision): number =>
  (user?.groups ?? []).reduce((sum, group) => sum + group.length + 1, DECISION_BYTES);

const shareOfHeap = (): number => Math.min(BYTES_MAX, getHeapStatistics().heap_size_limit * HEAP_SHARE);

/**
 * Creates a memory of no decisions.
 *
 * @param keysVersion grows whenever a credential may be read otherwise than before
 * @param bytesMax of decisions for credentials that belong to users. Default: an eighth of the heap, 256 MiB at most
 */
export function createDecisionMemory(keysVersion: () => number, bytesMax: number = shareOfHeap()): DecisionMemory {
  /** Those of credentials for which a user was told once. So a flood of made-up ones drops none of these (P18). */
  const ofUsers = new RecentMap<Remembered>(bytesMax);
  const ofOthers = new RecentMap<Remembered>(bytesMax * OTHERS_SHARE);
  let version = keysVersion();

  return {
    recall(request, charge) {
      if (version !== keysVersion()) {
        version = keysVersion();
        ofUsers.clear();
        ofOthers.clear();
      }
      const text = place(request);
      const found = ofUsers.get(text, textOf) ?? ofOthers.get(text, textOf);
      if (found === undefined) {
        return undefined;
      }
      for (const kept of found.decisions) {
        // Else a path might be looked at twice: by rules that are gone, and by those of today.
        if (kept.isHeld() && fits(kept.answer, request, charge)) {
          return kept.recall();
        }
      }
      return undefined;
    },
    remember(request, kept) {
      const decision = kept.answer;
      if (!('reason' in decision) || decision.route === undefined) {
        return;
      }
      const text = place(request);
      if (text.length > TEXT_CHARACTERS_MAX || (decision.route?.preflight === true && request.isPreflight())) {
        return;
      }
      if (decision.status === 200) {
        decision.head = new CachedHead();
      }
      const fresh = kept as Kept<Decision>;
      const known = ofUsers.get(text, textOf);
      const before = (known ?? ofOthers.get(text, textOf))?.decisions ?? [];
      const underOtherRules = before.filter(
        ({ answer: { rules, route } }) => rules === decision.rules && route !== decision.route,
      );
      const decisions = [fresh, ...underOtherRules.slice(0, RULES_MAX - 1)];
      const room = known !== undefined || decision.user !== null ? ofUsers : ofOthers;
      const bytes = decisions.reduce((sum, { answer }) => sum + bytesOf(answer), text.length);
      room.set(text, { text, decisions, bytes });
    },
  };
}
