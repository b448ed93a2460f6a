/**
 * A set from which members are drawn at random. A draw costs as much as the number of members drawn, however many there
 * are. Each member stores its own index, so adding and removing cost one move.
 */
import type { Random } from '../time/clock.js';

/** What can be in a set. Only the set writes `place`; it is -1 for what was removed. */
export interface Member {
  place: number;
}

export interface RandomSet<M extends Member> {
  add(member: M): void;
  /** Does nothing if the member is not in the set. */
  remove(member: M): void;
  has(member: M): boolean;
  clear(): void;
  /** Returns `count` different members, or all if there are fewer. Every choice is equally likely. */
  draw(count: number, random: Random): M[];
}

/** Creates an empty set. */
export function createRandomSet<M extends Member>(): RandomSet<M> {
  let members: M[] = [];
  const put = (member: M, place: number): void => {
    members[place] = member;
    member.place = place;
  };
  const has = (member: M): boolean => members[member.place] === member;

  return {
    add(member) {
      put(member, members.length);
    },
    remove(member) {
      if (has(member)) {
        const last = members.pop()!;
        if (last !== member) {
          put(last, member.place);
        }
        member.place = -1;
      }
    },
    has,
    clear() {
      members = [];
    },
    draw(count, random) {
      const drawn = Math.min(count, members.length);
      // The drawn ones change places with the first.
      for (let place = 0; place < drawn; place++) {
        const other = place + Math.floor(random.uniform() * (members.length - place));
        const [here, there] = [members[place]!, members[other]!];
        put(there, place);
        put(here, other);
      }
      return members.slice(0, drawn);
    },
  };
}
