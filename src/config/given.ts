/** The text of a setting, and where it is from: a flag, the environment, a file, or the default. */
import { findSecret, type GivenText, type ReadText, type Refuse } from './secret.js';
import { shownOf, type Setting } from './setting.js';

/** Where texts are from, and who hears of what is wrong with them. */
export interface Sources {
  readonly env: NodeJS.ProcessEnv;
  readonly readText: ReadText;
  readonly refuse: Refuse;
  /** Receives a message for each variable that is ignored. */
  readonly warn: (message: string) => void;
}

/**
 * What Kubernetes and Docker set for a service of this name: for a service `gatebell` GATEBELL_PORT is
 * tcp://10.96.12.34:4280, for one named `gatebell-ops` GATEBELL_OPS_PORT. Nobody has meant it as a setting.
 */
const SERVICE_LINK = /^(?:tcp|udp|sctp):\/\//;

/**
 * Finds the text of a setting. Its flag wins over its variable, which wins over its default. An empty variable counts
 * as unset.
 *
 * @param flagged the text of its flag, if that was given; of a secret, the path of its file
 * @returns null if nothing is given, undefined if it was refused
 */
export function findText(
  setting: Setting,
  flagged: string | undefined,
  { env, readText, refuse, warn }: Sources,
): GivenText | null | undefined {
  const { variable, flag, fallback, kind } = setting;
  if (kind === 'secret' || (kind === 'connection' && flagged === undefined)) {
    return findSecret(setting, flagged, env, readText, refuse);
  }
  if (flagged !== undefined) {
    return { name: `--${flag}`, shown: shownOf(setting, flagged), text: flagged };
  }
  const set = env[variable] === '' ? undefined : env[variable];
  const isLink = set !== undefined && variable.endsWith('_PORT') && SERVICE_LINK.test(set);
  if (isLink) {
    warn(
      `${variable} is ${JSON.stringify(set)}, as Kubernetes sets it for a service of this name: it is ignored` +
        ' (enableServiceLinks: false in the pod keeps such variables away)',
    );
  }
  if (set !== undefined && !isLink) {
    return { name: variable, shown: shownOf(setting, set), text: set };
  }
  return fallback === undefined
    ? null
    : { name: variable, shown: shownOf(setting, fallback), text: fallback, isDefault: true };
}
