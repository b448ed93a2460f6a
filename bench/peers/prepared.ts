/** No cache, done well: one prepared query per request, on bare `node:http`. */
import { answering, serve } from './peer.js';
import { askPrepared, createPool } from './postgres.js';

const pool = createPool();
serve(answering(question => askPrepared(pool, question)));
