/**
 * Secrets that others show to us, compared in a time that tells nothing of them: neither how much is right, nor how
 * long they are.
 */
import { hash, timingSafeEqual } from 'node:crypto';

const digest = (text: string): Buffer => hash('sha256', text, 'buffer');

/** Whether a text is the secret. */
export type IsSecret = (shown: string) => boolean;

/** Creates the check for one secret. */
export function createSecretCheck(secret: string): IsSecret {
  const expected = digest(secret);
  return shown => timingSafeEqual(digest(shown), expected);
}
