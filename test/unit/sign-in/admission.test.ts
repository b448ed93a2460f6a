import { BlockList } from 'node:net';
import { expect, test } from 'vitest';
import { singleHeaders, type SingleHeaders } from '../../../src/auth/request/headers.js';
import { createClientRateLimiter } from '../../../src/auth/client-rate-limiter.js';
import { createAdmission, type Admission } from '../../../src/sign-in/admission.js';

const from = (address?: string): SingleHeaders =>
  singleHeaders(address === undefined ? [] : ['X-Forwarded-For', address]);
const admissionOf = (visitsMax: number, visitsOfSourceMax: number, burst = 100): Admission =>
  createAdmission(createClientRateLimiter({ burst, nowMs: () => 0 }), new BlockList(), {
    visitsMax,
    visitsOfSourceMax,
  });
const overloaded = expect.objectContaining({ code: 'overloaded' }) as unknown;

test('a bounded number is let in at once, and others when one has left', () => {
  const admission = admissionOf(2, 2);
  const first = admission.enter(from());
  admission.enter(from('192.0.2.1'));
  expect(() => admission.enter(from('192.0.2.2'))).toThrow(overloaded);
  first.leave(false);
  admission.enter(from('192.0.2.2'));
});

test('one client does not take all places', () => {
  const admission = admissionOf(10, 2);
  const visits = [admission.enter(from('192.0.2.1')), admission.enter(from('192.0.2.1'))];
  expect(() => admission.enter(from('192.0.2.1'))).toThrow(overloaded);
  admission.enter(from('192.0.2.2'));
  visits.forEach(visit => {
    visit.leave(false);
  });
  admission.enter(from('192.0.2.1'));
});

test('a client with too many misses is not let in', () => {
  const admission = admissionOf(10, 10, 2);
  for (let times = 0; times < 2; times++) {
    admission.enter(from('192.0.2.1')).leave(true);
  }
  expect(() => admission.enter(from('192.0.2.1'))).toThrow(overloaded);
  for (let times = 0; times < 5; times++) {
    admission.enter(from('192.0.2.2')).leave(false);
    admission.enter(from()).leave(true);
  }
});
