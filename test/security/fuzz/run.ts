/**
 * Fires as many cases as are wanted at a gate, or one of them again.
 *
 *   npm run fuzz -- --cases 1000000 --seed 7
 *   npm run fuzz -- --seed 7 --case 123456       with those that share its block
 *   npm run fuzz -- --cost --cases 200000        breeds requests that cost much, and prints the dearest
 *
 * Exits with 0 if nothing is wrong, 1 if something is, 2 on wrong usage.
 */
import { parseArgs } from 'node:util';
import { searchDearest, type Dearest } from '../cost/search.js';
import { BLOCK_CASES, makeBlock } from './cases.js';
import { fuzz } from './fuzz.js';

const PROGRESS_CASES = 100_000;
const CASES = 50_000;
/** Ordinary requests that one may cost. */
const COST_RATIO_MAX = 20;

function wholeNumber(name: string, value: string | undefined, otherwise: number): number {
  if (value === undefined) {
    return otherwise;
  }
  if (!/^\d{1,9}$/.test(value)) {
    console.error(`--${name} is '${value}'; allowed is a whole number from 0 to 999999999`);
    process.exit(2);
  }
  return Number(value);
}

const { values } = parseArgs({
  options: {
    cases: { type: 'string' },
    seed: { type: 'string' },
    case: { type: 'string' },
    connections: { type: 'string' },
    cost: { type: 'boolean' },
  },
});
const seed = wholeNumber('seed', values.seed, 1);
if (values.cost === true) {
  const tell = ({ ratio, microseconds, tried, status, genome }: Dearest): void =>
    console.log(
      `${tried} tried; the dearest costs ${ratio.toFixed(1)} ordinary requests (${microseconds.toFixed(0)} µs), ` +
        `status ${status}: ${JSON.stringify(genome)}`,
    );
  const dearest = await searchDearest({
    seed,
    requests: wholeNumber('cases', values.cases, CASES),
    onProgress: (_, found) => tell(found),
  });
  tell(dearest);
  process.exit(dearest.ratio < COST_RATIO_MAX ? 0 : 1);
}
const one = values.case === undefined ? null : wholeNumber('case', values.case, 0);
const connections = wholeNumber('connections', values.connections, 48);
const block = one === null ? 0 : Math.floor(one / BLOCK_CASES);

if (one !== null) {
  const session = makeBlock(seed, block).findLast(({ first }) => first <= one)!;
  for (const [at, each] of session.cases.entries()) {
    console.log(`case ${session.first + at}: ${each.kind}\n${JSON.stringify(each.bytes)}`);
  }
}

const startMs = performance.now();
let told = 0;
const result = await fuzz({
  seed,
  cases: one === null ? wholeNumber('cases', values.cases, CASES) : BLOCK_CASES,
  from: block,
  connections: Math.max(1, connections),
  onProgress: done => {
    if (done - told >= PROGRESS_CASES) {
      told = done;
      console.log(`${done} cases, ${Math.round((performance.now() - startMs) / 1_000)} s`);
    }
  },
});
const seconds = (performance.now() - startMs) / 1_000;
for (const [name, count] of [...result.seen].toSorted(([a], [b]) => a.localeCompare(b))) {
  console.log(`${String(count).padStart(9)}  ${name}`);
}
const megabytes = result.heapBytes.map(bytes => (bytes / 1e6).toFixed(1)).join(', ');
console.log(
  `seed ${seed}: ${result.cases} cases over ${result.connections} connections, ${result.requests} requests ` +
    'reached the gate, ' +
    `${seconds.toFixed(1)} s; heap after each third: ${megabytes} MB`,
);
for (const { number, problem, bytes } of result.faults.slice(0, 5)) {
  console.error(
    `\nWRONG: case ${number}: ${problem}\n${JSON.stringify(bytes)}\n` +
      `again: npm run fuzz -- --seed ${seed} --case ${number}`,
  );
}
process.exitCode = result.faults.length > 0 ? 1 : 0;
