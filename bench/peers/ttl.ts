/**
 * A cache that forgets by time: lru-cache, 30 s or `PEER_TTL_MS`, in front of one prepared query. Answers are stale for
 * as long.
 */
import { LRUCache } from 'lru-cache';
import { answer, readQuestion, serve, type Identity, type Question } from './peer.js';
import { askPrepared, createPool } from './postgres.js';

const TTL_MS = Number(process.env['PEER_TTL_MS'] ?? 30_000);
/** As many as Gatebell keeps of each kind by default. */
const ENTRIES_MAX = 100_000;

interface Finding {
  readonly identity: Identity | null;
}

const pool = createPool();
const cache = new LRUCache<string, Finding, Question>({
  max: ENTRIES_MAX,
  ttl: TTL_MS,
  fetchMethod: async (_key, _stale, { context }) => ({ identity: await askPrepared(pool, context) }),
});

serve((request, response) => {
  const question = readQuestion(request);
  const key = `${question.host} ${question.token}`;
  const found = cache.get(key);
  if (found !== undefined) {
    answer(response, found.identity);
    return;
  }
  // Many who miss the same share one query.
  cache.forceFetch(key, { context: question }).then(
    ({ identity }) => {
      answer(response, identity);
    },
    () => {
      response.writeHead(503, { 'Content-Length': 0 }).end();
    },
  );
});
