/**
 * A message bus for libraries that let one be plugged in: at once, in order, without loss. It is kinder than any real
 * one. A member that is cut off gets nothing of what is sent meanwhile, as with publish and subscribe of Redis
 * (https://redis.io/docs/latest/develop/pubsub/#delivery-semantics).
 */
type Handler = (message: unknown) => unknown;

export interface LineMember {
  /** Resolves when all others have handled it. */
  publish(channel: string, message: unknown): Promise<void>;
  subscribe(channel: string, handler: Handler): void;
  unsubscribe(channel: string): void;
  /** Called when this member is connected again. */
  onReconnect(handler: () => void): void;
  cut(): void;
  restore(): void;
}

export interface Line {
  join(): LineMember;
}

export function createLine(): Line {
  const members = new Set<{ readonly handlers: Map<string, Handler[]>; isCut: boolean }>();
  return {
    join() {
      const me = { handlers: new Map<string, Handler[]>(), isCut: false };
      const reconnected: (() => void)[] = [];
      members.add(me);
      return {
        async publish(channel, message) {
          const heard = [...members].filter(member => member !== me && !member.isCut);
          await Promise.all(
            heard.flatMap(({ handlers }) => (handlers.get(channel) ?? []).map(handler => handler(message))),
          );
        },
        subscribe(channel, handler) {
          me.handlers.set(channel, [...(me.handlers.get(channel) ?? []), handler]);
        },
        unsubscribe(channel) {
          me.handlers.delete(channel);
        },
        onReconnect(handler) {
          reconnected.push(handler);
        },
        cut() {
          me.isCut = true;
        },
        restore() {
          me.isCut = false;
          for (const handler of reconnected) {
            handler();
          }
        },
      };
    },
  };
}
