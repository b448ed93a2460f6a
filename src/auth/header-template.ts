/**
 * Header templates: `{"X-Forwarded-User": "{{user.name}}"}` in an app's or a route's `headers`. Compiled when the row
 * is loaded, so that a bad one is found then and harms only its own app. Also how any text becomes a header value.
 */

/** What templates may name. */
export const TEMPLATE_VARIABLES = [
  'user.id',
  'user.name',
  'user.email',
  'user.display_name',
  'user.groups',
  'app.name',
  'app.host',
  'grant.role',
] as const;

/** One of {@link TEMPLATE_VARIABLES}. */
export type TemplateVariable = (typeof TEMPLATE_VARIABLES)[number];

/** Values of the variables; what is not there renders as nothing. */
export type TemplateValues = Readonly<Partial<Record<TemplateVariable, string>>>;

/** One header, ready to render. */
export interface HeaderTemplate {
  readonly name: string;
  readonly parts: readonly (string | { readonly variable: TemplateVariable })[];
}

/** Thrown when a template cannot be compiled; the message says which, and what is allowed. */
export class TemplateError extends Error {
  readonly code = 'bad_template';
}

const HEADER_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?$/;
/** Names that the gate sets itself, or that belong to the connection. */
const RESERVED = new RegExp(
  `^(?:${[
    'remote-.*|x-gatebell-.*|proxy-.*|x-forwarded-.*|x-original-.*|cache-control|connection|content-.*|cookie',
    'date|host|keep-alive|location|retry-after|set-cookie|te|trailer|transfer-encoding|upgrade|www-authenticate',
  ].join('|')})$`,
  'i',
);
const PRINTABLE_ASCII = /^[\x20-\x7e]*$/;
const HEADERS_MAX = 32;
const TEMPLATE_CHARACTERS_MAX = 1_024;

function isVariable(name: string): name is TemplateVariable {
  return (TEMPLATE_VARIABLES as readonly string[]).includes(name);
}

function compileTemplate(name: string, template: unknown): HeaderTemplate {
  if (!HEADER_NAME.test(name) || RESERVED.test(name)) {
    throw new TemplateError(
      `header name ${JSON.stringify(name)} is not allowed: letters, digits and -, and none that the gate or the ` +
        'connection owns',
    );
  }
  if (typeof template !== 'string' || !PRINTABLE_ASCII.test(template) || template.length > TEMPLATE_CHARACTERS_MAX) {
    throw new TemplateError(
      `the template of header ${name} must be printable ASCII text of at most ${TEMPLATE_CHARACTERS_MAX} characters`,
    );
  }
  const parts = template.split(/\{\{(.*?)\}\}/).map((part, index) => {
    if (index % 2 === 0) {
      if (part.includes('{{') || part.includes('}}')) {
        throw new TemplateError(
          `the template of header ${name} has {{ or }} without its other half: ${JSON.stringify(template)}`,
        );
      }
      return part;
    }
    const variable = part.trim();
    if (!isVariable(variable)) {
      throw new TemplateError(
        `the template of header ${name} names ${JSON.stringify(variable)}; allowed are ` +
          TEMPLATE_VARIABLES.join(', '),
      );
    }
    return { variable };
  });
  return { name, parts: parts.filter(part => part !== '') };
}

/** Compiles a `headers` column. @throws TemplateError */
export function compileHeaders(headers: unknown): readonly HeaderTemplate[] {
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers)) {
    throw new TemplateError('headers must be a JSON object of header names and templates');
  }
  const entries = Object.entries(headers);
  if (entries.length > HEADERS_MAX) {
    throw new TemplateError(`${entries.length} headers are too many: at most ${HEADERS_MAX}`);
  }
  return entries.map(([name, template]) => compileTemplate(name, template));
}

/** The value of a header. */
export function renderHeader(template: HeaderTemplate, values: TemplateValues): string {
  return template.parts
    .map(part => (typeof part === 'string' ? part : encodeHeaderValue(values[part.variable] ?? '')))
    .join('')
    .trim();
}

const NEEDS_ENCODING = /[^\x20-\x7e]|%|^ | $/;

/**
 * Text as a header value: what is not printable ASCII is percent-encoded UTF-8, and so is `%`, so that two different
 * texts never give the same value, and a value never carries CR or LF.
 *
 * @example encodeHeaderValue('Zoë') // 'Zo%C3%AB'
 */
export function encodeHeaderValue(text: string): string {
  return NEEDS_ENCODING.test(text) ? text.replace(/[^\x20-\x7e]+|%|^ | $/g, percentEncode) : text;
}

function percentEncode(text: string): string {
  return Array.from(Buffer.from(text, 'utf8'), byte => '%' + byte.toString(16).toUpperCase().padStart(2, '0')).join('');
}
