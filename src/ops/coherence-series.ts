/**
 * The series that are read from a replica's caches and its listener at each scrape: nothing is counted for them here.
 */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Coherence } from '../coherence/coherence.js';
import type { ListenerState } from '../coherence/observation.js';

/** What is read of a coherence. */
export type ScrapedCoherence = Pick<Coherence, 'state' | 'stalenessBoundMs' | 'caches' | 'watchProblems' | 'audits'>;

const STATES: readonly ListenerState[] = ['down', 'connecting', 'listening', 'live', 'unproven'];

/** Adds the series to the registry. */
export function addCoherenceSeries(registry: Registry, coherence: ScrapedCoherence): void {
  addCacheSeries(registry, coherence);
  addListenerSeries(registry, coherence);
  addAuditSeries(registry, coherence);
}

function addCacheSeries(registry: Registry, coherence: ScrapedCoherence): void {
  const registers = [registry];
  new Counter({
    name: 'gatebell_cache_lookups_total',
    help:
      'Look-ups of facts: hit, negative_hit (known not to exist), miss, ' +
      'unproven (not looked up, because nothing may be served).',
    labelNames: ['topic', 'result'],
    registers,
    collect() {
      this.reset();
      for (const { topic, stats } of coherence.caches) {
        this.inc({ topic, result: 'hit' }, stats.hits);
        this.inc({ topic, result: 'negative_hit' }, stats.negativeHits);
        this.inc({ topic, result: 'miss' }, stats.misses);
        this.inc({ topic, result: 'unproven' }, stats.unproven);
      }
    },
  });
  new Gauge({
    name: 'gatebell_cache_entries',
    help: 'Facts in memory, those known not to exist included.',
    labelNames: ['topic'],
    registers,
    collect() {
      for (const { topic, size, negativeEntries } of coherence.caches) {
        this.set({ topic }, size + negativeEntries);
      }
    },
  });
}

function addListenerSeries(registry: Registry, coherence: ScrapedCoherence): void {
  const registers = [registry];
  new Gauge({
    name: 'gatebell_listener_state',
    help: '1 for the state that the listener is in; with workers, how many of them are in it.',
    labelNames: ['state'],
    registers,
    collect() {
      for (const state of STATES) {
        this.set({ state }, Number(state === coherence.state));
      }
    },
  });
  new Gauge({
    name: 'gatebell_staleness_bound_seconds',
    help: 'How far what is served from memory may lie behind Postgres; 0 while nothing is served from memory.',
    aggregator: 'max',
    registers,
    collect() {
      this.set((coherence.stalenessBoundMs ?? 0) / 1000);
    },
  });
  new Gauge({
    name: 'gatebell_watch_problems',
    help: '1 while the triggers of a topic are not in place, so that nothing of it is served from memory.',
    aggregator: 'max',
    labelNames: ['topic'],
    registers,
    collect() {
      for (const { topic } of coherence.caches) {
        this.set({ topic }, Number(coherence.watchProblems.has(topic)));
      }
    },
  });
}

function addAuditSeries(registry: Registry, coherence: ScrapedCoherence): void {
  const registers = [registry];
  new Counter({
    name: 'gatebell_audit_facts_total',
    help: 'Facts in memory that audits have compared with Postgres.',
    labelNames: ['topic'],
    registers,
    collect() {
      this.reset();
      for (const { topic, facts } of coherence.audits) {
        this.inc({ topic }, facts);
      }
    },
  });
  new Counter({
    name: 'gatebell_audit_stale_facts_total',
    help: 'Facts in memory that audits have found to be stale; must stay 0.',
    labelNames: ['topic'],
    registers,
    collect() {
      this.reset();
      for (const { topic, stale } of coherence.audits) {
        this.inc({ topic }, stale);
      }
    },
  });
  new Gauge({
    name: 'gatebell_audit_stale_age_seconds',
    help: 'Age, since its load, of the oldest stale fact that an audit has found; 0 if there was none.',
    aggregator: 'max',
    labelNames: ['topic'],
    registers,
    collect() {
      for (const { topic, staleAgeMs } of coherence.audits) {
        this.set({ topic }, staleAgeMs / 1000);
      }
    },
  });
}
