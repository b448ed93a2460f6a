/** What the declaration of one setting says, and what follows from it. */
import { secretVariables } from './secret.js';

/** A setting, declared once. Its value is what `parse` returns; without a `fallback` it may be null. */
export interface Setting {
  /** The environment variable. */
  readonly variable: string;
  /** Of a secret it ends in `-file`, and its value is the path of a file. */
  readonly flag: string;
  readonly help: string;
  /** What is allowed, in words. */
  readonly allowed: string;
  /** The default, as a text like those that people give. */
  readonly fallback?: string;
  /** The default in words, where it depends on something else. */
  readonly computed?: string;
  /** Reads a text; undefined: it is not allowed. */
  readonly parse: (text: string) => unknown;
  /** What exactly is wrong with a text that is not allowed, if that can be said; else `allowed` has to do. */
  readonly explain?: (text: string) => string | null;
  /** What an error shows of a text that is not allowed; default: all of it. */
  readonly mask?: (text: string) => string;
  /**
   * `secret`: never shown; from its variable or from a file, and its flag names a file. `connection`: never shown; from
   * its variable or from a file, and its flag must not hold a password.
   */
  readonly kind?: 'secret' | 'connection';
}

/** The values that settings have once they are read. */
export type ValuesOf<Settings extends Readonly<Record<string, Setting>>> = {
  readonly [Key in keyof Settings]:
    | Exclude<ReturnType<Settings[Key]['parse']>, undefined>
    | (Settings[Key] extends { readonly fallback: string } ? never : null);
};

/** The variables that a setting is read from. */
export const variablesOf = ({ variable, kind }: Setting): readonly string[] =>
  kind === undefined ? [variable] : secretVariables(variable);

/** The default, in words; null: none. */
export const defaultOf = ({ computed, fallback }: Setting): string | null => computed ?? fallback ?? null;

/** What an error may show of a text. */
export const shownOf = ({ kind, mask }: Setting, text: string): string =>
  // A password may stand anywhere in a connection string: what is refused is of no known form.
  kind === undefined ? (mask?.(text) ?? text) : '***';

/** A URL without its user and password. */
export const maskUser = (url: string): string => url.replace(/:\/\/.*@/, '://***@');
