/** One thing that `gatebell doctor` has looked at. */
export interface Check {
  readonly name: string;
  /** Whether a replica can rest on it. */
  readonly ok: boolean;
  /** It is well now, and something should be done nevertheless. */
  readonly warning?: boolean;
  /** What was found, and what to do if it is not well. */
  readonly detail: string;
}

/** How many of many are named. */
const NAMED_MAX = 20;

/** Joins what was found; of very many the first. */
export function listed(items: readonly string[]): string {
  const more = items.length - NAMED_MAX;
  return items.slice(0, NAMED_MAX).join('; ') + (more > 0 ? `; and ${more} more` : '');
}
