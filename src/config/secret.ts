/**
 * Secrets among the settings. One comes from its variable, or from the file that `<VARIABLE>_FILE` (or the flag
 * `--…-file`) names, as container platforms hand secrets over. There is no flag for the secret itself: everybody on the
 * machine can read a command line. Error messages never contain secrets.
 */
import { readFileSync } from 'node:fs';

/** One value that was refused. */
export interface ConfigProblem {
  readonly name: string;
  /** Of a secret, `***`. */
  readonly value: string;
  readonly allowed: string;
}

/** The variables that a secret may come from. */
export function secretVariables(variable: string): readonly [value: string, file: string] {
  return [variable, `${variable}_FILE`];
}

/** More is no secret but a mistake. */
const SECRET_FILE_CHARACTERS_MAX = 65_536;

/** The text of a setting, and where it is from: what a problem with it is called, and what of it may be shown. */
export interface GivenText {
  readonly name: string;
  readonly shown: string;
  readonly text: string;
  /** Nobody has given it. */
  readonly isDefault?: true;
}

/** Reads a file of text; throws when it cannot be read. */
export type ReadText = (path: string) => string;

/** From the file system. */
export const readTextFile: ReadText = path => readFileSync(path, 'utf8');

/** Takes note of a problem. */
export type Refuse = (problem: ConfigProblem) => undefined;

/** The secret in a file, without the line end that editors leave there. */
function secretFromFile(name: string, path: string, readText: ReadText, refuse: Refuse): GivenText | undefined {
  let text: string;
  try {
    text = readText(path).replace(/\r?\n$/, '');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
    return refuse({ name, value: path, allowed: `the path of a file that can be read; this one cannot (${code})` });
  }
  if (text === '' || text.length > SECRET_FILE_CHARACTERS_MAX) {
    return refuse({
      name,
      value: path,
      allowed: `the path of a file with 1 to ${SECRET_FILE_CHARACTERS_MAX} characters; this one has ${text.length}`,
    });
  }
  return { name, shown: '***', text };
}

/** The text of a secret; null if none is given, undefined if it was refused. */
export function findSecret(
  { variable, flag }: { readonly variable: string; readonly flag: string },
  pathOfFlag: string | undefined,
  env: NodeJS.ProcessEnv,
  readText: ReadText,
  refuse: Refuse,
): GivenText | null | undefined {
  if (pathOfFlag !== undefined) {
    return secretFromFile(`--${flag}`, pathOfFlag, readText, refuse);
  }
  const [, fileVariable] = secretVariables(variable);
  const text = env[variable] ?? '';
  const path = env[fileVariable] ?? '';
  if (text !== '' && path !== '') {
    return refuse({ name: fileVariable, value: path, allowed: `one of ${variable} and ${fileVariable}, not both` });
  }
  return path !== ''
    ? secretFromFile(fileVariable, path, readText, refuse)
    : text !== ''
      ? { name: variable, shown: '***', text }
      : null;
}
