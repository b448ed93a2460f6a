/**
 * What frameworks make of a path by its extension or by a script in it, each written from its documentation and knowing
 * nothing of `src/auth/request/path.ts`: judges of the gate's rule, like the models of `reference-normalisers.ts`.
 */
import type { RouteTable, Zone } from './path-corpus.js';

/** The zone that a request reaches; a path that is served by nobody is public, for it hides nothing. */
export type FrameworkReader = (table: RouteTable, path: string) => Zone;

const withoutSlash = (path: string): string => path.replace(/\/+$/, '') || '/';
const decoded = (path: string): string => {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
};

/**
 * Rails: `/users(.:format)`; a segment itself never holds a dot.
 * https://guides.rubyonrails.org/routing.html#dynamic-segments
 */
const rails: FrameworkReader = (table, path) => table.zoneOf(withoutSlash(decoded(path)).replace(/\.[^./]+$/, ''));

/** Grape and Sinatra with `respond_with`: everything behind the first dot of the last segment. */
const grape: FrameworkReader = (table, path) => table.zoneOf(withoutSlash(decoded(path)).replace(/\.[^/]*$/, ''));

/** PHP by `PATH_INFO`: what follows the script. https://www.php.net/manual/en/reserved.variables.server.php */
const pathInfo: FrameworkReader = (table, path) => {
  const script = /^.*?\.(?:php|phtml|cgi|fcgi|asp|aspx|jsp|pl|py)(?=\/)/i.exec(decoded(path));
  return script === null ? table.zoneOf(path) : table.zoneOf(decoded(path).slice(script[0].length));
};

/**
 * Symfony, Laravel and others find their base by the script, and route by what follows: `/shop/index.php/admin` is
 * `/shop/admin`.
 */
const basePath: FrameworkReader = (table, path) => table.zoneOf(decoded(path).replace(/[^/]+\.php\//i, ''));

/** CGI in its own folder: no extension is needed. */
const cgiBin: FrameworkReader = (table, path) => {
  const script = /^.*?\/cgi-bin\/[^/]+(?=\/)/i.exec(decoded(path));
  return table.zoneOf(script === null ? path : decoded(path).slice(script[0].length));
};

/** Connect 3: a layer is entered where its route is followed by a slash, a dot or nothing, in any case. */
const connect: FrameworkReader = (table, path) => {
  const rule = table.routes.find(({ pathPrefix }) => {
    const route = withoutSlash(pathPrefix);
    const next = path[route.length];
    return (
      route === '/' ||
      (path.toLowerCase().startsWith(route.toLowerCase()) && (next === undefined || next === '/' || next === '.'))
    );
  });
  return table.zoneOf(rule?.pathPrefix ?? '/elsewhere');
};

/**
 * nginx: `try_files $uri $uri.html $uri.php $uri/ =404`, where the pages are files. Each file is what its path without
 * extension shows.
 */
const tryFiles: FrameworkReader = (table, path) => {
  const uri = withoutSlash(decoded(path));
  const isFile = ({ pathPrefix }: RouteTable['routes'][number], file: string): boolean =>
    pathPrefix !== '/' && pathPrefix === file;
  for (const file of [uri, `${uri}.html`, `${uri}.php`]) {
    if (table.routes.some(rule => isFile(rule, file))) {
      return table.zoneOf(file);
    }
  }
  return table.zoneOf(uri.replace(/\.(?:html|php)$/, ''));
};

export const FRAMEWORKS: Readonly<Record<string, FrameworkReader>> = {
  rails,
  grape,
  pathInfo,
  basePath,
  cgiBin,
  connect,
  tryFiles,
};

const EXTENSIONS = [
  ...['.json', '.html', '.php', '.x', '.JSON', '.json.bak', '.tar.gz', '.7', '.a-b', '.%6Ason', '%2Ejson', '.json/'],
  ...['.json/x', '.x/y.z', '.html?x=.y', '.v1/x'],
];
const SCRIPTS = [
  ...['/index.php', '/INDEX.PHP', '/app.php7', '/x.phtml', '/run.cgi', '/run.fcgi', '/default.asp', '/Default.aspx'],
  ...['/page.jsp', '/x.pl', '/x.py', '/pub/index.php', '/sub/dir/index.php', '/index.php/x.php', '/index%2Ephp'],
  ...['/cgi-bin/run', '/CGI-BIN/run', '/sub/cgi-bin/run', '/index.php/', '/index.php/.', '/index.php/x/..'],
];

/** Spellings of the prefixes of a table, by extension and by script. */
export function frameworkSpellings(table: RouteTable): readonly string[] {
  const prefixes = table.routes.map(({ pathPrefix }) => pathPrefix).filter(prefix => prefix !== '/');
  const spellings = prefixes.flatMap(prefix => [
    ...EXTENSIONS.flatMap(extension => [
      prefix + extension,
      `${prefix.toUpperCase()}${extension}`,
      // In every segment before the last.
      ...[...prefix.matchAll(/(?<=.)\//g)].map(({ index }) => prefix.slice(0, index) + extension + prefix.slice(index)),
      `/index.php${prefix}${extension}`,
    ]),
    ...SCRIPTS.flatMap(script => [script + prefix, `${script}${prefix}/x`, `${script}/${prefix}`]),
    prefix.replace(/\.[^/]*$/, ''),
  ]);
  return [...new Set(spellings)];
}
