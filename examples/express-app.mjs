// The gate inside an Express application of your own, instead of a process of its own.
//
//   DATABASE_URL=postgres://… PORT=3000 node examples/express-app.mjs
import { BlockList } from 'node:net';
import express from 'express';
import { createAuthHandler, createFactReader, createPostgresCoherence } from 'gatebell';

const coherence = createPostgresCoherence({ connectionString: process.env.DATABASE_URL });
const reader = createFactReader(coherence, ({ topic, key, problem }) => console.error(`${topic} ${key}: ${problem}`));
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
  server.close(() => void coherence.stop());
  server.closeIdleConnections();
});
