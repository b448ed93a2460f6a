/**
 * Configuration: flags, then environment, then defaults. Every value is parsed here. A bad one is refused at start with
 * its name, the value and what is allowed, and all bad ones at once.
 */
import { disagreements } from './agreement.js';
import { findText, type Sources } from './given.js';
import { readJwtConfig } from './jwt.js';
import { hasPassword, libpqProblems } from './libpq.js';
import { readTextFile, type ConfigProblem, type ReadText } from './secret.js';
import { shownOf, variablesOf, type Setting } from './setting.js';
import { SETTING_KEYS, SETTINGS, type Config, type SettingKey, type Values } from './settings.js';
import { JWT_SETTINGS } from './settings/jwt.js';
import { defaultFenceIntervalMs } from './settings/replica.js';

export { CONFIG_FLAGS, CONFIG_VARIABLES, type Config, type SettingKey } from './settings.js';

/** The configuration cannot be used; the message has a line for each problem. */
export class ConfigError extends Error {
  readonly code = 'config';
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super(
      problems.map(({ name, value, allowed }) => `${name} is ${JSON.stringify(value)}; allowed: ${allowed}`).join('\n'),
    );
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** Texts of the flags that were given, by their keys; of a secret, the path of its file. */
type Flags = Readonly<Partial<Record<SettingKey, string>>>;

/** What became of one setting. */
interface Read {
  /** Null: none was given, and there is no default; or it was refused. */
  readonly value: unknown;
  /** Whether it was given or has a default, well or badly. */
  readonly isPresent: boolean;
  /** The name that it was given by, of a variable or a flag; null: it was not given. */
  readonly givenAs: string | null;
  readonly isRefused: boolean;
}

function readSetting(setting: Setting, flagged: string | undefined, sources: Sources): Read {
  const given = findText(setting, flagged, sources);
  if (given === null || given === undefined) {
    return { value: null, isPresent: given === undefined, givenAs: null, isRefused: given === undefined };
  }
  const { name, shown, text } = given;
  const givenAs = given.isDefault === true ? null : name;
  const value = setting.parse(text);
  if (value === undefined) {
    const reason = setting.explain?.(text) ?? null;
    const allowed = reason === null ? setting.allowed : `${setting.allowed}; ${reason}`;
    sources.refuse({ name, value: shown, allowed });
    return { value: null, isPresent: true, givenAs, isRefused: true };
  }
  if (setting.kind === 'connection' && flagged !== undefined && hasPassword(flagged)) {
    const variables = variablesOf(setting).join(', ');
    sources.refuse({
      name,
      value: shownOf(setting, text),
      allowed:
        'a connection string without a password: everybody on the machine can read a command line; ' +
        `use ${variables} or PGPASSWORD`,
    });
  }
  return { value, isPresent: true, givenAs, isRefused: false };
}

/**
 * Reads the configuration. Flags win over environment variables; an empty variable counts as unset.
 *
 * @param flags texts of the flags that were given, by their keys; of a secret, the path of its file
 * @param warn receives a message for each variable that is ignored
 * @throws ConfigError
 */
export function readConfig(
  flags: Flags,
  env: NodeJS.ProcessEnv,
  readText: ReadText = readTextFile,
  warn: (message: string) => void = () => undefined,
): Config {
  const problems: ConfigProblem[] = [];
  const refuse = (problem: ConfigProblem): undefined => {
    problems.push(problem);
    return undefined;
  };
  const sources: Sources = { env, readText, refuse, warn };
  const read = new Map(SETTING_KEYS.map(key => [key, readSetting(SETTINGS[key], flags[key], sources)]));
  const keysThat = (is: (one: Read) => boolean): ReadonlySet<SettingKey> =>
    new Set([...read].filter(([, one]) => is(one)).map(([key]) => key));
  const valuesOf = (keys: readonly SettingKey[]): object =>
    Object.fromEntries(keys.map(key => [key, read.get(key)?.value]));
  // Each was read by its own parser. What was refused is null and never used: in the end this function throws.
  const values = valuesOf(SETTING_KEYS) as Values;
  const config: Config = {
    ...(valuesOf(SETTING_KEYS.filter(key => !(key in JWT_SETTINGS))) as Omit<Values, keyof typeof JWT_SETTINGS>),
    fenceIntervalMs: values.fenceIntervalMs ?? defaultFenceIntervalMs(values.leaseMs),
    jwt: readJwtConfig(
      values,
      keysThat(({ isPresent }) => isPresent),
      refuse,
    ),
  };
  const refused = keysThat(({ isRefused }) => isRefused);
  const givenAs = (key: SettingKey): string | null => read.get(key)?.givenAs ?? null;
  problems.push(...disagreements(config, refused, givenAs), ...libpqProblems(env));
  if (problems.length > 0) {
    throw new ConfigError(problems);
  }
  return config;
}

/** Whether anything says where Postgres is. */
export function namesDatabase(config: Pick<Config, 'databaseUrl'>, env: NodeJS.ProcessEnv): boolean {
  return (
    config.databaseUrl !== null || ['PGHOST', 'PGDATABASE', 'PGUSER', 'PGPORT'].some(name => (env[name] ?? '') !== '')
  );
}
