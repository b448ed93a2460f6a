/** Real apps behind each proxy, with its file of deploy/. The apps are started once for all. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { askH2c } from '../../support/h2c-client.js';
import { PROXIES } from '../../support/proxies/index.js';
import { isBelieved, NEIGHBOURS, SMUGGLED } from './behaviours.js';
import { startNeighbourhood, type App, type Front, type Neighbourhood } from './neighbourhood.js';

let neighbourhood: Neighbourhood;

beforeAll(async () => {
  neighbourhood = await startNeighbourhood();
});

afterAll(() => neighbourhood.stop());

describe('asked without a proxy', () => {
  test.each(['hypercorn', 'tomcat'] as const)(
    '%s takes an upgrade to h2c, and then a path and a user of any name',
    async app => {
      const { status, second } = await askH2c(
        neighbourhood.direct[app],
        { host: 'lab.test', path: '/public/x' },
        SMUGGLED,
      );
      expect(status).toBe(101);
      expect(JSON.parse(second ?? '')).toMatchObject({ section: 'admin', user: 'root' });
    },
  );

  test.each([
    ['flask', 'SCRIPT_NAME', '/public'],
    ['flask', 'X-Script-Name', '/public'],
    ['flask', 'X_Script_Name', '/public'],
    ['flask', 'X-Forwarded-Prefix', '/planted'],
    ['flask', 'X-HTTP-Method-Override', 'DELETE'],
    ['flask', 'X-Scheme', 'https'],
    ['flask', 'X-Forwarded-Server', 'planted.test'],
    ['rails', 'X-HTTP-Method-Override', 'DELETE'],
    ['rails', 'X-Forwarded-Host', 'planted.test'],
    ['rails', 'X_Forwarded_Proto', 'https'],
    ['rails', 'X-Forwarded-Ssl', 'on'],
    ['rails', 'Client-Ip', '6.6.6.6'],
    ['rails', 'Remote_User', 'root'],
    ['php', 'X-Original-URL', '/admin/users'],
    ['php', 'X-Rewrite-URL', '/admin/users'],
    ['php', 'X.Original.URL', '/admin/users'],
    ['php', 'Front-End-Https', 'on'],
    ['php', 'Remote.User', 'root'],
    ['tomcat', 'X-Forwarded-For', '6.6.6.6'],
    ['tomcat', 'X-Forwarded-Proto', 'https'],
    ['tomcat', 'Remote-User', 'root'],
  ] satisfies [App, string, string][])('%s believes %s: %s', async (app, name, value) => {
    expect(await isBelieved(neighbourhood.direct[app], name, value)).toBe(true);
  });
});

describe.each(PROXIES.map(proxy => [proxy.name, proxy] as const))('%s', (_, proxy) => {
  let front: Front;

  beforeAll(async () => {
    front = await neighbourhood.front(proxy);
  });

  afterAll(() => front.stop());

  for (const { title, run } of NEIGHBOURS) {
    test(title, async ({ task }) => {
      const told = await run(front);
      if (told !== undefined) {
        task.meta.told = told;
      }
    });
  }
});
