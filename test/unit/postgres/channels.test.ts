/** Channels of a program's own: who hears what, across connections that come and go. */
import { beforeEach, expect, test } from 'vitest';
import { createChannels, type ChannelConnection, type Channels } from '../../../src/postgres/channels.js';
import type { CoherenceObservation } from '../../../src/coherence/observation.js';

let observations: CoherenceObservation[];
let channels: Channels;
let heard: string[];

beforeEach(() => {
  observations = [];
  heard = [];
  channels = createChannels(observation => observations.push(observation));
});

interface FakeConnection extends ChannelConnection {
  readonly calls: string[];
  /** What LISTEN answers from now on. */
  answer: () => Promise<void>;
}

function connect(answer: () => Promise<void> = () => Promise.resolve()): FakeConnection {
  const connection: FakeConnection = {
    calls: [],
    answer,
    listen(channel) {
      connection.calls.push(`listen ${channel}`);
      return connection.answer();
    },
    unlisten(channel) {
      connection.calls.push(`unlisten ${channel}`);
    },
  };
  channels.attach(connection);
  return connection;
}

/** Answers that were due are there. */
const turn = (): Promise<void> => new Promise(resolve => void setImmediate(resolve));

const hear = (name: string, channel = 'a'): (() => void) =>
  channels.on(channel, event => {
    heard.push(`${name} ${event.type === 'message' ? event.payload : event.type}`);
  });

test('a connection listens once for all who subscribe to a channel', async () => {
  hear('one');
  const connection = connect();
  hear('two');
  hear('three', 'b');
  await turn();
  channels.deliver('a', 'x');
  expect(connection.calls).toEqual(['listen a', 'listen b']);
  expect(heard).toEqual(['one listening', 'two listening', 'three listening', 'one x', 'two x']);
});

test('every new connection listens for all, and says so', async () => {
  hear('one');
  channels.detach(connect());
  const second = connect();
  await turn();
  expect(second.calls).toEqual(['listen a']);
  expect(heard).toEqual(['one listening']);
});

test('nobody hears of a connection that ended before it listened, nor detaches its successor', async () => {
  hear('one');
  let answer = (): void => undefined;
  const first = connect(() => new Promise(resolve => (answer = resolve)));
  const second = connect(() => Promise.reject(new Error('lost')));
  channels.detach(first);
  answer();
  await turn();
  expect(heard).toEqual([]);
  second.answer = () => Promise.resolve();
  hear('two', 'b');
  await turn();
  expect(heard).toEqual(['two listening']);
});

test('the connection stops listening when the last has left, and listens again for the next', async () => {
  const connection = connect();
  const leave = [hear('one'), hear('two')];
  await turn();
  leave[0]!();
  leave[0]!();
  expect(connection.calls).toEqual(['listen a']);
  leave[1]!();
  hear('three');
  await turn();
  channels.deliver('a', 'x');
  expect(connection.calls).toEqual(['listen a', 'unlisten a', 'listen a']);
  expect(heard.slice(-2)).toEqual(['three listening', 'three x']);
});

test('a handler that throws is observed and harms nobody else', () => {
  const failure = new Error('a handler of the program');
  channels.on('a', () => {
    throw failure;
  });
  hear('two');
  channels.deliver('a', 'x');
  expect(heard).toEqual(['two x']);
  expect(observations).toEqual([{ event: 'handler_failed', topic: 'a', handler: 'subscriber', error: failure }]);
});
