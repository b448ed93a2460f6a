/** The settings of the log. */
import { oneOf } from '../parsers.js';
import type { Setting } from '../setting.js';

/** All of them. */
export const LOG_SETTINGS = {
  logFormat: {
    variable: 'GATEBELL_LOG_FORMAT',
    flag: 'log-format',
    help: 'how log lines look',
    allowed: 'text or json',
    fallback: 'text',
    parse: oneOf('text', 'json'),
  },
  logLevel: {
    variable: 'GATEBELL_LOG_LEVEL',
    flag: 'log-level',
    help: 'least level that is logged',
    allowed: 'debug, info, warn or error',
    fallback: 'info',
    parse: oneOf('debug', 'info', 'warn', 'error'),
  },
} as const satisfies Readonly<Record<string, Setting>>;
