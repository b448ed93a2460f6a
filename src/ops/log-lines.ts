/**
 * What each observation says in the log, and at which level. No line holds a secret: tokens are never observed,
 * connection strings never printed.
 */
import { UNIX_PEER } from '../http/peer.js';
import { REFUSAL_PAGES } from '../sign-in/refusal.js';
import type { Observation } from './observation.js';

/** Least level first. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface Line {
  readonly level: LogLevel;
  readonly message: string;
}

/** An error in one line. */
export function errorText(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map(errorText).join('; ');
  }
  return error instanceof Error ? error.message : String(error);
}

const peerText = (peer: string | null): string =>
  peer === null ? 'a peer that has gone' : peer === UNIX_PEER ? 'a peer on the Unix socket' : peer;

/** What else there is to say, after a blank; nothing if there is nothing. */
const inBrackets = (more: unknown): string => (more === null ? '' : ` (${errorText(more)})`);

/** The line of an observation. */
export function describe(observation: Observation): Line {
  switch (observation.event) {
    case 'listener_state':
      return {
        level:
          observation.to === 'unproven'
            ? 'warn'
            : [observation.from, observation.to].includes('live')
              ? 'info'
              : 'debug',
        message: `listener: ${observation.from} -> ${observation.to}`,
      };
    case 'connection_opened':
      return { level: 'info', message: 'listening to Postgres' };
    case 'connection_failed':
      return {
        level: 'warn',
        message:
          `cannot listen to Postgres: ${errorText(observation.error)}; next try in ` +
          `${Math.round(observation.retryMs)} ms`,
      };
    case 'connection_closed':
      return {
        level: observation.cause === 'stopped' ? 'info' : 'warn',
        message: `listening connection given up: ${observation.cause}${inBrackets(observation.error)}`,
      };
    case 'fence_proven':
      return {
        level: 'debug',
        message: `fence proven${observation.rttMs === null ? '' : ` in ${observation.rttMs.toFixed(2)} ms`}`,
      };
    case 'fence_failed':
      return {
        // The end of the epoch has a line of its own, which says why; at an orderly stop it is no problem at all.
        level: observation.cause === 'epoch_ended' ? 'debug' : 'warn',
        message: `fence failed: ${observation.cause}${inBrackets(observation.error)}`,
      };
    case 'fence_slow':
      return {
        level: 'warn',
        message: `a fence took ${Math.round(observation.ageMs)} ms: too near the lease of ${observation.leaseMs} ms`,
      };
    case 'signal':
      return { level: 'debug', message: `signal: ${observation.topic}, ${observation.keys ?? 'all'} keys` };
    case 'invalidation':
      return { level: 'debug', message: `forgot ${observation.entries} facts of ${observation.topic}` };
    case 'flush':
      return { level: 'debug', message: `forgot everything: ${observation.cause}` };
    case 'message_malformed':
      return {
        level: 'warn',
        message:
          `a notification of ${observation.payloadBytes} bytes was not understood (${observation.problem}); ` +
          'everything was flushed',
      };
    case 'handler_failed':
      return {
        level: 'error',
        message:
          `a ${observation.handler} handler of topic ${observation.topic} failed: ` + errorText(observation.error),
      };
    case 'watch_changed':
      return observation.problem === null
        ? { level: 'info', message: `signals of topic ${observation.topic} are sure to come again` }
        : {
            level: 'error',
            message: `topic ${observation.topic} is not served from memory: ${observation.problem}`,
          };
    case 'load_batch':
      return {
        level: 'debug',
        message: `loaded ${observation.keys} facts of ${observation.topic} in ${observation.durationMs.toFixed(2)} ms`,
      };
    case 'load_failed':
      return {
        level: 'warn',
        message:
          `${observation.keys} facts of ${observation.topic} could not be loaded: ` + errorText(observation.error),
      };
    case 'load_refused':
      return { level: 'warn', message: `too many facts of ${observation.topic} wait to be loaded` };
    case 'audit':
      return {
        level: 'debug',
        message:
          `audit: read ${observation.facts} facts of ${observation.topic} again, ` +
          `${observation.differences} differ so far`,
      };
    case 'audit_stale':
      return {
        level: 'error',
        message:
          `audit: ${observation.facts} facts of ${observation.topic} were served and are stale, the oldest ` +
          `for up to ${Math.round(observation.ageMs)} ms; all of them are forgotten: something changes rows ` +
          'without a signal',
      };
    case 'audit_failed':
      return {
        level: 'warn',
        message: `audit: facts of ${observation.topic} could not be read again: ${errorText(observation.error)}`,
      };
    case 'decision':
      return {
        level: 'debug',
        message:
          `${observation.decision}: ${observation.reason} (${observation.dialect}, ` +
          `${observation.durationMs.toFixed(3)} ms)`,
      };
    case 'waiting':
      return { level: 'debug', message: `${observation.requests} requests wait for facts` };
    case 'shed':
      return { level: 'warn', message: 'too many requests wait for facts: those that memory cannot answer get 503' };
    case 'limited':
      return {
        level: 'warn',
        message:
          'a client has asked too often for what does not exist or takes much work: such requests of it get 503 ' +
          `(${observation.dialect})`,
      };
    case 'bad_request':
      return {
        level: 'info',
        message: `bad request (${observation.dialect}) from ${peerText(observation.peer)}: ${observation.problem}`,
      };
    case 'untrusted_proxy':
      return {
        level: 'info',
        message:
          `${peerText(observation.peer)} asked (${observation.dialect}), and is not trusted: it ` +
          (observation.peer === UNIX_PEER ? '' : 'is not in GATEBELL_TRUSTED_PROXIES, or ') +
          'did not show GATEBELL_PROXY_SECRET',
      };
    case 'request_refused':
      return {
        level: 'info',
        message:
          `a request from ${peerText(observation.peer)} was answered ${observation.status}: ` + observation.problem,
      };
    case 'jwt_verified':
      return { level: 'debug', message: `a JWT was looked at: ${observation.result}` };
    case 'jwks_refreshed':
      return {
        level: observation.changed ? 'info' : 'debug',
        message:
          `JWT key set: ${observation.keys} public keys` +
          (observation.ignored === 0 ? '' : `, ${observation.ignored} others ignored`) +
          (observation.changed ? '' : ', as before'),
      };
    case 'jwks_failed':
      return {
        level: 'warn',
        message:
          `the JWT key set could not be fetched: ${errorText(observation.error)}; next try in ` +
          `${Math.round(observation.retryMs)} ms`,
      };
    case 'decision_failed':
      return { level: 'error', message: `a decision failed: ${errorText(observation.error)}` };
    case 'sign_in':
      return {
        level: 'info',
        message: `user ${observation.userId} has signed in: session ${observation.credentialId}`,
      };
    case 'sign_in_refused':
      return {
        level: REFUSAL_PAGES[observation.reason].status === 503 ? 'warn' : 'info',
        message: `sign-in refused: ${observation.reason}${inBrackets(observation.detail)}`,
      };
    case 'sign_in_failed':
      return { level: 'error', message: `a sign-in failed: ${errorText(observation.error)}` };
    case 'sign_out':
      return {
        level: 'info',
        message: observation.credentialId === null ? 'signed out' : `signed out: session ${observation.credentialId}`,
      };
    case 'provider_discovered':
      return { level: 'info', message: `people can sign in with ${observation.issuer}` };
    case 'provider_failed':
      return {
        level: 'warn',
        message:
          `the identity provider cannot be used: ${observation.problem}; next try in ` +
          `${Math.round(observation.retryMs)} ms`,
      };
    case 'bad_row':
      return {
        level: 'error',
        message:
          `${observation.topic} ${JSON.stringify(observation.key)} cannot be used, its app is denied: ` +
          observation.problem,
      };
    case 'query':
      return { level: 'debug', message: `query: ${observation.query}` };
    case 'pool_connection_lost':
      return { level: 'warn', message: `a pool connection was lost: ${errorText(observation.error)}` };
    case 'listening':
      return {
        level: 'info',
        message: `replica ${observation.replica}: auth on ${observation.auth}, ops on ${observation.ops}`,
      };
    case 'ops_failed':
      return { level: 'error', message: `a page of the ops listener failed: ${errorText(observation.error)}` };
    case 'page_failed':
      return { level: 'error', message: `a page of the auth port failed: ${errorText(observation.error)}` };
    case 'worker_started':
      return { level: 'info', message: `worker ${observation.worker} is up` };
    case 'worker_ended':
      return {
        level: 'error',
        message:
          `worker ${observation.worker} ended: ${observation.reason}; another one is started in ` +
          `${Math.round(observation.retryMs)} ms`,
      };
    case 'stopping':
      return { level: 'info', message: `${observation.signal}: not ready any more, finishing what is under way` };
    case 'stopped':
      return { level: 'info', message: 'stopped' };
  }
}
