/**
 * The one listening connection of a replica, for all its workers. What is heard is handed on to each of them, in order.
 * When one of them gives it up, because what it saw does not fit together, it is given up for all: the next one is
 * brand-new (P28).
 *
 * A barrier is answered for the replica when every worker has answered. A worker that does not hear counts, too: it may
 * not know yet that its connection is lost, and requests that it decides may hold what was read before the barrier. So
 * while a worker starts, or listens anew, nothing is answered; whoever passes a barrier repeats it. A worker no longer
 * counts when its process has ended.
 *
 * An answer is dropped when the connection or the subscription that it was given for has ended. From outside that
 * cannot be told: what a worker has applied stays applied. It keeps what is remembered here small, and the rule is that
 * of a replica of one process.
 */
import type { OpenSubscription, Subscription } from '../../coherence/proof/connection.js';
import type { FromSubscription, ToSubscription } from './messages.js';

/** One worker, as the shared subscription sees it. */
export interface SubscriptionMember {
  /** The worker says something. */
  receive(message: FromSubscription): void;
  /** The worker's process has ended: it serves nothing any more. */
  leave(): void;
}

export interface SharedSubscription {
  /**
   * A worker has come.
   *
   * @param post says something to it; returns false when too much is waiting to be heard by it already
   */
  join(post: (message: ToSubscription) => boolean): SubscriptionMember;
  close(): void;
}

/** `in`: it hears. `waiting`: it hears as soon as there is a connection. */
type MemberState = 'out' | 'waiting' | 'in';

interface Member {
  readonly post: (message: ToSubscription) => boolean;
  state: MemberState;
  subscription: number;
}

/** One connection, from the attempt on. */
interface Connection {
  readonly abort: AbortController;
  subscription: Subscription | null;
  ended: boolean;
}

/** Barriers that some workers have answered and others have not; who passes one repeats it. */
const BARRIERS_MAX = 16;

/** @param openSubscription opens a connection to Postgres */
export function createSharedSubscription(openSubscription: OpenSubscription): SharedSubscription {
  const members = new Set<Member>();
  /** Who has answered, by what was answered. */
  const answers = new Map<string, Set<Member>>();
  let connection: Connection | null = null;

  const membersIn = (...states: readonly MemberState[]): Member[] =>
    [...members].filter(({ state }) => states.includes(state));

  const tellLost = (member: Member, problem: string): void => {
    member.state = 'out';
    member.post({ type: 'lost', subscription: member.subscription, problem });
  };

  const end = (ending: Connection, problem: string): void => {
    if (ending.ended) {
      return;
    }
    ending.ended = true;
    connection = null;
    answers.clear();
    ending.abort.abort();
    ending.subscription?.close();
    for (const member of membersIn('in')) {
      tellLost(member, problem);
    }
    for (const member of membersIn('waiting')) {
      member.state = 'out';
      member.post({ type: 'refused', subscription: member.subscription, problem });
    }
  };

  const answerBarriers = (): void => {
    for (const [payload, answered] of answers) {
      if ([...members].every(member => answered.has(member))) {
        answers.delete(payload);
        connection?.subscription?.send(payload);
      }
    }
  };

  const hear = (payload: string): void => {
    for (const member of membersIn('in')) {
      if (!member.post({ type: 'heard', subscription: member.subscription, payload })) {
        tellLost(member, 'this worker has fallen behind');
      }
    }
  };

  const admit = (member: Member, subscription: Subscription): void => {
    member.state = 'in';
    member.post({ type: 'opened', subscription: member.subscription, backend: subscription.backend });
  };

  const connect = async (channel: string): Promise<void> => {
    const opened: Connection = { abort: new AbortController(), subscription: null, ended: false };
    connection = opened;
    try {
      const subscription = await openSubscription(
        channel,
        {
          onMessage: payload => {
            if (!opened.ended) {
              hear(payload);
            }
          },
          onLost: error => {
            end(opened, errorText(error));
          },
        },
        opened.abort.signal,
      );
      if (opened.ended) {
        subscription.close();
        return;
      }
      opened.subscription = subscription;
      for (const member of membersIn('waiting')) {
        admit(member, subscription);
      }
    } catch (error) {
      end(opened, errorText(error));
    }
  };

  /** Nobody needs it any more. */
  const closeUnused = (): void => {
    if (connection !== null && membersIn('in', 'waiting').length === 0) {
      end(connection, 'closed');
    }
  };

  const receive = (member: Member, message: FromSubscription): void => {
    switch (message.type) {
      case 'open':
        member.subscription = message.subscription;
        if (connection?.subscription != null) {
          admit(member, connection.subscription);
          return;
        }
        member.state = 'waiting';
        if (connection === null) {
          void connect(message.channel);
        }
        return;
      case 'send': {
        if (message.subscription !== member.subscription || member.state !== 'in') {
          return;
        }
        const answered = answers.get(message.payload) ?? new Set();
        answers.set(message.payload, answered.add(member));
        const [oldest] = answers.keys();
        if (answers.size > BARRIERS_MAX && oldest !== undefined) {
          answers.delete(oldest);
        }
        answerBarriers();
        return;
      }
      case 'close': {
        if (message.subscription !== member.subscription) {
          return;
        }
        const wasIn = member.state === 'in';
        member.state = 'out';
        if (wasIn && !message.leaving && connection !== null) {
          end(connection, 'another worker of this replica has given the listening connection up');
        }
        closeUnused();
        return;
      }
    }
  };

  return {
    join(post) {
      const member: Member = { post, state: 'out', subscription: 0 };
      members.add(member);
      return {
        receive(message) {
          receive(member, message);
        },
        leave() {
          members.delete(member);
          closeUnused();
          answerBarriers();
        },
      };
    },
    close() {
      if (connection !== null) {
        end(connection, 'closed');
      }
    },
  };
}

function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
