/** The series of several processes as those of one replica: each is added up, or joined as its own help says. */
import { AggregatorRegistry, collectDefaultMetrics, Gauge, Registry } from 'prom-client';

/** Metrics of one process, as `prom-client` exports them and adds them up. */
export type MetricsJson = readonly object[];

export interface JointMetrics {
  readonly contentType: string;
  /** A process has ended; what it had counted by its last report still counts. */
  noteEnded(metrics: MetricsJson): void;
  /** The exposition text of this process, of those that have ended, and of these. */
  text(all: readonly MetricsJson[]): Promise<string>;
}

const join = (all: readonly MetricsJson[]): Registry =>
  AggregatorRegistry.aggregate(all.map(metrics => [...metrics])) as Registry;

/** Whether it only ever grows. */
const isCount = (metric: object): boolean =>
  'type' in metric && (metric.type === 'counter' || metric.type === 'histogram');

/** @param workers how many are up now */
export function createJointMetrics(workers: () => number): JointMetrics {
  const own = new Registry();
  collectDefaultMetrics({ register: own });
  new Gauge({
    name: 'gatebell_workers',
    help: 'Workers that are up.',
    registers: [own],
    collect() {
      this.set(workers());
    },
  });
  let ended: Promise<MetricsJson> = Promise.resolve([]);

  return {
    contentType: own.contentType,
    noteEnded(metrics) {
      const counts = metrics.filter(isCount);
      ended = ended.then(before => join([before, counts]).getMetricsAsJSON());
    },
    async text(all) {
      return join([await own.getMetricsAsJSON(), await ended, ...all]).metrics();
    },
  };
}
