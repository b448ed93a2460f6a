/** Which grants the databases of the growth experiment have: each user one for each app. */
import type { Key } from '../../src/coherence/signal.js';

export const APPS = 10;
/**
 * The numbers of users and apps come after these: keys are of one length in all databases, as long as those of old and
 * large ones.
 */
export const USERS_AFTER = 1_000_000;
export const APPS_AFTER = 100;
/** One text for each app, as a replica has it in the fact of the app, however many grants name it. */
export const APP_IDS: readonly string[] = Array.from({ length: APPS }, (_, index) => String(APPS_AFTER + 1 + index));
/** Coprime to every number of grants. */
const STRIDE = 6_700_417;

/** The users, from 0. */
export const userId = (index: number): string => String(USERS_AFTER + 1 + index);

/** The key of one of `grants` grants. Consecutive indexes lie far apart, and go through all of the table. */
export function grantKey(grants: number, index: number): Key {
  const number = (index * STRIDE) % grants;
  return [userId(Math.floor(number / APPS)), APP_IDS[number % APPS]!];
}
