/**
 * Configuration: flags, then environment, then defaults. Every value is parsed here; a bad one is refused at start with its name, the value
 * and what is allowed, all bad ones at once.
 */
import { signInProblems, type SignInSettings } from '../sign-in/settings.js';
import { readJwtConfig } from './jwt.js';
import {
  findSecret,
  readTextFile,
  secretVariables,
  type ConfigProblem,
  type GivenText,
  type ReadText,
  type Refuse,
} from './secret.js';
import { hasPassword, libpqProblems } from './libpq.js';
import { SETTINGS, type Config, type Setting, type SettingKey, type Values } from './settings.js';

export type { Config, SettingKey } from './settings.js';

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

const variablesOf = ({
  variable,
  secret,
  connection,
}: Pick<Setting<unknown>, 'variable' | 'secret' | 'connection'>): readonly string[] =>
  secret === true || connection === true ? secretVariables(variable) : [variable];

/**
 * What Kubernetes and Docker set for a service of this name: for a service `gatebell` GATEBELL_PORT is tcp://10.96.12.34:4280, for one named
 * `gatebell-ops` GATEBELL_OPS_PORT. Nobody has meant it as a setting.
 */
const SERVICE_LINK = /^(?:tcp|udp|sctp):\/\//;

const withReason = (allowed: string, reason: string | null = null): string =>
  reason === null ? allowed : `${allowed}; ${reason}`;

/** Every environment variable that is read, libpq's aside. */
export const CONFIG_VARIABLES: readonly string[] = Object.values(SETTINGS).flatMap(variablesOf);

/** A flag, for the help of a command. */
export interface ConfigFlag {
  readonly key: SettingKey;
  readonly flag: string;
  readonly help: string;
}

/** Defaults that depend on something, in words. */
const COMPUTED: Readonly<Partial<Record<SettingKey, string>>> = {
  jwtAlgorithms: 'RS256,ES256,EdDSA',
  replica: 'host name and process id',
  fenceIntervalMs: '1000, or a third of a shorter lease',
};

/** Every flag. */
export const CONFIG_FLAGS: readonly ConfigFlag[] = (Object.keys(SETTINGS) as SettingKey[]).map(key => {
  const setting = SETTINGS[key];
  const shown = COMPUTED[key] ?? setting.fallback;
  const help = `${setting.help} (${variablesOf(setting).join(' or ')}${shown === null ? '' : `, default ${shown}`})`;
  return { key, flag: setting.flag, help: setting.secret === true ? `file that holds the ${help}` : help };
});

/**
 * Reads the configuration. Flags win over environment variables; an empty variable is as good as none.
 *
 * @param flags texts of the flags that were given, by their keys; of a secret, the path of its file
 * @param warn told of variables that are ignored
 * @throws ConfigError
 */
export function readConfig(
  flags: Readonly<Partial<Record<SettingKey, string>>>,
  env: NodeJS.ProcessEnv,
  readText: ReadText = readTextFile,
  warn: (message: string) => void = () => undefined,
): Config {
  const problems: ConfigProblem[] = [];
  const refuse: Refuse = problem => {
    problems.push(problem);
    return undefined;
  };
  const find = (key: SettingKey): GivenText | null | undefined => {
    const setting = SETTINGS[key];
    const { variable, flag, fallback } = setting;
    const flagged = flags[key];
    if (setting.secret === true) {
      return findSecret(setting, flagged, env, readText, refuse);
    }
    if (setting.connection === true && flagged === undefined) {
      return findSecret(setting, undefined, env, readText, refuse);
    }
    const set = env[variable] === '' ? undefined : env[variable];
    const isLink = set !== undefined && variable.endsWith('_PORT') && SERVICE_LINK.test(set);
    if (isLink && flagged === undefined) {
      warn(
        `${variable} is ${JSON.stringify(set)}, as Kubernetes sets it for a service of this name: it is ignored` +
          ' (enableServiceLinks: false in the pod keeps such variables away)',
      );
    }
    const text = flagged ?? (isLink ? undefined : set) ?? fallback;
    const show = (value: string): string => {
      if (setting.connection === true) {
        // A password may stand anywhere in it: what is refused is of no known form.
        return '***';
      }
      return /Url$|^oidcIssuer$/.test(key) ? value.replace(/:\/\/.*@/, '://***@') : value;
    };
    return text === null ? null : { name: flagged === undefined ? variable : `--${flag}`, shown: show(text), text };
  };
  /** Settings that were given or have a default, well or badly. */
  const present = new Set<SettingKey>();
  const refused = new Set<SettingKey>();
  const read = <K extends SettingKey>(key: K): Values[K] => {
    const { allowed, parse, explain, connection } = SETTINGS[key];
    const given = find(key);
    if (given !== null) {
      present.add(key);
    }
    const parsed = given === null || given === undefined ? null : parse(given.text);
    if (parsed === undefined || given === undefined) {
      refused.add(key);
    }
    if (parsed === undefined) {
      problems.push({ name: given!.name, value: given!.shown, allowed: withReason(allowed, explain?.(given!.text)) });
    } else if (connection === true && flags[key] !== undefined && hasPassword(flags[key])) {
      const variables = variablesOf(SETTINGS[key]).join(', ');
      problems.push({
        name: given!.name,
        value: given!.shown,
        allowed: `a connection string without a password: everybody on the machine can read a command line; use ${variables} or PGPASSWORD`,
      });
    }
    // Settings without a default are nullable. What was refused is never used: in the end this function throws.
    return (parsed ?? null) as Values[K];
  };
  const leaseMs = read('leaseMs');
  const config: Config = {
    databaseUrl: read('databaseUrl'),
    listenUrl: read('listenUrl'),
    host: read('host'),
    port: read('port'),
    opsPort: read('opsPort'),
    leaseMs,
    fenceIntervalMs: read('fenceIntervalMs') ?? Math.min(1_000, Math.floor(leaseMs / 3)),
    auditIntervalMs: read('auditIntervalMs'),
    poolMax: read('poolMax'),
    drainMs: read('drainMs'),
    workers: read('workers'),
    channel: read('channel'),
    replica: read('replica'),
    cookie: read('cookie'),
    loginUrl: read('loginUrl'),
    oidcIssuer: read('oidcIssuer'),
    oidcClientId: read('oidcClientId'),
    oidcClientSecret: read('oidcClientSecret'),
    oidcScopes: read('oidcScopes'),
    oidcClaim: read('oidcClaim'),
    signInHost: read('signInHost'),
    cookieDomain: read('cookieDomain'),
    sessionHours: read('sessionHours'),
    trustedProxies: read('trustedProxies'),
    proxySecret: read('proxySecret'),
    unknownAppStatus: read('unknownAppStatus'),
    stripCredentials: read('stripCredentials'),
    opsToken: read('opsToken'),
    jwt: readJwtConfig(
      {
        jwtIssuer: read('jwtIssuer'),
        jwtAudience: read('jwtAudience'),
        jwtAlgorithms: read('jwtAlgorithms'),
        jwtJwksUrl: read('jwtJwksUrl'),
        jwtJwksRefreshSeconds: read('jwtJwksRefreshSeconds'),
        jwtKey: read('jwtKey'),
        jwtClaim: read('jwtClaim'),
        jwtLeewaySeconds: read('jwtLeewaySeconds'),
      },
      present,
      refuse,
    ),
    logFormat: read('logFormat'),
    logLevel: read('logLevel'),
  };
  if (config.fenceIntervalMs > config.leaseMs / 2) {
    problems.push({
      name: SETTINGS.fenceIntervalMs.variable,
      value: String(config.fenceIntervalMs),
      allowed: `at most half of ${SETTINGS.leaseMs.variable}, which is ${config.leaseMs}`,
    });
  }
  if (config.opsPort === config.port && config.port !== 0) {
    problems.push({
      name: SETTINGS.opsPort.variable,
      value: String(config.opsPort),
      allowed: `another port than ${SETTINGS.port.variable}, which is for proxies`,
    });
  }
  if (config.oidcIssuer !== null && config.poolMax === 2) {
    problems.push({
      name: SETTINGS.poolMax.variable,
      value: String(config.poolMax),
      allowed: `at least 3 with ${SETTINGS.oidcIssuer.variable}: one for fences, one for sessions, one for loads`,
    });
  }
  const unlessRefused = <K extends keyof SignInSettings>(key: K): SignInSettings[K] | undefined =>
    refused.has(key) ? undefined : config[key];
  const signInSettings = {
    cookie: unlessRefused('cookie'),
    loginUrl: unlessRefused('loginUrl'),
    oidcIssuer: unlessRefused('oidcIssuer'),
    oidcClientId: unlessRefused('oidcClientId'),
    oidcClientSecret: unlessRefused('oidcClientSecret'),
    signInHost: unlessRefused('signInHost'),
    cookieDomain: unlessRefused('cookieDomain'),
  };
  problems.push(...libpqProblems(env));
  problems.push(...signInProblems(signInSettings, key => SETTINGS[key].variable));
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
