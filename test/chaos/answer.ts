/** What an answer says about the facts that it was decided by. */
import { factName, type Held } from '../sim/history.js';
import { APP, versionOfEmail, type Route, type Topic } from './people.js';

/** One question and its answer, as seen by the one who asked. Times are those of this process' monotonic clock. */
export interface Answer {
  readonly replica: string;
  /**
   * The process that answered: the replica, or the connection, which leads to one of its workers. What was shown binds
   * a process.
   */
  readonly process: string;
  readonly person: string;
  readonly route: Route;
  readonly sentMs: number;
  readonly answeredMs: number;
  readonly status: number;
  readonly reason: string;
  readonly user: string;
  readonly app: string;
  readonly role: string;
  readonly email: string;
}

/** Everything that was asked gets one of these; none of it may be anything else. */
const STATUSES: Readonly<Record<string, number>> = {
  granted: 200,
  authenticated: 200,
  bad_credential: 401,
  disabled_user: 403,
  no_grant: 403,
  unavailable: 503,
};

export const isAllow = ({ status }: Answer): boolean => status === 200;
export const isUnavailable = ({ status }: Answer): boolean => status === 503;
export const isStrong = ({ route }: Answer): boolean => route === 'strong';

/**
 * The facts; or what is wrong with an answer that no facts could give. A denial for one reason tells what was checked
 * before, too.
 */
export function factsOf(answer: Answer): { readonly facts: readonly Held[] } | { readonly problem: string } {
  const { person, route, status, reason, user, app, role, email } = answer;
  const held = (topic: Topic, text: string): Held => ({
    topic,
    key: [person],
    name: factName(topic, [person]),
    text,
  });
  if (STATUSES[reason] !== status) {
    return { problem: `status ${status} with reason '${reason}'` };
  }
  if (isAllow(answer) && (user !== person || app !== APP)) {
    return { problem: `'${user}' was let into '${app}', but it was ${person} who asked for ${APP}` };
  }
  const credential = held('credential', 'good');
  const enabled = held('enabled', 'true');
  switch (reason) {
    case 'granted':
      return route === 'authenticated'
        ? { problem: 'a grant was asked for where none is needed' }
        : { facts: [credential, enabled, held('email', versionOfEmail(email)), held('grant', role)] };
    case 'authenticated':
      return route === 'authenticated'
        ? { facts: [credential, enabled, held('email', versionOfEmail(email))] }
        : { problem: 'allowed without a grant' };
    case 'bad_credential':
      return { facts: [held('credential', 'revoked')] };
    case 'disabled_user':
      return { facts: [credential, held('enabled', 'false')] };
    case 'no_grant':
      return route === 'authenticated'
        ? { problem: 'a grant was asked for where none is needed' }
        : { facts: [credential, enabled, held('grant', 'absent')] };
    default:
      return { facts: [] };
  }
}
