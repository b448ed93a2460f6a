/** The settings of sign-in: how each is read, and what they must agree on. */
import { parse } from 'tldts';

const HOST = /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/;
/** Its last label does not begin with a digit: browsers take no cookie for a part of an address. */
const DOMAIN = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** Browsers look at this prefix in upper and lower case. */
const HOST_NAME = /^__Host-/i;
const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]']);
const SCOPES = /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/;

/** Whether what is sent there in the clear stays on this machine. */
export const isLoopback = (url: URL): boolean => LOOPBACK.has(url.hostname);

/** The URL of a provider. */
export function issuerUrl(text: string): string | undefined {
  if (!URL.canParse(text) || !/^[\x21-\x7e]+$/.test(text) || /[?#@\\]/.test(text)) {
    return undefined;
  }
  const url = new URL(text);
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url)) ? text : undefined;
}

/** Scopes; without `openid` there is no ID token. */
export function oidcScopes(text: string): string | undefined {
  return SCOPES.test(text) && text.split(' ').includes('openid') ? text : undefined;
}

/** A host as apps have it. */
export function canonicalHost(text: string): string | undefined {
  return HOST.test(text) ? text : undefined;
}

/**
 * Whether everybody can have a name under this domain, such as com, co.uk or github.io; a suffix that nobody gives out
 * (lan) is none.
 */
export function isPublicSuffix(domain: string): boolean {
  const { publicSuffix, isIcann, isPrivate } = parse(domain, { allowPrivateDomains: true });
  return publicSuffix === domain && (isIcann === true || isPrivate === true);
}

/** A domain that browsers take a cookie for. */
export function parentDomain(text: string): string | undefined {
  return text.length <= 253 && DOMAIN.test(text) && !isPublicSuffix(text) ? text : undefined;
}

/** Whether a host is the domain or lies under it. */
export function isUnder(host: string, domain: string): boolean {
  return host === domain || host.endsWith(`.${domain}`);
}

/** A setting that was refused. */
interface Problem {
  readonly name: string;
  readonly value: string;
  readonly allowed: string;
}

/** The settings that must agree; undefined: refused already, so nothing more is reported. */
export interface SignInSettings {
  readonly cookie: string | undefined;
  readonly loginUrl: string | null | undefined;
  readonly oidcIssuer: string | null | undefined;
  readonly oidcClientId: string | null | undefined;
  readonly oidcClientSecret: string | null | undefined;
  readonly signInHost: string | null | undefined;
  readonly cookieDomain: string | null | undefined;
}

/** What they do not agree on. @param nameOf the variable of a setting */
export function signInProblems(
  settings: SignInSettings,
  nameOf: (key: keyof SignInSettings) => string,
): readonly Problem[] {
  const { cookie, loginUrl, oidcIssuer, signInHost, cookieDomain } = settings;
  const problems: Problem[] = [];
  const refuse = (key: keyof SignInSettings, allowed: string): void => {
    problems.push({ name: nameOf(key), value: settings[key] ?? '', allowed });
  };
  if (oidcIssuer === null) {
    const given = (['oidcClientId', 'oidcClientSecret', 'signInHost', 'cookieDomain'] as const).filter(
      key => typeof settings[key] === 'string',
    );
    if (given.length > 0) {
      refuse('oidcIssuer', `the URL of a provider, since ${given.map(nameOf).join(' and ')} is set`);
    }
    return problems;
  }
  for (const key of ['oidcClientId', 'oidcClientSecret'] as const) {
    if (settings[key] === null) {
      refuse(key, `what the provider has given this gate, since ${nameOf('oidcIssuer')} is set`);
    }
  }
  if (typeof loginUrl === 'string') {
    refuse('loginUrl', `none when ${nameOf('oidcIssuer')} is set: people sign in here, or there`);
  }
  if (typeof signInHost === 'string' && cookieDomain === null) {
    refuse('cookieDomain', `the domain of all apps, since ${nameOf('signInHost')} is set`);
  }
  if (typeof cookieDomain === 'string') {
    if (signInHost === null) {
      refuse('signInHost', `a host at or under ${cookieDomain}, since ${nameOf('cookieDomain')} is set`);
    } else if (signInHost !== undefined && !isUnder(signInHost, cookieDomain)) {
      refuse('signInHost', `a host at or under ${nameOf('cookieDomain')}, which is ${cookieDomain}`);
    }
    if (cookie !== undefined && HOST_NAME.test(cookie)) {
      refuse('cookie', `a name without __Host- when ${nameOf('cookieDomain')} is set: browsers refuse such a cookie`);
    }
  }
  return problems;
}
