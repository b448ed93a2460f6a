/**
 * What a public rule lets through, no upstream takes for a private path: the whole corpus, against route tables of
 * several shapes, with what upstreams really do as the judge: Express 5 and Node's URL on real servers, and the models
 * of many others.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { selectRoute } from '../../src/auth/request/path.js';
import type { Route } from '../../src/auth/facts.js';
import { createConnection, startAuthServer, type Answer, type AuthServer } from '../support/auth-server.js';
import { PROXY_DIALECTS, subrequestBytes } from '../support/dialects.js';
import { APP, createMemoryReader, createWorld, TOKEN } from '../support/memory-facts.js';
import { allSpellings, ORDINARY_PATHS, ROUTE_TABLES, type RouteTable } from '../support/path-corpus.js';
import { NORMALISERS } from '../support/reference-normalisers.js';
import { startUpstreams, type Upstreams } from '../support/upstreams.js';

const SPELLINGS = allSpellings();

/** The gate's choice by its functions alone; null: refused. */
function choose({ routes }: RouteTable, spelling: string): Route['access'] | null {
  const path = spelling.split('?')[0]!;
  const route = path.startsWith('/') && !/[\x00-\x20\x7f#]/.test(path) ? selectRoute(routes, path) : undefined;
  return route === undefined ? null : (route?.access ?? 'grant');
}

/** A gate of the kind that had the advisories: it looks at how the path begins. */
function chooseNaively({ routes }: RouteTable, spelling: string): Route['access'] {
  return routes.find(({ pathPrefix }) => spelling.startsWith(pathPrefix))?.access ?? 'grant';
}

describe('the corpus', () => {
  test('has far more than 500 distinct spellings', () => {
    expect(SPELLINGS.length).toBeGreaterThan(2_000);
    expect(new Set(SPELLINGS).size).toBe(SPELLINGS.length);
  });
});

describe('path normalisation (GHSA-p224-6x5r-fjpm, CVE-2025-66490, CVE-2026-27587)', () => {
  let upstreams: Upstreams;
  beforeAll(async () => {
    upstreams = await startUpstreams(ROUTE_TABLES);
  });
  afterAll(() => upstreams.stop());

  const bypassesOf = async (
    table: RouteTable,
    gate: (table: RouteTable, spelling: string) => Route['access'] | null,
  ): Promise<readonly string[]> => {
    const open = SPELLINGS.filter(spelling => gate(table, spelling) === 'public');
    const readers = await upstreams.readAll(table, open);
    return readers.flatMap(({ upstream, zones }) =>
      open.filter((_, i) => zones[i] === 'private').map(spelling => `${upstream}: ${spelling}`),
    );
  };

  describe.each(ROUTE_TABLES)('$name', table => {
    test('what is let through as public is public to Express, to Node and to static files', async () => {
      expect(await bypassesOf(table, choose)).toEqual([]);
    });

    test('what is let through as public is public to every model of an upstream', () => {
      const open = SPELLINGS.filter(spelling => choose(table, spelling) === 'public');
      const bypasses = open.flatMap(spelling =>
        Object.entries(NORMALISERS)
          .filter(([, read]) => table.zoneOf(read(spelling)) === 'private')
          .map(([upstream]) => `${upstream}: ${spelling}`),
      );
      expect(bypasses).toEqual([]);
    });
  });

  test('the judges are awake: each of them sees holes in a gate that looks at how the path begins', async () => {
    const found = await Promise.all(ROUTE_TABLES.map(table => bypassesOf(table, chooseNaively)));
    for (const upstream of upstreams.names) {
      expect(found.flat().filter(text => text.startsWith(`${upstream}: `)).length, upstream).toBeGreaterThan(0);
    }
  });
});

describe.each(PROXY_DIALECTS)('over the wire on $name', dialect => {
  const servers: AuthServer[] = [];
  afterAll(() => Promise.all(servers.map(server => server.stop())));

  const askAll = async (
    table: RouteTable,
    uris: readonly string[],
    client: [string, string][],
  ): Promise<(Answer | null)[]> => {
    const facts = createWorld();
    facts.set('route', [APP.id], { problem: null, routes: table.routes });
    const server = await startAuthServer({ reader: createMemoryReader(facts) });
    servers.push(server);
    const connection = createConnection(server.port);
    const answers = [];
    for (const uri of uris) {
      const target = { method: 'GET', proto: 'https', host: APP.host, uri };
      answers.push(await connection.send(subrequestBytes(dialect.subrequest(target, client), 'keep-alive')));
    }
    connection.close();
    return answers;
  };

  test.each(ROUTE_TABLES)('$name: every spelling is answered as the rules say, and by nothing else', async table => {
    // Spaces around the value of a header are none of it; nginx refuses what does not begin with a slash, before it
    // asks.
    const uris = SPELLINGS.filter(
      spelling => spelling === spelling.trim() && (dialect.name !== 'nginx' || spelling.startsWith('/')),
    );
    const answers = await askAll(table, uris, []);
    const wrong = uris.filter((uri, i) => {
      const isOpen = answers[i]?.status === 200;
      return isOpen && (choose(table, uri) !== 'public' || answers[i]?.headers['x-gatebell-reason'] !== 'public');
    });
    expect(wrong).toEqual([]);
    const refused = uris.filter((uri, i) => choose(table, uri) === 'public' && answers[i]?.status !== 200);
    expect(refused).toEqual([]);
  });

  test('ordinary paths pass: whoever may enter is not refused for how a file is called', async () => {
    for (const table of ROUTE_TABLES) {
      const uris = ORDINARY_PATHS.flatMap(path => table.roots.map(root => root + path));
      const answers = await askAll(table, uris, [['Authorization', `Bearer ${TOKEN}`]]);
      const refused = uris.filter((_, i) => answers[i]?.status !== 200);
      expect(refused, table.name).toEqual([]);
    }
  });
});
