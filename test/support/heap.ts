/** What is in memory, without garbage. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
// Checked by whoever calls it.
const collectGarbage = runInNewContext('gc') as () => void;

/** Mebibytes of the heap that are in use. */
export function heapMiB(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed / 1_048_576;
}
