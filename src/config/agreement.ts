/** What settings must agree on, beyond what each allows alone. */
import { signInProblems, type SignInSettings } from '../sign-in/settings.js';
import type { ConfigProblem } from './secret.js';
import { SETTINGS, type Config, type SettingKey } from './settings.js';

/** A port beside a socket would look as if it were open; a mode without a socket, as if something were closed. */
function socketProblems(
  { listenPath, port, listenMode, listenGroup }: Config,
  refused: ReadonlySet<SettingKey>,
  givenAs: (key: SettingKey) => string | null,
): readonly ConfigProblem[] {
  if (refused.has('listenPath')) {
    return [];
  }
  const useless: readonly (readonly [SettingKey, string, string])[] =
    listenPath === null
      ? [
          ['listenMode', `0${listenMode?.toString(8)}`, 'only with'],
          ['listenGroup', listenGroup ?? '', 'only with'],
        ]
      : [['port', String(port), 'not with']];
  return useless.flatMap(([key, value, when]) => {
    const name = refused.has(key) ? null : givenAs(key);
    return name === null
      ? []
      : [{ name, value, allowed: `${when} ${SETTINGS.listenPath.variable}, which names a Unix socket` }];
  });
}

/** Connections of the pool that loads leave alone: one for fences, and one for writes, where there are any. */
export const reservedConnections = ({ oidcIssuer, jwt }: Pick<Config, 'oidcIssuer' | 'jwt'>): number =>
  oidcIssuer === null && jwt === null ? 1 : 2;

/** The fewest connections that a pool may have: the reserved ones, and one for loads. */
export const leastConnections = (config: Pick<Config, 'oidcIssuer' | 'jwt'>): number => reservedConnections(config) + 1;

/**
 * Finds settings that do not go together.
 *
 * @param refused settings whose own value was refused: they are reported already
 * @param givenAs the variable or the flag that has given a setting; null: it has its default
 */
export function disagreements(
  config: Config,
  refused: ReadonlySet<SettingKey>,
  givenAs: (key: SettingKey) => string | null,
): readonly ConfigProblem[] {
  const { leaseMs, fenceIntervalMs, port, opsPort, oidcIssuer, poolMax } = config;
  const problems: ConfigProblem[] = [];
  if (fenceIntervalMs > leaseMs / 2) {
    problems.push({
      name: SETTINGS.fenceIntervalMs.variable,
      value: String(fenceIntervalMs),
      allowed: `at most half of ${SETTINGS.leaseMs.variable}, which is ${leaseMs}`,
    });
  }
  if (opsPort === port && port !== 0 && config.listenPath === null) {
    problems.push({
      name: SETTINGS.opsPort.variable,
      value: String(opsPort),
      allowed: `another port than ${SETTINGS.port.variable}, which is for proxies`,
    });
  }
  const least = leastConnections(config);
  if (!refused.has('poolMax') && poolMax < least) {
    const reason = oidcIssuer === null ? SETTINGS.jwtIssuer.variable : SETTINGS.oidcIssuer.variable;
    problems.push({
      name: SETTINGS.poolMax.variable,
      value: String(poolMax),
      allowed: `at least ${least} with ${reason}: one for fences, one for writes, one for loads`,
    });
  }
  const unlessRefused = <K extends keyof SignInSettings>(key: K): SignInSettings[K] | undefined =>
    refused.has(key) ? undefined : config[key];
  return [
    ...problems,
    ...socketProblems(config, refused, givenAs),
    ...signInProblems(
      {
        cookie: unlessRefused('cookie'),
        loginUrl: unlessRefused('loginUrl'),
        oidcIssuer: unlessRefused('oidcIssuer'),
        oidcClientId: unlessRefused('oidcClientId'),
        oidcClientSecret: unlessRefused('oidcClientSecret'),
        signInHost: unlessRefused('signInHost'),
        cookieDomain: unlessRefused('cookieDomain'),
      },
      key => SETTINGS[key].variable,
    ),
  ];
}
