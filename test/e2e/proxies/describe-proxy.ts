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

export function describeProxy(proxy: TestProxy): void {
  describe(proxy.name, () => {
    let stage: Stage | undefined;

    beforeAll(async () => {
      stage = await setStage(proxy);
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
