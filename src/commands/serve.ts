/** `gatebell serve`: one replica, until it is told to stop. */
import cluster from 'node:cluster';
import type { Config } from '../config/config.js';
import { createReplica } from '../replica/replica.js';
import { EXIT } from './errors.js';
import { createLog } from '../ops/log.js';
import { errorText } from '../ops/log-lines.js';
import type { Observation } from '../ops/observation.js';
import { readMigrationStatus, requireCurrentSchema, SchemaError } from '../postgres/migrate.js';
import { runWorker } from '../replica/workers/worker.js';
import { requireDatabase, withClient, type CommandContext } from './context.js';

/**
 * Refuses a schema that does not fit, now rather than request by request. A database that does not answer is no reason
 * not to start: the replica says 503 until it does.
 */
async function checkSchema(context: CommandContext): Promise<void> {
  try {
    requireCurrentSchema(await withClient(context, readMigrationStatus));
  } catch (error) {
    if (error instanceof SchemaError) {
      throw error;
    }
    process.stderr.write(`gatebell: cannot check the schema yet: ${errorText(error)}; trying on\n`);
  }
}

/** Runs one of several processes that a replica has. The supervisor alone says when it stops. */
async function work(config: Config, log: (observation: Observation) => void): Promise<number> {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => undefined);
  }
  await runWorker(config, log, {
    send: message => process.send?.(message),
    onMessage: hear => process.on('message', hear),
    onGone: end => process.on('disconnect', end),
  });
  process.disconnect();
  return EXIT.done;
}

/** Runs a replica; the promise resolves with the exit code when it has stopped. */
export async function serve(context: CommandContext): Promise<number> {
  requireDatabase(context);
  const { config } = context;
  const log = createLog({
    format: config.logFormat,
    level: config.logLevel,
    write: line => process.stdout.write(line),
    nowMs: Date.now,
  });
  if (cluster.isWorker) {
    return work(config, log);
  }
  await checkSchema(context);
  const replica = createReplica(config, log);
  const stopped = new Promise<number>(resolve => {
    let asked = false;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (asked) {
        process.exit(EXIT.failed);
      }
      asked = true;
      void replica.stop(signal).then(() => {
        resolve(EXIT.done);
      });
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
    // Started by `gatebell dev`, and that is gone. (The channel alone must not keep this process alive.)
    process.channel?.unref();
    process.on('disconnect', () => {
      onSignal('SIGTERM');
    });
  });
  try {
    await replica.start();
  } catch (error) {
    await replica.abandon();
    throw error;
  }
  return stopped;
}
