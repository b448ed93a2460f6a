/** How it was before: Express, and two unprepared queries per request through a pool of four connections. */
import express from 'express';
import { identityHeaders, readQuestion, serve } from './peer.js';
import { askTwice, createPool } from './postgres.js';

const pool = createPool();
const app = express();
app.disable('x-powered-by');
// Express 5 answers 500 when the promise rejects.
// oxlint-disable-next-line oxc/no-async-endpoint-handlers
app.get('/auth/forward', async (request, response) => {
  const identity = await askTwice(pool, readQuestion(request));
  if (identity === null) {
    response.status(403).end();
  } else {
    response
      .set(Object.fromEntries(identityHeaders(identity)))
      .status(200)
      .end();
  }
});
serve(app);
