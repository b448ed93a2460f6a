/**
 * Which rule a path falls under, whatever the upstream makes of it.
 *
 * The rule must be the same for every reading of the path (see `path-interpretations.ts`), and in either case of its
 * letters; else the path is ambiguous and refused. So `%20`, `%2F` in a package name and UTF-8 pass where they change
 * nothing.
 *
 * Extensions and scripts are too ordinary to be refused. Some upstreams take `/admin.json` for `/admin` (Rails,
 * Connect), or run `/index.php/admin` as `/admin`; to others `/share.zip` is a file beside `/share`. There the rule of
 * the path as it is written and the rule of the other reading must both be met. A rule that names the extension itself
 * speaks for it alone.
 *
 * Readings are made only for apps whose rules depend on the path.
 */
import type { Route } from '../facts.js';
import { hasScript, interpretPath, type Effort } from './path-interpretations.js';

/** What holds where no rule matches: a grant is needed. */
const UNRULED: Route = { pathPrefix: '/', access: 'grant', roles: [], strong: false, preflight: false, headers: [] };

interface ReadyRule {
  readonly route: Route;
  readonly prefix: string;
  /** The prefix in lower case. */
  readonly folded: string;
}

/** The rules of an app, made ready for many paths. */
interface Rules {
  /** The rule of all paths, if no rule depends on them. */
  readonly ofAll: Route | null | undefined;
  /** Longest prefix first. */
  readonly prefixes: readonly ReadyRule[];
  readonly isLowerCase: boolean;
  readonly hasDots: boolean;
  /** Those whose prefix goes on behind a script. */
  readonly namesScript: ReadonlySet<Route | null>;
}

const isRoot = (route: Route | null): boolean => route === null || route.pathPrefix === '/';

const READY = new WeakMap<readonly Route[], Rules>();

function rulesOf(routes: readonly Route[]): Rules {
  let rules = READY.get(routes);
  if (rules === undefined) {
    rules = {
      ofAll: routes.every(isRoot) ? (routes[0] ?? null) : undefined,
      prefixes: routes.map(route => ({
        route,
        prefix: route.pathPrefix,
        folded: route.pathPrefix.toLowerCase(),
      })),
      isLowerCase: routes.every(({ pathPrefix }) => pathPrefix === pathPrefix.toLowerCase()),
      hasDots: routes.some(({ pathPrefix }) => pathPrefix.includes('.')),
      namesScript: new Set(routes.filter(({ pathPrefix }) => hasScript(pathPrefix))),
    };
    READY.set(routes, rules);
  }
  return rules;
}

const SLASH = 0x2f;
const DOT = 0x2e;

/** Whether the path is the prefix or lies below it: `/pub` holds `/pub` and `/pub/x`, not `/publications`. */
function liesUnder(path: string, prefix: string): boolean {
  return (
    prefix === '/' ||
    (path.startsWith(prefix) && (path.length === prefix.length || path.charCodeAt(prefix.length) === SLASH))
  );
}

/**
 * Whether the path lies under the prefix but for the extensions of segments: `/a.x/b` and `/a/b.y/c` under `/a/b`, and
 * `/a/b` under `/a/b.html`, which some upstreams look for.
 *
 * @returns where the last segment that differs does so; -1: the path does not lie under it, or does so as it is
 */
function differsByExtension(path: string, prefix: string): number {
  let at = 0;
  let differsAt = -1;
  for (let i = 0; ;) {
    const isPrefixOver = i === prefix.length || prefix.charCodeAt(i) === SLASH;
    const isPathOver = at === path.length || path.charCodeAt(at) === SLASH;
    if (isPrefixOver && isPathOver) {
      if (i === prefix.length) {
        return differsAt;
      }
      if (at === path.length) {
        return -1;
      }
    } else if (isPrefixOver && path.charCodeAt(at) === DOT && path.charCodeAt(at - 1) !== SLASH) {
      differsAt = at;
      at = endOfSegment(path, at);
      continue;
    } else if (isPathOver && prefix.charCodeAt(i) === DOT && prefix.charCodeAt(i - 1) !== SLASH) {
      differsAt = at;
      i = endOfSegment(prefix, i);
      continue;
    } else if (isPrefixOver || isPathOver || path.charCodeAt(at) !== prefix.charCodeAt(i)) {
      return -1;
    }
    at += 1;
    i += 1;
  }
}

function endOfSegment(path: string, from: number): number {
  const end = path.indexOf('/', from);
  return end === -1 ? path.length : end;
}

const STRICTNESS: Readonly<Record<Route['access'], number>> = { public: 0, authenticated: 1, grant: 2 };

/** Rules that came of two: by the one, then by the other. */
const BOTH = new WeakMap<Route, WeakMap<Route, Route | 'none'>>();

function combine(rule: Route, other: Route): Route | 'none' {
  const stricter = STRICTNESS[other.access] > STRICTNESS[rule.access] ? other : rule;
  const [first, second] = [rule, other].map(({ access, roles }) => (access === 'public' ? [] : roles));
  const roles =
    first!.length === 0 || second!.length === 0
      ? [...first!, ...second!]
      : first!.filter(role => second!.includes(role));
  if (roles.length === 0 && first!.length > 0 && second!.length > 0) {
    return 'none';
  }
  const strong = rule.strong || other.strong;
  const preflight = rule.preflight && other.preflight;
  return stricter.access === rule.access &&
    strong === rule.strong &&
    preflight === rule.preflight &&
    (rule.access === 'public' || roles.length === rule.roles.length)
    ? rule
    : { ...rule, access: stricter.access, roles, strong, preflight };
}

/**
 * The rule that is met where both are: the higher access, roles that both allow, strong if one is, preflights if both
 * let them pass; the headers of the first. Undefined if nobody can meet both. The same two give the same rule.
 */
export function bothRules(one: Route | null, other: Route | null): Route | null | undefined {
  const [rule, second] = [one ?? UNRULED, other ?? UNRULED];
  if (rule === second) {
    return one;
  }
  let known = BOTH.get(rule);
  if (known === undefined) {
    known = new WeakMap();
    BOTH.set(rule, known);
  }
  let combined = known.get(second);
  if (combined === undefined) {
    combined = combine(rule, second);
    known.set(second, combined);
  }
  return combined === 'none' ? undefined : combined === UNRULED ? null : combined;
}

const ruleThat = ({ prefixes }: Rules, holds: (rule: ReadyRule) => boolean): Route | null =>
  prefixes.find(holds)?.route ?? null;

/** The rule of a reading, as it is and in lower case. */
function rulesOfReading(rules: Rules, reading: string, lower: string): readonly [Route | null, Route | null] {
  const exact = ruleThat(rules, ({ prefix }) => liesUnder(reading, prefix));
  return [
    exact,
    lower === reading && rules.isLowerCase ? exact : ruleThat(rules, ({ folded }) => liesUnder(lower, folded)),
  ];
}

/** Collects rules that must all be met. */
class Met {
  /** Undefined: nobody can meet all of them. */
  rule: Route | null | undefined;

  constructor(rule: Route | null) {
    this.rule = rule;
  }

  too(other: Route | null): void {
    if (this.rule !== undefined) {
      this.rule = bothRules(this.rule, other);
    }
  }
}

/**
 * Adds the rules of the reading without extensions, but for those whose place `named` speaks for: where it names the
 * extension itself.
 */
function addExtensions(met: Met, { prefixes, hasDots }: Rules, lower: string, named: Route | null): void {
  if (!hasDots && !lower.includes('.')) {
    return;
  }
  const namedTo = named === null ? 0 : named.pathPrefix.length;
  for (const { route, folded } of prefixes) {
    if (differsByExtension(lower, folded) > namedTo) {
      met.too(route);
    }
  }
}

/** Adds the rules below a reading. */
function addBelow(met: Met, { prefixes }: Rules, lower: string): void {
  let end = lower.length;
  // By hand: a pattern would look from each slash to the end of its row.
  while (end > 1 && lower.charCodeAt(end - 1) === SLASH) {
    end -= 1;
  }
  const top = lower.slice(0, end);
  for (const { route, folded } of prefixes) {
    if (liesUnder(folded, top)) {
      met.too(route);
    }
  }
}

/** What a request does there: `tree` moves, copies, deletes or lists all that lies below, too. */
export type PathScope = 'path' | 'tree';

/**
 * The rule of a path; null if none matches it; undefined if it is ambiguous, or nobody can meet all that must be met.
 *
 * @param routes longest prefix first; the same array is made ready once
 * @param path as it was sent, without its query, in ASCII; it begins with a slash
 */
export function selectRoute(
  routes: readonly Route[],
  path: string,
  scope: PathScope = 'path',
  effort?: Effort,
): Route | null | undefined {
  const rules = rulesOf(routes);
  if (rules.ofAll !== undefined) {
    return rules.ofAll;
  }
  const readings = interpretPath(path, effort);
  if (readings === null) {
    return undefined;
  }
  let chosen: Route | null | undefined;
  for (const reading of readings.exact) {
    const [exact, folded] = rulesOfReading(rules, reading, reading.toLowerCase());
    if (exact !== folded || (chosen !== undefined && exact !== chosen)) {
      return undefined;
    }
    chosen = exact;
  }
  const named = chosen ?? null;
  const met = new Met(named);
  for (const reading of readings.exact) {
    addExtensions(met, rules, reading.toLowerCase(), named);
  }
  for (const reading of readings.scripted) {
    const lower = reading.toLowerCase();
    const [exact, folded] = rulesOfReading(rules, reading, lower);
    for (const rule of [exact, folded]) {
      // A rule that names what follows the script speaks for it, where no other does.
      if (!isRoot(rule) || !rules.namesScript.has(named)) {
        met.too(rule);
      }
    }
    addExtensions(met, rules, lower, exact);
  }
  if (scope === 'tree') {
    for (const reading of [...readings.exact, ...readings.scripted]) {
      addBelow(met, rules, reading.toLowerCase());
    }
  }
  return met.rule;
}
