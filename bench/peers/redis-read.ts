/** A session store in Redis, one read a request: the way of oauth2-proxy. */
import { answering, serve } from './peer.js';
import { admit, connectRedis, readRules, readSession } from './sessions.js';

const redis = connectRedis();
const rules = await readRules();

serve(
  answering(async question => {
    const session = await readSession(redis, question);
    return session === null ? null : admit(rules, question, session);
  }),
);
