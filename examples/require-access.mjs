// An Express application that decides its own requests, without any proxy: by the rows of its app in Postgres.
//
//   DATABASE_URL=postgres://… APP=wiki.example.com PORT=3000 node examples/require-access.mjs
//
// LOGIN_URL, if set, is where browsers are sent to sign in.
import express from 'express';
import { createGatebell } from 'gatebell';
import { accessOf, requireAccess } from 'gatebell/express';

const gatebell = createGatebell({ connectionString: process.env.DATABASE_URL });

const app = express();
// Before everything that is protected. What stands above it is open to everybody.
app.get('/health', (request, response) => {
  response.send('ok\n');
});
app.use(requireAccess(gatebell, { app: process.env.APP, loginUrl: process.env.LOGIN_URL ?? null }));
app.get('/{*path}', (request, response) => {
  const { user, role } = accessOf(request);
  response.send(user === null ? 'hello stranger\n' : `hello ${user.name}, your role is ${role ?? 'not asked for'}\n`);
});

const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`listening on port ${server.address().port}`);
});
process.on('SIGTERM', () => {
  server.close(() => void gatebell.close());
  server.closeIdleConnections();
});
