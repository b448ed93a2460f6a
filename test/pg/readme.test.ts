/** What the README tells people to type is typed here. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CONFIG_VARIABLES, readConfig } from '../../src/config/config.js';
import { run } from '../support/command.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { becomesLive, CLI, startReplica } from '../support/replica.js';

const file = (name: string): string => readFileSync(fileURLToPath(new URL(`../../${name}`, import.meta.url)), 'utf8');
const readme = file('README.md');
const blocks = (language: string): string[] =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, 'gm'))].map(([, block]) => block ?? '');

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

    const killed = await run('sh', [
      '-ec',
      `export DATABASE_URL='${database.url}'; gatebell() { '${process.execPath}' '${CLI}' "$@"; }\n${blocks('sh')[1]}`,
    ]);
    expect(killed.stderr).toBe('');
    expect(killed.stdout).toMatch(/denied on 1 of 1 replicas in \d+ ms\n.*applied on 1 of 1 replicas in \d+ ms\n$/s);
  } finally {
    await replica.stop();
  }
});

test('the settings and commands of "JWTs"', async () => {
  const settings = blocks('sh').find(block => block.includes('GATEBELL_JWT_ISSUER'));
  const env = Object.fromEntries(
    [...(settings ?? '').matchAll(/^export (\w+)=(\S+)$/gm)].map(([, name, value]) => [name, value]),
  );
  expect(readConfig({}, env).jwt).toMatchObject({ audiences: ['gatebell'], claim: 'sub', leewayMs: 30_000 });

  const commands = blocks('sh').find(block => block.includes('gatebell jwt revoke'));
  const outcome = await run('sh', [
    '-ec',
    `export DATABASE_URL='${database.url}'; gatebell() { '${process.execPath}' '${CLI}' "$@"; }\n${commands}`,
  ]);
  expect(outcome.stderr).toBe('');
  expect(outcome.stdout).toMatch(/"7f1c.*" was revoked\n[^]*all JWTs of alice [^]*were revoked\n/);
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
