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

/** A hundred thousand users of one app take about 115 MB. The map drops half at a time, so each half must hold them. */
const BYTES_MAX = 256 * 1_048_576;
/**
 * At most so much of the heap that Node may use. The bytes that are counted are not all: a decision whose facts have
 * changed keeps the old ones in memory until it is dropped, and they take as much as it does, or more.
 */
const HEAP_SHARE = 1 / 8;
/** Decisions that name no user get so much besides: anybody can cause as many of them as they like. */
const OTHERS_SHARE = 1 / 8;
/** A decision and its head, as measured on a heap of many, without the user's groups, which are in the head. */
const DECISION_BYTES = 1_050;
/** Requests with longer texts are decided each time: there are few of them, or somebody makes them up. */
const TEXT_CHARACTERS_MAX = 10_000;
/** Rules of one app under which one credential is remembered: most apps have one or two. */
const RULES_MAX = 8;

const textOf = (remembered: Remembered): string => remembered.text;

/** What decisions are found by. No host has a line break in it, so no other host and credential give the same text. */
const lookupText = (request: AuthRequest): string => `${request.host}\n${request.credentialText()}`;

/** Whether a decision for the same credential and host is also one for the path of this request. */
function fits({ rules, route }: Decision, request: AuthRequest, charge: () => void): boolean {
  if (rules === null) {
    return true;
  }
  return request.route(rules, charge) === route && !(route?.preflight === true && request.isPreflight());
}

/** How much memory it takes, about. */
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
  /** Of credentials for which a decision has named a user: a flood of made-up ones drops none of these (P18). */
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
      const text = lookupText(request);
      const found = ofUsers.get(text, textOf) ?? ofOthers.get(text, textOf);
      if (found === undefined) {
        return undefined;
      }
      for (const kept of found.decisions) {
        // First what is cheap: finding the rule of a path can take long, and rules that are gone have no say.
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
      // What is no credential at all is made up, differs each time, and is decided without a hash.
      if (decision.user === null && request.credential().kind === 'bad') {
        return;
      }
      const text = lookupText(request);
      if (text.length > TEXT_CHARACTERS_MAX || (decision.route?.preflight === true && request.isPreflight())) {
        return;
      }
      if (decision.status === 200) {
        decision.head = new CachedHead();
      }
      const fresh = kept as Kept<Decision>;
      const known = ofUsers.get(text, textOf);
      const before = (known ?? ofOthers.get(text, textOf))?.decisions ?? [];
      const ofOtherRules = before.filter(
        ({ answer: { rules, route } }) => rules === decision.rules && route !== decision.route,
      );
      const decisions = [fresh, ...ofOtherRules.slice(0, RULES_MAX - 1)];
      const map = known !== undefined || decision.user !== null ? ofUsers : ofOthers;
      const bytes = decisions.reduce((sum, { answer }) => sum + bytesOf(answer), text.length);
      map.set(text, { text, decisions, bytes });
    },
  };
}
