/**
 * The members of a set in no order, so that some can be drawn at random for the price of those drawn: nobody walks through a
 * hundred thousand. Each member knows its place, so that joining and leaving cost one move.
 */
import type { Random } from '../time/clock.js';

/** What can be in a roster; `place` is the roster's to write. */
export interface Member {
  place: number;
}

export interface RandomSet<M extends Member> {
  add(member: M): void;
  /** Does nothing if it is not in. */
  remove(member: M): void;
  has(member: M): boolean;
  clear(): void;
  /** So many different members, or all if there are fewer; every choice of them is as likely as any other. */
  draw(count: number, random: Random): M[];
}

/** Creates an empty roster. */
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
