/** Whether a browser is signed in already: asked of the same facts as decisions, so that both give one answer. */
import { holderOfTokens } from '../auth/holder.js';
import { hashToken } from '../auth/token.js';
import type { FactRef, Reader } from '../coherence/facts/reader.js';
import type { FactTypes } from '../auth/facts.js';

/**
 * Whether these tokens, from cookies, are a session that counts for the app. Rejects when the facts cannot be had.
 * @param appId null: for any app
 */
export type IsSignedIn = (tokens: readonly string[], appId: string | null) => Promise<boolean>;

/** Creates the check. */
export function createSignedInCheck(reader: Reader<FactTypes>): IsSignedIn {
  return async (tokens, appId) => {
    const hashes = tokens.map(hashToken);
    return (
      hashes.length > 0 &&
      reader.read(facts => {
        const lacks: FactRef<FactTypes>[] = [];
        const holder = holderOfTokens(
          hashes,
          appId,
          (topic, key) => {
            const fact = facts.get(topic, key);
            if (fact === undefined) {
              lacks.push({ topic, key });
            }
            return fact;
          },
          timeMs => facts.hasCome(timeMs),
        );
        return holder === undefined ? { lacks } : { answer: 'userId' in holder, strong: false };
      })
    );
  };
}
