/** Runs all behaviours with one proxy. */
import { afterAll, beforeAll, describe, test } from 'vitest';
import type { TestProxy } from '../../support/proxies/proxy.js';
import { BEHAVIOURS } from './behaviours.js';
import { setStage, type Stage } from './stage.js';

declare module 'vitest' {
  interface TaskMeta {
    /** What a behaviour told, for the table. */
    told?: string;
  }
}

function describeWay(name: string, proxy: TestProxy, way: 'ports' | 'sockets'): void {
  describe(name, () => {
    let stage: Stage | undefined;

    beforeAll(async () => {
      stage = await setStage(proxy, way);
    });

    afterAll(() => stage?.stop());

    for (const { title, run } of BEHAVIOURS) {
      test(title, async ({ task }) => {
        const told = await run(stage!);
        if (told !== undefined) {
          task.meta.told = told;
        }
      });
    }
  });
}

/** With replicas on ports: a column of the table in docs/proxies.md. */
export function describeProxy(proxy: TestProxy): void {
  describeWay(proxy.name, proxy, 'ports');
}

/** With replicas on Unix sockets: all of it must hold, too. The table has no column for this. */
export function describeOverSockets(proxy: TestProxy): void {
  describeWay(`${proxy.name} over Unix sockets`, proxy, 'sockets');
}
