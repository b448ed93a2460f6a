/** Which hosts are apps of the gate, as far as sign-in has to know: the one place that says so. */
import { parseHost } from '../auth/request.js';
import type { Reader } from '../coherence/reader.js';
import type { FactTypes } from '../store/facts.js';

/** Whether the canonical host is that of an app that is enabled. Rejects when the facts cannot be had. */
export type IsAppHost = (host: string) => Promise<boolean>;

/** Creates the check, over the same facts as decisions, and as they choose: exact before wildcard, the longest of those. */
export function createAppHosts(reader: Reader<FactTypes>): IsAppHost {
  return async host => {
    const candidates = [host, ...(parseHost(host)?.wildcards ?? [])];
    return reader.read(facts => {
      for (const candidate of candidates) {
        const app = facts.get('app', [candidate]);
        if (app === undefined) {
          return { lacks: candidates.map(one => ({ subject: 'app', key: [one] })) };
        }
        if (app !== null) {
          return { answer: app.enabled && app.problem === null, strong: false };
        }
      }
      return { answer: false, strong: false };
    });
  };
}
