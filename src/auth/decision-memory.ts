/**
 * Decisions that were made lately from memory, each with the answer's head, to be given again for the same credential,
 * host and rule. What is remembered is never stale: each decision is kept together with the cached facts that it was
 * made of, and is given again only while every one of them would be served (P34). So a change has nothing to
 * forget here.
 *
 * A decision depends on the request's host, on what its credential is read from, on the rule that its path falls under,
 * and on whether it is a preflight where the rule lets those pass. So that is what it is found by, or compared with.
 */
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

/** A hundred thousand users of one app take about 100 MB; with two halves of that, those in use would not all be found. */
const BYTES_MAX = 256 * 1_048_576;
/** A decision with its head, as measured on a heap of many. */
const DECISION_BYTES = 900;
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

/**
 * Creates a memory of no decisions.
 *
 * @param keysVersion grows whenever a credential may be read otherwise than before
 */
export function createDecisionMemory(keysVersion: () => number, bytesMax: number = BYTES_MAX): DecisionMemory {
  const memory = new RecentMap<Remembered>(bytesMax);
  let version = keysVersion();

  return {
    recall(request, charge) {
      if (version !== keysVersion()) {
        version = keysVersion();
        memory.clear();
      }
      const decisions = memory.get(place(request), textOf)?.decisions;
      if (decisions === undefined) {
        return undefined;
      }
      for (const kept of decisions) {
        if (fits(kept.answer, request, charge)) {
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
      decision.head = new CachedHead();
      const fresh = kept as Kept<Decision>;
      const others = (memory.get(text, textOf)?.decisions ?? []).filter(
        ({ answer: { rules, route } }) => rules === decision.rules && route !== decision.route,
      );
      const decisions = [fresh, ...others.slice(0, RULES_MAX - 1)];
      memory.set(text, { text, decisions, bytes: text.length + decisions.length * DECISION_BYTES });
    },
  };
}
