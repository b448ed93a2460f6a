/**
 * A session store in Redis, a read and a write a request: the way of Authelia, which notes when the session was last
 * used.
 */
import { answering, serve } from './peer.js';
import { admit, connectRedis, readRules, readSession, SESSION_SECONDS, sessionKey } from './sessions.js';

const redis = connectRedis();
const rules = await readRules();

serve(
  answering(async question => {
    const session = await readSession(redis, question);
    if (session === null) {
      return null;
    }
    session.lastActivityMs = Date.now();
    await redis.set(sessionKey(question.token), JSON.stringify(session), 'EX', SESSION_SECONDS);
    return admit(rules, question, session);
  }),
);
