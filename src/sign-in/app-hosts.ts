/** Which hosts are apps of the gate, as far as sign-in has to know: the one place that says so. */
import { parseHost } from '../auth/request/request.js';
import type { Reader } from '../coherence/facts/reader.js';
import type { FactTypes } from '../auth/facts.js';

/** The id of the app of a canonical host, if it is enabled; else null. Rejects when the facts cannot be had. */
export type FindApp = (host: string) => Promise<string | null>;

/**
 * Creates the look-up, over the same facts as decisions, and as they choose: exact before wildcard, the longest of
 * those.
 */
export function createAppHosts(reader: Reader<FactTypes>): FindApp {
  return async host => {
    const candidates = [host, ...(parseHost(host)?.wildcards ?? [])];
    return reader.read(facts => {
      for (const candidate of candidates) {
        const app = facts.get('app', [candidate]);
        if (app === undefined) {
          return { lacks: candidates.map(one => ({ topic: 'app', key: [one] })) };
        }
        if (app !== null) {
          return { answer: app.enabled && app.problem === null ? app.id : null, strong: false };
        }
      }
      return { answer: null, strong: false };
    });
  };
}
