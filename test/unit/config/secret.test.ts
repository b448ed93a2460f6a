import { describe, expect, test } from 'vitest';
import { findSecret, type ConfigProblem, type GivenText } from '../../../src/config/secret.js';

interface Found {
  readonly given: GivenText | null | undefined;
  readonly problems: readonly ConfigProblem[];
}

const FILES: Readonly<Record<string, string>> = {
  '/run/secrets/key': 'correct horse\n',
  '/run/secrets/dos': 'correct horse\r\n',
  '/run/secrets/two-ends': 'correct horse\n\n',
  '/run/secrets/empty': '\n',
  '/run/secrets/long': 'correct horse'.repeat(10_000),
};

function find(env: NodeJS.ProcessEnv, pathOfFlag?: string): Found {
  const problems: ConfigProblem[] = [];
  const readText = (path: string): string => {
    const text = FILES[path];
    if (text === undefined) {
      throw Object.assign(new Error(`no such file: ${path}`), { code: 'ENOENT' });
    }
    return text;
  };
  const given = findSecret({ variable: 'THE_KEY', flag: 'the-key-file' }, pathOfFlag, env, readText, problem => {
    problems.push(problem);
    return undefined;
  });
  return { given, problems };
}

test('a secret comes from its variable, as it is', () => {
  expect(find({ THE_KEY: 'correct horse\n' }).given?.text).toBe('correct horse\n');
  expect(find({}).given).toBeNull();
  expect(find({ THE_KEY: '', THE_KEY_FILE: '' }).given).toBeNull();
});

test('or from the file that the other variable or the flag names, without its last line end', () => {
  for (const path of ['/run/secrets/key', '/run/secrets/dos']) {
    expect(find({ THE_KEY_FILE: path }).given?.text).toBe('correct horse');
    expect(find({}, path).given?.text).toBe('correct horse');
  }
  expect(find({ THE_KEY_FILE: '/run/secrets/two-ends' }).given?.text).toBe('correct horse\n');
});

test('the flag wins over both variables', () => {
  expect(find({ THE_KEY: 'x', THE_KEY_FILE: 'y' }, '/run/secrets/key')).toMatchObject({
    given: { name: '--the-key-file', text: 'correct horse' },
    problems: [],
  });
});

test('what may be shown of it is three asterisks', () => {
  expect(find({ THE_KEY: 'correct horse' }).given?.shown).toBe('***');
  expect(find({ THE_KEY_FILE: '/run/secrets/key' }).given?.shown).toBe('***');
});

describe('is refused', () => {
  test.each([
    ['both variables', { THE_KEY: 'correct horse', THE_KEY_FILE: '/x' }, 'one of THE_KEY and THE_KEY_FILE, not both'],
    ['a file that cannot be read', { THE_KEY_FILE: '/x' }, 'a file that can be read; this one cannot (ENOENT)'],
    ['an empty file', { THE_KEY_FILE: '/run/secrets/empty' }, '1 to 65536 characters; this one has 0'],
    ['a huge file', { THE_KEY_FILE: '/run/secrets/long' }, '1 to 65536 characters; this one has 130000'],
  ])('%s, by the name of the variable and with the path', (_, env, allowed) => {
    const { given, problems } = find(env);
    expect(given).toBeUndefined();
    expect(problems).toEqual([
      { name: 'THE_KEY_FILE', value: env.THE_KEY_FILE, allowed: expect.stringContaining(allowed) as string },
    ]);
    expect(JSON.stringify(problems)).not.toContain('horse');
  });
});
