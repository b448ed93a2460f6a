/**
 * Every setting, in the order of the help. Each is declared once, in `settings/`: its names, its default, its parser,
 * what of it is masked, and its help. Values, flags, help and the table of the documentation follow from that.
 */
import type { JwtConfig } from './jwt.js';
import { defaultOf, variablesOf, type Setting, type ValuesOf } from './setting.js';
import { GATE_SETTINGS } from './settings/gate.js';
import { JWT_SETTINGS } from './settings/jwt.js';
import { LOG_SETTINGS } from './settings/log.js';
import { REPLICA_SETTINGS } from './settings/replica.js';
import { SIGN_IN_SETTINGS } from './settings/sign-in.js';

/** All of them. */
export const SETTINGS = {
  ...REPLICA_SETTINGS,
  ...SIGN_IN_SETTINGS,
  ...GATE_SETTINGS,
  ...JWT_SETTINGS,
  ...LOG_SETTINGS,
} as const;

/** Which setting. */
export type SettingKey = keyof typeof SETTINGS;

/** The settings one by one; some together make one part of the configuration. */
export type Values = ValuesOf<typeof SETTINGS>;

/** What a replica runs with: the value of each setting; those of JWTs are one part. */
export interface Config extends Omit<Values, keyof typeof JWT_SETTINGS | 'fenceIntervalMs'> {
  readonly fenceIntervalMs: number;
  /** Null: JWTs are bearers of somebody else's. */
  readonly jwt: JwtConfig | null;
}

/** The keys of all settings. */
export const SETTING_KEYS = Object.keys(SETTINGS) as readonly SettingKey[];

/** Every environment variable that is read, libpq's aside. */
export const CONFIG_VARIABLES: readonly string[] = Object.values(SETTINGS).flatMap(variablesOf);

/** A flag, for the help of a command. */
export interface ConfigFlag {
  readonly key: SettingKey;
  readonly flag: string;
  readonly help: string;
}

/** Every flag. */
export const CONFIG_FLAGS: readonly ConfigFlag[] = SETTING_KEYS.map(key => {
  const setting: Setting = SETTINGS[key];
  const shown = defaultOf(setting);
  const help = `${setting.help} (${variablesOf(setting).join(' or ')}${shown === null ? '' : `, default ${shown}`})`;
  return { key, flag: setting.flag, help: setting.kind === 'secret' ? `file that holds the ${help}` : help };
});
