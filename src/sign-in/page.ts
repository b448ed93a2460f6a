/**
 * The few pages of sign-in: plain HTML without scripts, which may be neither framed nor kept. Nothing that a request
 * has brought is on them but the address of an app, once it has been looked at.
 */
import { hash } from 'node:crypto';

/** An answer to be written. */
export interface Answer {
  readonly status: 200 | 303 | 400 | 403 | 404 | 405 | 409 | 503;
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly body: string;
}

/** A page. */
export interface Page {
  readonly status: Exclude<Answer['status'], 303>;
  readonly title: string;
  readonly says: string;
  /** A button that sends a form without fields to the page's own address. */
  readonly button?: string;
  /** Where the page leads on; an absolute URL that this program has made. */
  readonly link?: { readonly url: string; readonly text: string; readonly follow: 'at once' | 'when clicked' };
  readonly headers?: readonly string[];
}

const STYLE =
  'body{max-width:32rem;margin:15vh auto;padding:0 1rem;font:1.1rem/1.5 system-ui,sans-serif}' +
  'button{font:inherit;padding:.4rem 1.2rem}';
const STYLE_HASH = `'sha256-${hash('sha256', STYLE, 'base64')}'`;
const RETRY_AFTER_SECONDS = '5';

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text for HTML. */
const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, character => ESCAPES[character]!);

/** Headers of every answer. */
const SECURITY = ['Cache-Control', 'no-store', 'X-Content-Type-Options', 'nosniff', 'X-Frame-Options', 'DENY'] as const;

/** A page as an answer. */
export function pageAnswer({ status, title, says, button, link, headers = [] }: Page): Answer {
  const form =
    button === undefined ? '' : `\n<form method="post"><button type="submit">${escapeHtml(button)}</button></form>`;
  const formAction = button === undefined ? "'none'" : "'self'";
  const href = link === undefined ? '' : escapeHtml(link.url);
  // Not a redirect: browsers hold the redirects that answer a form against its page's form-action, also those of other
  // servers behind it.
  const refresh = link?.follow === 'at once' ? `\n<meta http-equiv="refresh" content="0; url=${href}">` : '';
  const anchor = link === undefined ? '' : `\n<p><a href="${href}">${escapeHtml(link.text)}</a></p>`;
  return {
    status,
    headers: [
      'Content-Type',
      'text/html; charset=utf-8',
      'Content-Security-Policy',
      `default-src 'none'; style-src ${STYLE_HASH}; form-action ${formAction}; base-uri 'none'; frame-ancestors 'none'`,
      ...SECURITY,
      // Without a referrer browsers say `Origin: null` of a form, and it could not be told from another site's.
      'Referrer-Policy',
      button === undefined ? 'no-referrer' : 'same-origin',
      ...(status === 503 ? ['Retry-After', RETRY_AFTER_SECONDS] : []),
      ...headers,
    ],
    body: `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">${refresh}
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
<h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(says)}</p>${anchor}${form}
</html>
`,
  };
}

/** A redirect that makes a GET of whatever it answers. */
export function redirectAnswer(location: string, cookies: readonly string[]): Answer {
  return {
    status: 303,
    headers: ['Location', location, ...SECURITY, 'Referrer-Policy', 'no-referrer', ...cookieHeaders(cookies)],
    body: '',
  };
}

/** Cookies as headers. */
export function cookieHeaders(cookies: readonly string[]): readonly string[] {
  return cookies.flatMap(cookie => ['Set-Cookie', cookie]);
}
