/** The table of the listener's states: what leads where, and what cannot happen. */
import { describe, expect, test } from 'vitest';
import { nextState, TRANSITIONS, type ListenerEvent } from '../../../../src/coherence/proof/listener-states.js';
import type { ListenerState } from '../../../../src/coherence/observation.js';

const states = Object.keys(TRANSITIONS) as ListenerState[];
const events = Object.keys(TRANSITIONS.down) as ListenerEvent[];
const cells = states.flatMap(state => events.map(event => ({ state, event, next: TRANSITIONS[state][event] })));

test.each(cells.filter(({ next }) => next !== 'impossible'))('$event makes $state $next', ({ state, event, next }) => {
  expect(nextState(state, event)).toBe(next);
});

test.each(cells.filter(({ next }) => next === 'impossible'))('$event in $state is a mistake', ({ state, event }) => {
  expect(() => nextState(state, event)).toThrow(`the listener is ${state}, where ${event} cannot happen`);
});

describe('the table', () => {
  test('reaches every state from down', () => {
    const reached = new Set<string>(['down']);
    for (const state of reached) {
      for (const { next } of cells.filter(cell => cell.state === state && cell.next !== 'impossible')) {
        reached.add(next);
      }
    }
    expect([...reached].sort()).toEqual([...states].sort());
  });

  test('leads down from every other state when the connection is given up', () => {
    expect(states.filter(state => state !== 'down').map(state => nextState(state, 'given_up'))).toEqual(
      Array.from({ length: states.length - 1 }, () => 'down'),
    );
  });

  test('makes nothing live but a proof, or a lease that still holds', () => {
    const causes = cells.filter(({ state, next }) => next === 'live' && state !== 'live').map(({ event }) => event);
    expect(new Set(causes)).toEqual(new Set(['fence_proved', 'lease_holds']));
  });

  test('needs a proof of the same epoch before a lease can hold', () => {
    const holds = cells.filter(({ event, next }) => event === 'lease_holds' && next !== 'impossible');
    expect(holds.map(({ state }) => state).sort()).toEqual(['live', 'unproven']);
  });
});
