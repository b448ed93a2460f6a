/** Express 5 alone, with a constant answer: what its router and its response cost before anything is looked up. */
import express from 'express';
import { identityHeaders, serve, setting, type Identity } from './peer.js';

const headers = Object.fromEntries(identityHeaders(JSON.parse(setting('PEER_IDENTITY')) as Identity));

const app = express();
app.disable('x-powered-by');
app.get('/auth/forward', (_, response) => {
  response.set(headers).status(200).end();
});
serve(app);
