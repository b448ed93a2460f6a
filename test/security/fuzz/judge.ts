/** What is wrong with the answers of one connection: a pure function of what was sent and what came back. */
import { isDeepStrictEqual } from 'node:util';
import { readAnswer, type Answer } from '../../support/auth-server.js';
import type { FuzzCase, WildCase } from './cases.js';
import { OPEN_HOST, UNGRANTED_TOKEN, UNGRANTED_USER, USER_TOKENS, userName } from './fuzzed-apps.js';

/** A case that was answered as none may be. */
export interface Fault {
  /** Its place in the session. */
  readonly at: number;
  readonly problem: string;
}

const IDENTITY = [
  'remote-user',
  'remote-name',
  'remote-email',
  'remote-groups',
  'x-gatebell-app',
  'x-gatebell-role',
] as const;
/**
 * What is not HTTP is answered with 400, 405, 408, 413, 417 or 431; 404 is for what is no auth endpoint, 414 for a long
 * URI.
 */
const WILD_STATUSES = [100, 200, 302, 400, 401, 403, 404, 405, 408, 413, 414, 417, 431];

/** What is wrong with any 200 by itself: identity headers missing, or there twice. */
function problemOfAllow({ headers }: Answer): string | null {
  for (const name of [...IDENTITY, 'x-gatebell-reason', 'cache-control']) {
    const value = headers[name];
    if (value === undefined || value.includes('\n')) {
      return `a 200 with ${value === undefined ? 'no' : 'more than one'} ${name}`;
    }
  }
  const isNobody = headers['remote-user'] === '';
  return isNobody === (headers['x-gatebell-reason'] === 'public')
    ? null
    : 'a 200 whose identity and reason do not agree';
}

function tokenOf(user: string): string | undefined {
  return user === UNGRANTED_USER ? UNGRANTED_TOKEN : USER_TOKENS.find((_, at) => userName(at) === user);
}

function problemOfWild({ bytes, isSmuggling }: WildCase, answer: Answer): string | null {
  const { status, headers } = answer;
  if (!WILD_STATUSES.includes(status)) {
    return `status ${status}`;
  }
  if (status !== 200) {
    return IDENTITY.some(name => (headers[name] ?? '') !== '') ? `an identity told with ${status}` : null;
  }
  const user = headers['remote-user'] ?? '';
  if (isSmuggling) {
    return `smuggled: let through as ${JSON.stringify(user)}`;
  }
  if (user === '') {
    return bytes.toLowerCase().includes(OPEN_HOST) ? problemOfAllow(answer) : 'let through without a credential';
  }
  const token = tokenOf(user);
  return token !== undefined && bytes.includes(token)
    ? problemOfAllow(answer)
    : `let through as ${user}, whose credential was not sent`;
}

/**
 * Splits what was answered to a wild case, whose methods nobody knows: no body of the gate's looks like a status line.
 */
function splitWild(text: string): readonly Answer[] {
  return text
    .split(/(?=HTTP\/1\.[01] \d{3} )/)
    .filter(part => part !== '')
    .map(part => readAnswer(part, true)?.answer ?? { status: Number(part.slice(9, 12)), headers: {}, body: '' });
}

/** Reads answers in order. @returns those that are complete, and what is left of the text */
export function readTame(
  text: string,
  cases: readonly FuzzCase[],
): { readonly answers: readonly Answer[]; readonly rest: string } {
  const answers: Answer[] = [];
  let rest = text;
  for (const each of cases) {
    const read = each.type === 'tame' ? readAnswer(rest, each.isHead) : null;
    if (read === null) {
      break;
    }
    answers.push(read.answer);
    rest = rest.slice(read.length);
  }
  return { answers, rest };
}

/** @param text all that the server sent on this connection */
export function judge(cases: readonly FuzzCase[], text: string): Fault | null {
  const { answers, rest } = readTame(text, cases);
  for (const [at, each] of cases.entries()) {
    if (each.type === 'wild') {
      for (const answer of splitWild(rest)) {
        const problem = problemOfWild(each, answer);
        if (problem !== null) {
          return { at, problem };
        }
      }
      return null;
    }
    const answer = answers[at];
    if (answer === undefined) {
      return { at, problem: `no answer, but ${JSON.stringify(rest.slice(0, 200))}` };
    }
    const told = {
      status: answer.status,
      reason: answer.headers['x-gatebell-reason'],
      user: answer.headers['remote-user'] ?? '',
      app: answer.headers['x-gatebell-app'] ?? '',
    };
    if (!isDeepStrictEqual(told, each.expected)) {
      return { at, problem: `answered ${JSON.stringify(told)}, not ${JSON.stringify(each.expected)}` };
    }
    const problem = answer.status === 200 ? problemOfAllow(answer) : null;
    if (problem !== null) {
      return { at, problem };
    }
  }
  return rest === ''
    ? null
    : { at: cases.length - 1, problem: `more than was asked for: ${JSON.stringify(rest.slice(0, 200))}` };
}
