/** What the README and docs/credentials.md tell people to type is typed here. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CONFIG_VARIABLES, readConfig } from '../../src/config/config.js';
import { run } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { becomesLive, CLI, startReplica } from '../support/replica.js';

const file = (name: string): string => readFileSync(fileURLToPath(new URL(`../../${name}`, import.meta.url)), 'utf8');
const readme = file('README.md');
const credentials = file('docs/credentials.md');
const blocks = (language: string, text = readme): string[] =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, 'gm'))].map(([, block]) => block ?? '');
const settingsIn = (block = ''): Record<string, string> =>
  Object.fromEntries([...block.matchAll(/^export (\w+)=(\S+)$/gm)].map(([, name, value]) => [name!, value!]));

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
});

afterAll(() => database.drop());

test('the commands of "Use it", in a shell, and the SQL after them', async () => {
  const [commands] = blocks('sh');
  const lines = (commands ?? '').trim().split('\n');
  expect(lines.at(-1)).toBe('gatebell serve');
  const script = lines
    .slice(0, -1)
    .map(line => (line.startsWith('export DATABASE_URL=') ? `export DATABASE_URL='${database.url}'` : line))
    .join('\n');
  const outcome = await run('sh', ['-ec', `gatebell() { '${process.execPath}' '${CLI}' "$@"; }\n${script}`]);
  expect(outcome.stderr).toBe('');
  expect(outcome.code).toBe(0);
  expect(outcome.stdout).toContain('All is well.');
  const token = /gb_\S+/.exec(outcome.stdout)?.[0] ?? '';

  const replica = await startReplica(database.url);
  try {
    await becomesLive(replica, 0);
    const ask = { host: 'photos.example.com', uri: '/admin', token };
    expect((await replica.ask(ask)).reason).toBe('granted');
    const [statements] = blocks('sql');
    await database.sql(statements ?? '');
    expect((await replica.ask(ask)).status).toBe(401);

    const killed = await inShell(blocks('sh')[1] ?? '');
    expect(killed.stderr).toBe('');
    expect(killed.stdout).toMatch(/denied on 1 of 1 replicas in \d+ ms\n.*applied on 1 of 1 replicas in \d+ ms\n$/s);
  } finally {
    await replica.stop();
  }
});

/** Runs commands in a shell in which `gatebell` is the command, on the test's database. */
const inShell = (commands: string): ReturnType<typeof run> =>
  run('sh', [
    '-ec',
    `export DATABASE_URL='${database.url}'; gatebell() { '${process.execPath}' '${CLI}' "$@"; }\n${commands}`,
  ]);

test('the commands in sentences', async () => {
  const commands = [...readme.matchAll(/`(gatebell (?:app|route|user|grant) [^`]*--[^`]*)`/g)].map(([, one]) => one!);
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
  const env = settingsIn(blocks('sh', credentials).find(block => block.includes('GATEBELL_JWT_ISSUER')));
  expect(readConfig({}, env).jwt).toMatchObject({ audiences: ['gatebell'], claim: 'sub', leewayMs: 30_000 });

  const outcome = await inShell(blocks('sh', credentials).find(block => block.includes('gatebell jwt revoke')) ?? '');
  expect(outcome.stderr).toBe('');
  expect(outcome.stdout).toMatch(/"7f1c.*" was revoked\n[^]*all JWTs of alice [^]*were revoked\n/);
});

test('the settings, the grant and the SQL of "Sign-in for browsers"', async () => {
  const block = blocks('sh', credentials).find(text => text.includes('GATEBELL_OIDC_ISSUER')) ?? '';
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
  const [snippet] = blocks('js');
  const example = file('examples/own-table.mjs');
  const definition = /const prices = [^]*?\n\}\);/.exec(snippet ?? '')?.[0];
  expect(definition).toBeDefined();
  expect(example).toContain(definition);
  expect(example).toContain(`select gatebell.watch('prices', 'price', '{sku}', '{cents}')`);
});

test('every setting is in the table', () => {
  for (const variable of CONFIG_VARIABLES) {
    expect(readme).toContain(`\`${variable}\``);
  }
});

test('the commands of "See it work" are scripts of the package', () => {
  expect(blocks('console')[0]).toMatch(/^\$ npm ci && npm start\n/);
  const { scripts } = JSON.parse(file('package.json')) as { scripts: Record<string, string> };
  expect(scripts['start']).toBe('exec node dist/cli.js dev');
  expect(scripts['test']).toBeDefined();
});

test('every file that is linked is there', () => {
  for (const [, link] of readme.matchAll(/\]\(([^):]+)\)/g)) {
    expect(() => readFileSync(fileURLToPath(new URL(`../../${link}`, import.meta.url)), 'utf8'), link).not.toThrow(
      /ENOENT/,
    );
  }
});
