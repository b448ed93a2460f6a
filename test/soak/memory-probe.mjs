/**
 * Loaded into a replica before all else, beside `--expose-gc`: at SIGUSR2 it collects garbage and logs what is left.
 */
process.on('SIGUSR2', () => {
  globalThis.gc();
  // What the first collection has finalised, the second one frees.
  setImmediate(() => {
    globalThis.gc();
    const { heapUsed, external, rss } = process.memoryUsage();
    const handles = process.getActiveResourcesInfo().length;
    const line = { event: 'memory', message: 'after garbage collection', heapUsed, external, rss, handles };
    process.stdout.write(JSON.stringify(line) + '\n');
  });
});
