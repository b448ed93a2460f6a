// The auth endpoints inside an Express application of your own, instead of a process of its own: point the proxy's
// forward-auth at it.
//
//   DATABASE_URL=postgres://… PORT=3000 node examples/forward-auth.mjs
import express from 'express';
import { createGatebell } from 'gatebell';
import { forwardAuth } from 'gatebell/express';

const gatebell = createGatebell({ connectionString: process.env.DATABASE_URL });

const app = express();
app.use(forwardAuth(gatebell, { trustedProxies: '127.0.0.0/8, ::1' }));
app.get('/hello', (request, response) => {
  response.send('hello\n');
});

const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`listening on port ${server.address().port}`);
});
process.on('SIGTERM', () => {
  server.close(() => void gatebell.close());
  server.closeIdleConnections();
});
