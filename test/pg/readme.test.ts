/** What the README and the pages that it leads to tell people to type is typed here. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CONFIG_VARIABLES, readConfig } from '../../src/config/config.js';
import { freePort } from '../../src/dev/postgres.js';
import { run } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { becomesLive, CLI, startReplica, type Replica } from '../support/replica.js';
import { startServerProcess } from '../support/server-process.js';
import { findTool, hasTool } from '../support/tool.js';

const file = (name: string): string => readFileSync(fileURLToPath(new URL(`../../${name}`, import.meta.url)), 'utf8');
const readme = file('README.md');
const credentials = file('docs/credentials.md');
const operations = file('docs/operations.md');
const troubleshooting = file('docs/troubleshooting.md');
const blocks = (language: string, text = readme): string[] =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, 'gm'))].map(([, block]) => block ?? '');
/** The one block that holds this. */
function blockWith(words: string, language = 'sh', text = readme): string {
  const found = blocks(language, text).filter(block => block.includes(words));
  expect(found, words).toHaveLength(1);
  return found[0] ?? '';
}
const settingsIn = (block: string): Record<string, string> =>
  Object.fromEntries([...block.matchAll(/^export (\w+)=(\S+)$/gm)].map(([, name, value]) => [name!, value!]));

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
});

afterAll(() => database.drop());

/** Runs commands in a shell in which `gatebell` is the command, on the test's database. */
const inShell = (commands: string): ReturnType<typeof run> =>
  run('sh', [
    '-ec',
    `export DATABASE_URL='${database.url}'; gatebell() { '${process.execPath}' '${CLI}' "$@"; }\n${commands}`,
  ]);

describe('the recipe of the README, in order', () => {
  /** From `migrate up` to `serve`. */
  const setUp = blocks('sh').slice(0, blocks('sh').findIndex(block => block.includes('gatebell serve')) + 1);
  let token = '';
  let replica: Replica;

  afterAll(() => replica.stop());

  test('steps 1 to 4, in a shell', async () => {
    const lines = setUp.join('').trim().split('\n');
    const isAddress = (line: string): boolean => line.startsWith('export DATABASE_URL=');
    expect(lines.filter(isAddress)).toHaveLength(1);
    expect(lines.pop()).toBe('gatebell serve');
    const outcome = await inShell(lines.filter(line => !isAddress(line)).join('\n'));
    expect(outcome).toMatchObject({ stderr: '', code: 0 });
    expect(outcome.stdout).toContain('All is well.');
    token = /gb_\S+/.exec(outcome.stdout)?.[0] ?? '';

    replica = await startReplica(database.url);
    await becomesLive(replica, 0);
    const ask = { host: 'photos.example.com', uri: '/admin', token };
    expect((await replica.ask(ask)).reason).toBe('granted');
  });

  test.skipIf(!hasTool('caddy') || !hasTool('curl'))('steps 5 and 6, with Caddy and curl', async () => {
    const app = createServer((request, response) => {
      response.end(`the app has got ${String(request.headers['remote-user'])}\n`);
    });
    await once(app.listen(0, '127.0.0.1'), 'listening');
    const port = await freePort();
    const ours = (block: string): string =>
      block
        .replaceAll('photos.example.com:8080', `photos.example.com:${port}`)
        .replace('127.0.0.1:4280', new URL(replica.auth).host)
        .replace('127.0.0.1:8000', `127.0.0.1:${(app.address() as AddressInfo).port}`);

    const caddy = await startServerProcess(port, async scratch => {
      const caddyfile = path.join(scratch, 'Caddyfile');
      // Its admin endpoint has one fixed port.
      await writeFile(caddyfile, `{\n\tadmin off\n}\n${file('deploy/caddy/Caddyfile')}`);
      const commands = ours(blockWith('caddy run'))
        .replace('deploy/caddy/Caddyfile', caddyfile)
        .replace('caddy run', `exec ${findTool('caddy')} run`);
      const env = { HOME: scratch, XDG_DATA_HOME: scratch, XDG_CONFIG_HOME: scratch };
      return { program: 'sh', args: ['-ec', commands], env };
    });
    try {
      const outcome = await run('sh', ['-ec', ours(blockWith('curl -i'))], { TOKEN: token });
      expect(outcome.code).toBe(0);
      expect(outcome.stdout.match(/^HTTP\/1.1 \d+/gm)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 401']);
      expect(outcome.stdout).toContain('the app has got alice\n');
    } finally {
      await caddy.stop();
      app.close();
    }
  });

  test.skipIf(!hasTool('curl'))('the question of "Ask the gate itself", with curl', async () => {
    const question = blockWith('/auth/nginx', 'sh', troubleshooting);
    const outcome = await run('sh', ['-ec', question.replace('127.0.0.1:4280', new URL(replica.auth).host)], {
      TOKEN: token,
    });
    expect(outcome.code).toBe(0);
    expect(outcome.stdout).toMatch(/^HTTP\/1.1 200 OK\r\nX-Gatebell-Reason: granted\r\n[^]*^Remote-User: alice\r\n/m);
  });

  test('"Revoke access": the SQL, then the commands', async () => {
    const ask = { host: 'photos.example.com', uri: '/admin', token };
    const [statements] = blocks('sql');
    await database.sql(statements ?? '');
    expect((await replica.ask(ask)).status).toBe(401);

    const killed = await inShell(blockWith('gatebell barrier'));
    expect(killed.stderr).toBe('');
    expect(killed.stdout).toMatch(/denied on 1 of 1 replicas in \d+ ms\n.*applied on 1 of 1 replicas in \d+ ms\n$/s);
  });

  test('no block is left out', () => {
    const tried = [...setUp, blockWith('caddy run'), blockWith('curl -i'), blockWith('gatebell barrier')];
    expect(blocks('sh')).toEqual(tried);
    expect(blocks('sql')).toHaveLength(1);
  });
});

test('the commands in sentences', async () => {
  const commands = [...(readme + operations).matchAll(/`(gatebell (?:app|route|user|grant) [^`]*--[^`]*)`/g)].map(
    ([, one]) => one!,
  );
  expect(commands.length).toBeGreaterThanOrEqual(3);
  const outcome = await inShell(commands.join('\n'));
  expect(outcome).toMatchObject({ code: 0, stderr: '' });
  expect(await database.sql(`select host from gatebell.apps where name = 'previews'`)).toEqual([
    { host: '*.preview.example.com' },
  ]);
  expect(await database.sql('select path_prefix from gatebell.app_routes where preflight')).toEqual([
    { path_prefix: '/api' },
  ]);
});

test('the settings and commands of "JWTs"', async () => {
  const env = settingsIn(blockWith('GATEBELL_JWT_ISSUER', 'sh', credentials));
  expect(readConfig({}, env).jwt).toMatchObject({ audiences: ['gatebell'], claim: 'sub', leewayMs: 30_000 });

  const outcome = await inShell(blockWith('gatebell jwt revoke', 'sh', credentials));
  expect(outcome.stderr).toBe('');
  expect(outcome.stdout).toMatch(/"7f1c.*" was revoked\n[^]*all JWTs of alice [^]*were revoked\n/);
});

test('the settings, the grant and the SQL of "Sign-in for browsers"', async () => {
  const block = blockWith('GATEBELL_OIDC_ISSUER', 'sh', credentials);
  const config = readConfig({}, settingsIn(block), path => `the secret in ${path}`);
  expect(config).toMatchObject({ oidcClientId: 'gatebell', oidcClientSecret: 'the secret in /run/secrets/oidc' });

  const grant = /psql -c '(.*) TO your_role'/.exec(block)?.[1] ?? '';
  await database.sql('create role your_role');
  try {
    await database.sql(`${grant} to your_role`);
    expect(await database.sql(`select pg_has_role('your_role', 'gatebell_sign_in', 'usage') as may`)).toEqual([
      { may: true },
    ]);
  } finally {
    await database.sql('drop role your_role');
  }
  await database.sql(
    `insert into gatebell.credentials (user_id, kind, token_hash)
     select id, 'session', sha256('x') from gatebell.users where name = 'alice'`,
  );
  await database.sql(blocks('sql', credentials)[0] ?? '');
  expect(
    await database.sql(`select from gatebell.credentials where kind = 'session' and revoked_at is null`),
  ).toHaveLength(0);
});

test('the snippet of the library is that of the example', () => {
  const [snippet] = blocks('js', file('docs/library.md'));
  const example = file('examples/own-table.mjs');
  const definition = /const prices = [^]*?\n\}\);/.exec(snippet ?? '')?.[0];
  expect(definition).toBeDefined();
  expect(example).toContain(definition);
  expect(example).toContain(`select gatebell.watch('prices', 'price', '{sku}', '{cents}')`);
});

test('every setting is in the table of docs/configuration.md', () => {
  const settings = /^## Settings\n([^]*?)^## /m.exec(file('docs/configuration.md'))?.[1] ?? '';
  for (const variable of CONFIG_VARIABLES) {
    expect(settings).toContain(`\`${variable}\``);
  }
});

test('the commands of the first screen are scripts of the package', () => {
  expect(blocks('console')[0]).toMatch(/^\$ npm ci && npm start\n/);
  const { scripts } = JSON.parse(file('package.json')) as { scripts: Record<string, string> };
  expect(scripts['start']).toBe('exec node dist/cli.js dev');
  expect(scripts['test']).toBeDefined();
});
