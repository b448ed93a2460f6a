/** Header templates, as people type them: `Name: template`. */
import { compileHeaders, TemplateError } from '../../auth/header-template.js';
import { collect } from '../define.js';
import { UsageError } from '../errors.js';
import { textsOf, type Several } from './given.js';

/** The option of commands that store header templates. */
export const HEADER: readonly [flags: string, help: string, parse: typeof collect] = [
  '--header <pair>',
  "header template, 'Name: {{user.name}}', sent with every 200; may be repeated",
  collect,
];

/** The option that clears them. */
export const NO_HEADER = ['--no-header', 'clear all header templates'] as const;

/**
 * Reads pairs as the JSON of a column `headers`; undefined leaves what is stored as it is.
 *
 * @throws UsageError if one is no pair, or no template
 */
export function readHeaderPairs(given: Several | undefined): string | undefined {
  const pairs = textsOf(given);
  if (pairs === undefined) {
    return undefined;
  }
  const headers = Object.fromEntries(
    pairs.map(pair => {
      const colon = pair.indexOf(':');
      if (colon < 1) {
        throw new UsageError(`header ${JSON.stringify(pair)} is not allowed: give it as 'Name: template'`);
      }
      return [pair.slice(0, colon).trim(), pair.slice(colon + 1).trim()];
    }),
  );
  try {
    compileHeaders(headers);
  } catch (error) {
    throw error instanceof TemplateError ? new UsageError(error.message) : error;
  }
  return JSON.stringify(headers);
}
