/** The host of an app, as people type it. */
import { domainToASCII } from 'node:url';
import { parseHost } from '../../auth/request/request.js';
import { isPublicSuffix } from '../../sign-in/settings.js';
import { UsageError } from '../errors.js';

const WILDCARD = '*.';

/**
 * Returns a host in its one spelling: `Bücher.example` is `xn--bcher-kva.example`.
 *
 * @throws UsageError if it is no host, has a port, or is a wildcard under a public suffix
 */
export function canonicalHost(host: string): string {
  const wildcard = host.startsWith(WILDCARD) ? WILDCARD : '';
  const name = host.slice(wildcard.length);
  // Of what looks like a URL, domainToASCII would take the host alone, and drop the rest.
  const isInternational = /[^\x20-\x7e]/.test(name) && !/[\x00-\x2c/\x3a-\x40[-^`{-\x7f]/.test(name);
  const parsed = parseHost(isInternational ? domainToASCII(name) : name);
  if (/:[0-9]*$/.test(name)) {
    throw new UsageError(
      `host ${JSON.stringify(host)} is not allowed: leave the port out, apps are told apart by their name alone`,
    );
  }
  if (parsed === null) {
    throw new UsageError(
      `host ${JSON.stringify(host)} is not allowed: a name of letters, digits, hyphens and dots, ` +
        'like photos.example.com, or *.example.com for all below it',
    );
  }
  if (wildcard !== '' && isPublicSuffix(parsed.host)) {
    throw new UsageError(
      `host ${JSON.stringify(host)} is not allowed: everybody can have a name under ${parsed.host}, ` +
        'which is a public suffix; name a domain of yours, like *.example.com',
    );
  }
  return wildcard + parsed.host;
}
