/** The command: what it says of itself, and of what it cannot do. */
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { run } from '../support/command.js';
import { HELP, readArguments } from './arguments.js';
import { NEMESES } from './nemeses/index.js';

test('the help names every nemesis, once, with what it does', () => {
  for (const { name, does } of NEMESES) {
    expect(HELP.split(new RegExp(`^  ${name} `, 'm'))).toHaveLength(2);
    expect(HELP).toContain(`${does}\n`);
  }
  expect(readArguments(['--help'])).toBe('help');
});

test('the name of a nemesis can be given to --only', () => {
  const { name } = NEMESES[1]!;
  expect(readArguments(['--only', `calm,${name}`, '--quick'])).toMatchObject({
    nemeses: [{ name: 'calm' }, { name }],
    seconds: 4,
    replicas: 2,
    env: {},
  });
  expect(NEMESES.filter(nemesis => !/^[a-z0-9-]+$/.test(nemesis.name))).toEqual([]);
});

test.each([
  [['--only', 'calm,storm'], 'there is no nemesis storm'],
  [['--seconds', '0'], `--seconds is '0'`],
  [['--replicas', 'two'], `--replicas is 'two'`],
  [['--postgres', '16'], `--postgres is '16'`],
  [['--unknown'], '--unknown'],
])('wrong usage is refused: %j', (args, says) => {
  expect(() => readArguments(args)).toThrow(says);
});

test('wrong usage ends with exit code 2, and the help', async () => {
  const command = fileURLToPath(new URL('run.ts', import.meta.url));
  const { code, stderr } = await run(process.execPath, ['--import', 'tsx', command, '--only', 'storm']);
  expect(code).toBe(2);
  expect(stderr).toContain('there is no nemesis storm');
  expect(stderr).toContain(HELP.trim());
});
