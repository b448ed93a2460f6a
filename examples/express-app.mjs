// The gate inside an Express application of your own, instead of a process of its own.
//
//   DATABASE_URL=postgres://… PORT=3000 node examples/express-app.mjs
import { BlockList } from 'node:net';
import express from 'express';
import { createAuthHandler, createPostgresCoherence, factCaches } from 'gatebell';

const coherence = createPostgresCoherence({ connectionString: process.env.DATABASE_URL });
const facts = factCaches(({ subject, key, problem }) => console.error(`${subject} ${key}: ${problem}`));
const reader = coherence.reader({
  credential: coherence.coherentCache(facts.credential),
  user: coherence.coherentCache(facts.user),
  app: coherence.coherentCache(facts.app),
  route: coherence.coherentCache(facts.route),
  grant: coherence.coherentCache(facts.grant),
});
const trustedProxies = new BlockList();
trustedProxies.addSubnet('127.0.0.0', 8);

const app = express();
app.use(createAuthHandler({ reader, cookieName: 'gatebell', loginUrl: null, trustedProxies, observe: () => {} }));
app.get('/hello', (request, response) => {
  response.send('hello\n');
});

coherence.start();
const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`listening on port ${server.address().port}`);
});
process.on('SIGTERM', () => {
  server.close(() => coherence.stop());
  server.closeIdleConnections();
});
