/**
 * The simulation and the sources that it runs, as one script for a worker. On the way sources can be patched, in
 * memory: that is how mistakes are made for the simulation to find (`mutants.ts`). What is built for production never
 * comes by here.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** A change of one source. */
export interface Patch {
  /** From the root of the project. */
  readonly file: string;
  /** Occurs exactly once. */
  readonly find: string;
  readonly replace: string;
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const ENTRY = fileURLToPath(new URL('worker.ts', import.meta.url));

/** @throws Error when a patch does not apply: its source has changed. */
export async function bundleSimulation(patches: readonly Patch[] = []): Promise<string> {
  const sources = await applyPatches(patches);
  const { outputFiles } = await build({
    entryPoints: [ENTRY],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    logLevel: 'silent',
    plugins: [
      {
        name: 'patches',
        setup({ onLoad }) {
          onLoad({ filter: /\.ts$/ }, ({ path }) => {
            const contents = sources.get(path);
            return contents === undefined ? undefined : { contents, loader: 'ts' };
          });
        },
      },
    ],
  });
  return outputFiles[0]!.text;
}

async function applyPatches(patches: readonly Patch[]): Promise<ReadonlyMap<string, string>> {
  const sources = new Map<string, string>();
  for (const { file, find, replace } of patches) {
    const path = ROOT + file;
    const source = sources.get(path) ?? (await readFile(path, 'utf8'));
    const found = source.split(find).length - 1;
    if (found !== 1) {
      throw new Error(`a patch of ${file} must find its text once, and finds it ${found} times:\n${find}`);
    }
    sources.set(
      path,
      source.replace(find, () => replace),
    );
  }
  return sources;
}
