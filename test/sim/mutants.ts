/**
 * Mistakes that the simulation must see. Each is a patch of the sources, applied in memory while the simulation is
 * bundled (`bundle.ts`), so nothing that is built for production can reach it; a patch that no longer finds its text
 * fails the test of its name.
 *
 * Where two rules guard against the same, taking one away shows nothing. Such a mutant takes the other away as well
 * (`without`), and the test shows that this alone is not what the simulation sees: the seed that fails with both is
 * clean without the mistake.
 */
import type { Patch } from './bundle.js';
import type { ViolationKind } from './checker.js';
import type { ProfileName } from './profiles.js';

export interface Mutant {
  /** As docs/protocol.md names it, in the row of the rule that it breaks. */
  readonly name: string;
  /** The mistake, in words. */
  readonly mistake: string;
  readonly patches: readonly Patch[];
  /** Other guards, taken away as well. */
  readonly without?: readonly Patch[];
  readonly profile: ProfileName;
  /** Has shown it, and is tried first. */
  readonly seed: number;
  /** Then seeds 1 to this are tried; one of them must show it. */
  readonly seeds: number;
  /** What the simulation says first. */
  readonly expects: readonly ViolationKind[];
}

const patch =
  (file: string) =>
  (find: string, replace: string): Patch => ({ file, find, replace });
const acceptance = patch('src/coherence/facts/source-check.ts');
const barriers = patch('src/coherence/proof/barriers.ts');
const bus = patch('src/coherence/bus.ts');
const cache = patch('src/coherence/facts/cache.ts');
const connection = patch('src/coherence/proof/connection.ts');
const fenceLoop = patch('src/coherence/proof/fence-loop.ts');
const heardFences = patch('src/coherence/proof/heard-fences.ts');
const lease = patch('src/coherence/proof/lease.ts');
const listener = patch('src/coherence/proof/listener.ts');
const listenedServer = patch('src/coherence/proof/server.ts');
const loader = patch('src/coherence/facts/loader.ts');
const messages = patch('src/coherence/proof/messages.ts');
const queue = patch('src/collections/fair-queue.ts');
const pass = patch('src/coherence/facts/pass.ts');
const reader = patch('src/coherence/facts/reader.ts');
const slots = patch('src/coherence/facts/slots.ts');
const watches = patch('src/coherence/proof/watches.ts');
const decide = patch('src/auth/decide.ts');
const holder = patch('src/auth/holder.ts');
const coherence = patch('src/coherence/coherence.ts');
const remote = patch('src/replica/workers/remote-subscription.ts');
const shared = patch('src/replica/workers/shared-subscription.ts');
const cluster = patch('test/sim/cluster.ts');
const replica = patch('test/sim/replica.ts');
const wires = patch('test/sim/wires.ts');

/** The first fence of an epoch forgets everything that was loaded before it, which hides most mistakes about epochs. */
const FIRST_FENCE_KEEPS_LOADS = watches(
  'filter(topic => !lease.trusts(topic) ||',
  'filter(topic => before.size > 0 && !lease.trusts(topic) ||',
);
/** A topic has one batch in flight, so that there is one flight of a key. */
const MANY_BATCHES = slots('inFlight ? null : depart();', 'depart();');
const EPOCH_CHECK = 'epoch !== lease.epoch || ';
const FRESH =
  'return monoElapsedMs >= 0 && monoElapsedMs <= leaseMs && wallElapsedMs >= 0 && wallElapsedMs <= leaseMs;';
const PROVE = '        proof = sent;';
const END_EPOCH = '      epoch = null;';
/** Whether the listening backend is on the server that answers is not looked at. */
const NEVER_GONE = listenedServer(
  "if (listener === 'absent' || (listener === 'unsure' && isSeen && isProven)) {",
  'if (false) {',
);
/** What is read is believed before it is known where it was read. */
const AT_ONCE = lease('return inquiry?.signal ?? null;', 'return null;');
const DOUBTED = '  let doubted = false;';

/** What was served was not so: which promise it breaks first is chance. */
const STALE: readonly ViolationKind[] = ['G1', 'G2', 'G3', 'rest'];

export const MUTANTS: readonly Mutant[] = [
  {
    name: '1',
    mistake: 'the epoch is bumped at down, so that the time without one counts as part of the next',
    patches: [
      lease('    get epoch() {\n      return epoch;', '    get epoch() {\n      return epochs;'),
      lease('      epoch = ++epochs;', '      epoch = epochs;'),
      lease(END_EPOCH, `${END_EPOCH}\n      epochs += 1;`),
    ],
    without: [FIRST_FENCE_KEEPS_LOADS],
    profile: 'reconnects',
    seed: 17,
    seeds: 200,
    expects: STALE,
  },
  {
    name: '2',
    mistake: 'whether there is an epoch is looked at when a fact is stored, not when its load is sent',
    patches: [cache(EPOCH_CHECK, 'lease.epoch === null || ')],
    without: [FIRST_FENCE_KEEPS_LOADS],
    profile: 'reconnects',
    seed: 17,
    seeds: 200,
    expects: STALE,
  },
  {
    name: '3',
    mistake: 'epochs are not compared at all',
    patches: [cache(EPOCH_CHECK, ''), lease('trusts: topic => epoch !== null && ', 'trusts: topic => ')],
    without: [FIRST_FENCE_KEEPS_LOADS],
    profile: 'reconnects',
    seed: 17,
    seeds: 200,
    expects: STALE,
  },
  {
    name: '4',
    mistake: 'a LISTEN that was sent counts as in place',
    patches: [
      wires(
        '      this.#timeline.after(this.#delayMs() + this.#delayMs(), () => {\n        const server = ' +
          'this.#cluster.primary;',
        `      this.#machine.receive(() => {
        stopWaiting();
        resolve({
          backend: { processId: connection.processId, mark: '' },
          send: () => undefined,
          close: () => connection.close(),
        });
      });
      this.#timeline.after(this.#delayMs() + this.#delayMs(), () => {
        const server = this.#cluster.primary;`,
      ),
    ],
    profile: 'calm',
    seed: 1,
    seeds: 20,
    expects: ['rates', 'rest'],
  },
  {
    name: '5',
    mistake: 'an invalidation does not forget flights',
    patches: [cache('    flights.delete(text);\n    return', '    return'), cache('    flights.clear();\n', '')],
    profile: 'calm',
    seed: 4,
    seeds: 20,
    expects: STALE,
  },
  {
    name: '6',
    mistake: 'the guard is the presence of the key, not the identity of the flight',
    patches: [
      cache('flights.get(ticket.text) === ticket && flights.delete(ticket.text)', 'flights.delete(ticket.text)'),
    ],
    without: [MANY_BATCHES],
    profile: 'calm',
    seed: 1,
    seeds: 40,
    expects: STALE,
  },
  {
    name: '7',
    mistake: 'the end of a flight deletes a newer one of the same key',
    patches: [
      cache(
        'flights.get(ticket.text) === ticket && flights.delete(ticket.text)',
        '[flights.get(ticket.text) === ticket, flights.delete(ticket.text)][0]!',
      ),
    ],
    without: [MANY_BATCHES],
    profile: 'calm',
    seed: 1,
    seeds: 40,
    expects: ['rates'],
  },
  {
    name: '8',
    mistake: 'a signal of a whole topic skips flights',
    patches: [
      cache(
        "    if (signal.type === 'flush' || signal.keys === null) {",
        `    if (signal.type === 'change' && signal.keys === null) {
      entries.clear();
      negativeEntries.clear();
    } else if (signal.type === 'flush') {`,
      ),
    ],
    profile: 'loads',
    seed: 3,
    seeds: 60,
    expects: STALE,
  },
  {
    name: '9',
    mistake: 'the flush of a malformed payload keeps flights',
    patches: [
      cache(
        "    if (signal.type === 'flush' || signal.keys === null) {",
        `    if (signal.type === 'flush' && signal.cause === 'malformed') {
      entries.clear();
      negativeEntries.clear();
    } else if (signal.type === 'flush' || signal.keys === null) {`,
      ),
    ],
    profile: 'loads',
    seed: 2,
    seeds: 60,
    expects: STALE,
  },
  {
    name: '10',
    mistake: 'nothing is flushed when the connection is given up',
    patches: [connection("    bus.emit({ type: 'flush', cause: 'down' });\n", '')],
    without: [FIRST_FENCE_KEEPS_LOADS],
    profile: 'reconnects',
    seed: 1,
    seeds: 40,
    expects: STALE,
  },
  {
    name: '11',
    mistake: 'a proof is stamped when its echo comes',
    patches: [fenceLoop('lease.prove(fence.sent);', 'lease.prove(clock.now());')],
    profile: 'stalls',
    seed: 71,
    seeds: 240,
    expects: STALE,
  },
  {
    name: '12',
    mistake: 'the lease is never checked',
    patches: [lease(FRESH, 'return true;')],
    profile: 'stalls',
    seed: 1,
    seeds: 20,
    expects: STALE,
  },
  {
    name: '13',
    mistake: 'the lease runs out by a timer',
    patches: [
      lease(DOUBTED, `${DOUBTED}\n  let holds = false;\n  let cancel = (): void => undefined;`),
      lease(FRESH, 'return holds;'),
      lease(END_EPOCH, `${END_EPOCH}\n      cancel();\n      holds = false;`),
      lease(
        PROVE,
        `${PROVE}
        cancel();
        holds = true;
        cancel = clock.startTimer(leaseMs, () => {
          holds = false;
        });`,
      ),
    ],
    profile: 'sleeps',
    seed: 1,
    seeds: 40,
    expects: STALE,
  },
  {
    name: '14',
    mistake: 'the wall clock is not looked at',
    patches: [lease(FRESH, 'return monoElapsedMs >= 0 && monoElapsedMs <= leaseMs;')],
    profile: 'sleeps',
    seed: 1,
    seeds: 40,
    expects: STALE,
  },
  {
    name: '15',
    mistake: 'the wall clock is looked at by a timer',
    patches: [
      lease(DOUBTED, `${DOUBTED}\n  let holds = false;\n  let cancel = (): void => undefined;`),
      lease(FRESH, 'return holds && monoElapsedMs >= 0 && monoElapsedMs <= leaseMs;'),
      lease(END_EPOCH, `${END_EPOCH}\n      cancel();\n      holds = false;`),
      lease(
        PROVE,
        `${PROVE}
        cancel();
        holds = true;
        const look = (): void => {
          holds &&= clock.now().wallMs - sent.wallMs <= leaseMs;
          cancel = clock.startTimer(100, look);
        };
        cancel = clock.startTimer(100, look);`,
      ),
    ],
    profile: 'sleeps',
    seed: 1,
    seeds: 40,
    expects: STALE,
  },
  {
    name: '16',
    mistake: 'a fence that was in flight when the clock was stepped proves',
    patches: [fenceLoop('if (Math.abs(now.wallMs - fence.sent.wallMs - ageMs) > CLOCK_JUMP_MS) {', 'if (false) {')],
    profile: 'stepped',
    seed: 1,
    seeds: 60,
    expects: STALE,
  },
  {
    name: '17',
    mistake: 'a step of the clock is noticed when the fence has been taken for answered: nothing follows it',
    patches: [fenceLoop("fail(fence, 'clock_jump');", 'inFlight = null;')],
    profile: 'stepped',
    seed: 1,
    seeds: 40,
    expects: ['rest', 'rates'],
  },
  {
    name: '18',
    mistake: 'a strong read joins a fence in flight',
    patches: [
      fenceLoop(
        '      waiting ??= createFenceRequest(true);\n',
        '      if (inFlight !== null) {\n        return inFlight.outcome;\n      }\n' +
          '      waiting ??= createFenceRequest(true);\n',
      ),
    ],
    profile: 'halves',
    seed: 3,
    seeds: 60,
    expects: ['G3'],
  },
  {
    name: '19',
    mistake: 'strong reads that wait for a fence hang when the connection is given up',
    patches: [fenceLoop('      waiting?.resolve(null);\n      waiting = null;', '      waiting = null;')],
    without: [
      reader(
        'const timedOut = deadline.over.then(() => null);',
        'const timedOut = new Promise<null>(() => undefined);',
      ),
    ],
    profile: 'reconnects',
    seed: 2,
    seeds: 40,
    expects: ['rest'],
  },
  {
    name: '20',
    mistake: 'a read that nothing proves joins a batch that was sent',
    patches: [cache('lease.serves(topic, clock.now()) ? flights.get(text) : undefined;', 'flights.get(text);')],
    profile: 'network',
    seed: 2,
    seeds: 40,
    expects: ['rates'],
  },
  {
    name: '21',
    mistake: 'what was loaded for a request is no evidence for it',
    patches: [reader('if (loaded.sentAt > arrivedAt) {', 'if (false) {')],
    profile: 'network',
    seed: 1,
    seeds: 20,
    expects: ['rates'],
  },
  {
    name: '22',
    mistake: 'what was loaded before a strong request arrived is evidence for it',
    patches: [reader('if (loaded.sentAt > arrivedAt) {', 'if (true) {')],
    profile: 'joins',
    seed: 3,
    seeds: 40,
    expects: ['G3'],
  },
  {
    name: '23',
    mistake: 'invalidations are deferred, fences are not',
    patches: [
      messages(
        '          bus.emit(message);\n',
        '          clock.defer(() => {\n            bus.emit(message);\n          });\n',
      ),
    ],
    profile: 'calm',
    seed: 1,
    seeds: 40,
    expects: STALE,
  },
  {
    name: '24',
    mistake: 'a fence overtakes what is before it in the queue',
    patches: [
      wires(
        '    const queuedAt = this.#parts.tap.onQueued();\n',
        `    const queuedAt = this.#parts.tap.onQueued();
    if (payload.includes('"f"')) {
      this.#parts.machine.receive(() => {
        this.#parts.events.onMessage(payload);
      });
      return;
    }
`,
      ),
    ],
    profile: 'stalls',
    seed: 1,
    seeds: 40,
    expects: STALE,
  },
  {
    name: '25',
    mistake: 'a cache whose handler throws is not flushed',
    patches: [bus('          cache.flush();\n', '')],
    without: [
      cache(
        '    let forgotten = 0;\n',
        "    let forgotten = 0;\n    if (signal.type === 'change' && signal.keys?.[0]?.[0] === 'u1') {\n      " +
          "throw new Error('a cache that throws');\n    }\n",
      ),
    ],
    profile: 'network',
    seed: 1,
    seeds: 20,
    expects: STALE,
  },
  {
    name: '26',
    mistake: 'a trigger emits nothing',
    patches: [cluster('if (keys.length > 0 && triggers', "if (topic !== 'grant' && keys.length > 0 && triggers")],
    profile: 'calm',
    seed: 1,
    seeds: 20,
    expects: STALE,
  },
  {
    name: '27',
    mistake: 'loads share the snapshot of a transaction that stays open',
    patches: [
      wires(
        '  #readsInFlight = 0;\n',
        '  #readsInFlight = 0;\n  #snapshot: { of: Server; server: Server; untilMs: number } | null = null;\n',
      ),
      wires(
        '  #read(server: Server, topic: Topic, keys: readonly Key[]): QueryResult | Error {\n',
        `  #read(now: Server, topic: Topic, keys: readonly Key[]): QueryResult | Error {
    if (this.#snapshot === null || this.#snapshot.of !== now || this.#timeline.nowMs > this.#snapshot.untilMs) {
      this.#snapshot = { of: now, server: { ...now, rows: new Map(now.rows) }, untilMs: this.#timeline.nowMs + 20 };
    }
    const { server } = this.#snapshot;
`,
      ),
    ],
    profile: 'calm',
    seed: 1,
    seeds: 20,
    expects: STALE,
  },
  {
    name: '28',
    mistake: 'the pool may read from an old primary',
    patches: [
      acceptance('(lease.serverId === null || lease.serverId === serverId)', 'true'),
      NEVER_GONE,
      listenedServer(': changeOf(lease.serverId, serverId);', ': null;'),
      AT_ONCE,
      lease('doubted ||= isCertain || everProven;', ''),
    ],
    profile: 'leftBehind',
    seed: 2,
    seeds: 40,
    expects: STALE,
  },
  {
    name: '29',
    mistake: "Postgres' clock is counted from when its answer came",
    patches: [
      fenceLoop('serverClock.observe(fence.sent, ', 'serverClock.observe(clock.now(), '),
      loader(
        '    serverClock.observe(sent, reading.serverTimeMs);\n    const factOf',
        '    serverClock.observe(clock.now(), reading.serverTimeMs);\n    const factOf',
      ),
    ],
    profile: 'calm',
    seed: 1,
    seeds: 20,
    expects: ['P7', 'G4'],
  },
  {
    name: '30',
    mistake:
      "Postgres' clock is counted on the monotonic clock alone, which stands still while the machine is suspended",
    patches: [
      lease(
        'Math.max(now.monoMs - sample.sent.monoMs, now.wallMs - sample.sent.wallMs, 0)',
        'now.monoMs - sample.sent.monoMs',
      ),
    ],
    profile: 'sleeps',
    seed: 2,
    seeds: 40,
    expects: ['P7', 'G4'],
  },
  {
    name: '31',
    mistake: 'an error of an old connection ends the new epoch',
    patches: [
      listener('{ status, watches, isFirst });', '{ status, watches, isFirst, newest: () => connection });'),
      connection('{ status, watches, isFirst }:', '{ status, watches, isFirst, newest }:'),
      connection('onLost: error => {\n              end(', 'onLost: error => {\n              newest().end('),
    ],
    profile: 'network',
    seed: 2,
    seeds: 40,
    expects: ['rates'],
  },
  {
    name: '32',
    mistake: 'a second caller of a waiting key takes the place of the first',
    patches: [
      loader(
        'if (joined !== undefined) {\n            return joined;',
        'if (joined !== undefined && false) {\n            return joined;',
      ),
    ],
    profile: 'calm',
    seed: 1,
    seeds: 20,
    expects: ['rest'],
  },
  {
    name: '33',
    mistake: 'a flight that failed stays',
    patches: [cache('onFailed: endFlight,', 'onFailed: () => undefined,')],
    profile: 'hostile',
    seed: 3,
    seeds: 40,
    expects: ['rates'],
  },
  {
    name: '34-id',
    mistake: 'any fence proves whatever was asked for, whatever its id',
    patches: [heardFences(' && newest.id >= bound', '')],
    profile: 'echoes',
    seed: 1,
    seeds: 60,
    expects: STALE,
  },
  {
    name: '34-completed',
    mistake: 'the newest transaction that had completed as of the question proves what was asked for',
    patches: [heardFences('newest.id >= bound', 'newest.id >= bound - 1')],
    profile: 'stalls',
    seed: 1,
    seeds: 200,
    expects: STALE,
  },
  {
    name: '34-signature',
    mistake: "anybody's fence proves: signatures are not looked at",
    patches: [heardFences(' || !isSigned(fence, key)', '')],
    profile: 'echoes',
    seed: 1,
    seeds: 60,
    expects: STALE,
  },
  {
    name: '34-server-id',
    mistake: 'a fence of another server proves',
    patches: [heardFences('newest.serverId === serverId && ', ''), heardFences('fence.serverId !== serverId || ', '')],
    without: [NEVER_GONE],
    profile: 'leftBehind',
    seed: 10,
    seeds: 60,
    expects: STALE,
  },
  {
    name: 'proof-by-number',
    mistake: 'the number of a fence proves: a sequence that is set back makes old ones count',
    patches: [
      fenceLoop('heard.hasHeard(receipt.bound, receipt.serverId)', 'heard.hasHeard(receipt.newest, receipt.serverId)'),
      heardFences('newest.id >= bound', 'newest.number > bound'),
      heardFences('fence.id <= newest.id', 'fence.number <= newest.number'),
    ],
    profile: 'restores',
    seed: 1,
    seeds: 60,
    expects: STALE,
  },
  {
    name: 'looked-for-once',
    mistake: 'the listening backend is looked for until a fence has come back, and not after that',
    patches: [
      listenedServer("(listener === 'absent' ||", "((listener === 'absent' && !isProven) ||"),
      listenedServer("listener === 'seen' || !isSeen,", 'true,'),
    ],
    profile: 'crashes',
    seed: 1,
    seeds: 200,
    expects: STALE,
  },
  {
    name: 'schema-without-a-name',
    mistake: 'a schema that was restored in place is not told from the one before',
    patches: [cluster('`${started}/16384/${schema}`', '`${started}/16384/${Math.min(schema, 0)}`')],
    without: [watches('!lease.trusts(topic) || wasTouched(topic)', '!lease.trusts(topic)')],
    profile: 'restores',
    seed: 1,
    seeds: 60,
    expects: STALE,
  },
  {
    name: 'newcomer-believes',
    mistake: 'a replica that was never proven believes what its pool reads',
    patches: [lease('return inquiry?.signal ?? null;', 'return everProven ? (inquiry?.signal ?? null) : null;')],
    without: [connection('        await findServer(subscription);\n', '')],
    profile: 'newcomers',
    seed: 1,
    seeds: 20,
    expects: STALE,
  },
  {
    name: 'fences-of-ones-own',
    mistake: 'every question has a fence sent: fences of others are no reason not to',
    patches: [fenceLoop("void ask(fence, 'never');", 'void ask(fence, { unlessAfter: Number.MAX_SAFE_INTEGER });')],
    profile: 'calm',
    seed: 18,
    seeds: 60,
    expects: ['rates'],
  },
  {
    name: '35',
    mistake: 'a proof goes backwards',
    patches: [lease('(proof === null || sent.monoMs >= proof.monoMs)', 'true')],
    without: [
      fenceLoop('  let heardMs = -Infinity;\n', '  let heardMs = -Infinity;\n  let earlier = null;\n'),
      fenceLoop(
        '    lease.prove(fence.sent);\n',
        '    lease.prove(fence.sent);\n    lease.prove(earlier ?? fence.sent);\n    earlier = fence.sent;\n',
      ),
    ],
    profile: 'calm',
    seed: 1,
    seeds: 10,
    expects: ['rates'],
  },
  {
    name: '36',
    mistake: 'an expired grant counts as missing',
    patches: [
      decide(
        "    return deny('expired_grant');",
        "    lacks.push({ topic: 'grant', key: [holder.userId, app.id] });\n    return { lacks };",
      ),
    ],
    profile: 'calm',
    seed: 1,
    seeds: 20,
    expects: ['rates'],
  },
  {
    name: '37',
    mistake: "a trigger's text of a key is not the load's",
    patches: [
      cluster('{ v: 1, s: topic, k: keys }', "{ v: 1, s: topic, k: keys.map(key => key.map(part => '\\\\x' + part)) }"),
    ],
    profile: 'calm',
    seed: 1,
    seeds: 10,
    expects: STALE,
  },
  {
    name: '37-load',
    mistake: "a load's text of a key is not the one that was asked for",
    patches: [
      replica("key: row => row['key'] as Key", "key: row => (row['key'] as Key).map(part => part.toUpperCase())"),
    ],
    profile: 'calm',
    seed: 1,
    seeds: 10,
    expects: ['rates'],
  },
  {
    name: '38',
    mistake: 'use extends the life of what is cached',
    patches: [
      cache(
        '      noteServed(entry);',
        '      Object.assign(entry, { sentMonoMs: now.monoMs });\n      noteServed(entry);',
      ),
    ],
    profile: 'slips',
    seed: 13,
    seeds: 40,
    expects: STALE,
  },
  {
    name: 'age-ignored',
    mistake: 'what is cached never grows too old',
    patches: [cache(' || now.monoMs > tooOldAfterMs(entry)', '')],
    profile: 'slips',
    seed: 2,
    seeds: 20,
    expects: STALE,
  },
  {
    name: 'half-a-transaction',
    mistake: 'a strong answer may rest on facts that were loaded after its fence was sent',
    patches: [reader('!outcome.strong || fenced.newestAt < fence.sentAt', 'true')],
    profile: 'halves',
    seed: 14,
    seeds: 40,
    expects: ['G3'],
  },
  {
    name: 'several-snapshots',
    mistake: 'without a fence, a strong answer joins facts of several snapshots',
    patches: [
      reader(
        'evidence = new Map([...wanted].map(([name, { ref }], index) => [name, { ref, loaded: loaded[index]! }]));',
        'evidence = new Map([...[...wanted].map(([name, { ref }], index) => [name, { ref, loaded: loaded[index]! ' +
          '}] as const), ...evidence]);',
      ),
    ],
    profile: 'strong',
    seed: 1,
    seeds: 100,
    expects: ['G3'],
  },
  {
    name: 'trust-kept',
    mistake: 'an epoch begins with the trust of the last one',
    patches: [lease('      trusted = new Set();\n', '')],
    profile: 'flickers',
    seed: 13,
    seeds: 60,
    expects: STALE,
  },
  {
    name: 'touched-trigger',
    mistake: 'a trigger that was disabled and enabled goes unnoticed',
    patches: [watches('!lease.trusts(topic) || wasTouched(topic)', '!lease.trusts(topic)')],
    profile: 'ddl',
    seed: 2,
    seeds: 20,
    expects: STALE,
  },
  {
    name: 'open-writers',
    mistake: 'triggers that were put back are trusted at once, though who wrote before has not committed',
    patches: [watches('      if (haveEnded(left)) {', '      if (true) {')],
    profile: 'writers',
    seed: 1,
    seeds: 20,
    expects: STALE,
  },
  {
    name: 'trusted-before-forgotten',
    mistake: 'topics are trusted again before all of them are forgotten',
    patches: [watches('[...trusted].filter(topic => !unheard.includes(topic))', 'trusted')],
    profile: 'writers',
    seed: 47,
    seeds: 150,
    expects: STALE,
  },
  {
    name: 'open-writers-of-an-epoch',
    mistake: 'an epoch begins with trust in triggers, though transactions may have begun to write before',
    patches: [
      watches(
        'before?.fingerprint === fingerprint ? remaining(before.left, writers) : writers;',
        'before === undefined ? new Set<string>() : before.fingerprint === fingerprint ? remaining(before.left, ' +
          'writers) : writers;',
      ),
    ],
    profile: 'writers',
    seed: 1,
    seeds: 60,
    expects: STALE,
  },
  {
    name: 'disabled-trigger',
    mistake: 'a disabled trigger is trusted',
    patches: [watches('      if (problem !== null) {', '      if (problem === undefined) {')],
    profile: 'ddl',
    seed: 1,
    seeds: 20,
    expects: STALE,
  },
  {
    name: 'data-error',
    mistake: 'a value that Postgres refuses fails its whole batch',
    patches: [loader('if (tickets.length > 1 && isDataError) {', 'if (tickets.length > 1 && false) {')],
    profile: 'loads',
    seed: 2,
    seeds: 40,
    expects: ['G6'],
  },
  {
    name: 'overdue-first',
    mistake: 'a fence is overdue before the sockets were read',
    patches: [messages('const TURNS_MAX = 100;', 'const TURNS_MAX = 0;')],
    profile: 'pauses',
    seed: 16,
    seeds: 40,
    expects: ['rates'],
  },
  {
    name: 'standby-read',
    mistake: 'what a standby answers is believed',
    patches: [acceptance('if (!inRecovery && (', 'if ((')],
    profile: 'servers',
    seed: 8,
    seeds: 60,
    expects: STALE,
  },
  {
    name: 'no-doubt',
    mistake: 'what the pool reads is believed though it was found on another server',
    patches: [lease('doubted ||= isCertain || everProven;', '')],
    profile: 'leftBehind',
    seed: 6,
    seeds: 40,
    expects: STALE,
  },
  {
    name: 'absent-ignored',
    mistake: 'a fence that was sent on another server than the listener is on tells nothing',
    patches: [NEVER_GONE],
    without: [AT_ONCE],
    profile: 'leftBehind',
    seed: 5,
    seeds: 40,
    expects: STALE,
  },
  {
    name: 'barrier-unheard',
    mistake: 'a barrier is not answered',
    patches: [messages('          answerBarrier(message.id);\n', '')],
    profile: 'calm',
    seed: 1,
    seeds: 10,
    expects: ['rest'],
  },
  {
    name: 'barrier-at-once',
    mistake: 'a barrier is answered before a fence has seen the triggers',
    patches: [barriers('const outcome = await fence();', 'const outcome = await Promise.resolve();')],
    profile: 'ddl',
    seed: 20,
    seeds: 60,
    expects: ['G2'],
  },
  {
    name: 'hooks-first',
    mistake: 'the bus tells subscribers before caches',
    patches: [
      bus(
        '      for (const cache of caches) {\n',
        `      for (const { topic, handler } of subscriptions) {
        if (signal.type === 'change' && signal.topic === topic) {
          handler(signal);
        }
      }
      for (const cache of caches) {
`,
      ),
    ],
    profile: 'calm',
    seed: 1,
    seeds: 20,
    expects: ['G1', 'G2'],
  },
  {
    name: 'handler-throws',
    mistake: 'a subscriber that throws harms others',
    patches: [bus("observe({ event: 'handler_failed', topic, handler: 'subscriber', error });", 'throw error;')],
    profile: 'hostile',
    seed: 6,
    seeds: 60,
    expects: ['G6'],
  },
  {
    name: 'malformed-ignored',
    mistake: 'a message that is not understood is ignored',
    patches: [messages("          bus.emit({ type: 'flush', cause: 'malformed' });\n", '')],
    profile: 'hostile',
    seed: 3,
    seeds: 20,
    expects: STALE,
  },
  {
    name: 'slots',
    mistake: 'loads may take the whole pool',
    patches: [slots('if (used >= slotsMax) {', 'if (false) {')],
    profile: 'calm',
    seed: 1,
    seeds: 20,
    expects: ['G5'],
  },
  {
    name: 'batch-size',
    mistake: 'a batch has no bound',
    patches: [loader('waiting.take(limits.batchKeysMax)', 'waiting.take(Infinity)')],
    profile: 'floods',
    seed: 1,
    seeds: 20,
    expects: ['G5'],
  },
  {
    name: 'queue-size',
    mistake: 'any number of keys may wait to be loaded',
    patches: [loader('createFairQueue<PendingLoad<V>>(limits.waitingKeysMax)', 'createFairQueue<PendingLoad<V>>(1e6)')],
    profile: 'floods',
    seed: 1,
    seeds: 20,
    expects: ['G5'],
  },
  {
    name: 'one-lane',
    mistake: 'made-up keys wait among real ones',
    patches: [
      queue('const half = isKnown ? known : unknown;', 'const half = known;'),
      queue('(isKnown ? 1 : UNKNOWN_SHARE)', '1'),
    ],
    profile: 'floods',
    seed: 3,
    seeds: 40,
    expects: ['G5'],
  },
  {
    name: 'one-room',
    mistake: 'negative entries evict facts',
    patches: [cache('(value === null ? negativeEntries : entries).set', 'entries.set')],
    profile: 'floods',
    seed: 7,
    seeds: 40,
    expects: ['rates', 'G5'],
  },
  {
    name: 'absences',
    mistake: 'any number of negative entries is remembered',
    patches: [cache('createSieveMap<Held<V>>(negativeEntriesMax', 'createSieveMap<Held<V>>(1e6')],
    profile: 'floods',
    seed: 2,
    seeds: 20,
    expects: ['G5'],
  },
  {
    name: 'ghost',
    mistake: 'a connection that is given up stays open',
    patches: [connection('    abort.abort();\n', ''), connection('      before.subscription.close();\n', '')],
    profile: 'servers',
    seed: 1,
    seeds: 60,
    expects: ['G5'],
  },
  {
    name: 'no-backoff',
    mistake: 'a new connection is tried at once, for ever',
    patches: [listener('await sleep(clock, retryMs, stop);', 'await sleep(clock, 0, stop);')],
    profile: 'reconnects',
    seed: 3,
    seeds: 20,
    expects: ['rates'],
  },
  {
    name: 'no-pause',
    mistake: 'a fence follows the other without a pause',
    patches: [fenceLoop('          await untilNext(fence);\n', '')],
    profile: 'calm',
    seed: 1,
    seeds: 10,
    expects: ['rates'],
  },
  {
    name: 'barrier before reads',
    mistake: 'a barrier is answered while reads are under way that began before it',
    patches: [barriers('      await reads.over;\n', '')],
    profile: 'loads',
    seed: 3,
    seeds: 60,
    expects: ['G2'],
  },
  {
    name: 'evidence does not age',
    mistake: 'what was read for a request decides it, however long ago it was read',
    patches: [reader('isYoungerThan(lease.leaseMs, loaded.sent, now)', 'isYoungerThan(Infinity, loaded.sent, now)')],
    profile: 'loads',
    seed: 2,
    seeds: 200,
    expects: ['G1'],
  },
  {
    name: 'evidence under a fence',
    mistake: 'a strong answer takes from what was read for it where a fence vouches for the rest',
    patches: [reader('pass(lease.epoch === fence.epoch, null)', 'pass(lease.epoch === fence.epoch, evidence)')],
    profile: 'halves',
    seed: 1,
    seeds: 40,
    expects: ['G3'],
  },
  {
    name: 'evidence of several',
    mistake: 'a strong answer without a fence takes several facts from what was read for it one after the other',
    patches: [reader('before.size === 1 ? before : new Map()', 'before')],
    profile: 'strong',
    seed: 1,
    seeds: 40,
    expects: ['G3'],
  },
  {
    name: 'evidence waits for a fence',
    mistake: 'the age of what was read for a request is not checked again after a fence did not come',
    patches: [reader('      dropOutdated(evidence);\n', '')],
    profile: 'strong',
    seed: 3,
    seeds: 100,
    expects: ['G1'],
  },
  {
    name: 'kept: forgotten',
    mistake: 'a kept answer is given again though a fact that it rests on was forgotten',
    patches: [cache('return place !== -1 && !room.isEmptied;', 'return !room.isEmptied;')],
    profile: 'calm',
    seed: 1,
    seeds: 60,
    expects: STALE,
  },
  {
    name: 'kept: emptied',
    mistake: 'a kept answer is given again though the cache of a fact that it rests on was emptied',
    patches: [cache('return place !== -1 && !room.isEmptied;', 'return place !== -1;')],
    profile: 'network',
    seed: 1,
    seeds: 60,
    expects: STALE,
  },
  {
    name: 'kept: one of several',
    mistake: 'only the first fact of a kept answer is looked at',
    patches: [pass('this.#entries) {\n      if (!isHeld', 'this.#entries.slice(0, 1)) {\n      if (!isHeld')],
    profile: 'calm',
    seed: 1,
    seeds: 60,
    expects: STALE,
  },
  {
    name: 'kept: unproven',
    mistake: 'a kept answer is given again while nothing proves its facts',
    patches: [pass('!lease.isFresh(now) || ', '')],
    profile: 'network',
    seed: 1,
    seeds: 60,
    expects: ['G1', 'G2', 'G3', 'rest'],
  },
  {
    name: 'kept: untrusted',
    mistake: 'a kept answer is given again though the triggers of a fact that it rests on are not in place',
    patches: [pass(' || !lease.trusts(entry.room.topic)', '')],
    profile: 'ddl',
    seed: 1,
    seeds: 60,
    expects: STALE,
  },
  {
    name: 'kept: age',
    mistake: 'a kept answer is given again though its facts are too old',
    patches: [pass('now.monoMs > this.#tooOldAfterMs', 'false')],
    profile: 'slips',
    seed: 1,
    seeds: 60,
    expects: STALE,
  },
  {
    name: 'kept: expired',
    mistake: 'a kept answer is given again though a right has expired since',
    patches: [
      pass(
        'if (serverTimeMs < this.#sinceMs || serverTimeMs >= this.#untilMs) {',
        'if (serverTimeMs < this.#sinceMs) {',
      ),
    ],
    profile: 'calm',
    seed: 1,
    seeds: 60,
    expects: ['G4'],
  },
  {
    name: 'kept: strong',
    mistake: 'an answer that must be strong is kept',
    patches: [reader('strong || keep === undefined ? null', 'keep === undefined ? null')],
    profile: 'strong',
    seed: 1,
    seeds: 60,
    expects: ['G3'],
  },
  {
    name: 'remote: never leaves',
    mistake: 'a worker that stops gives the shared connection up as one that is broken',
    patches: [remote('      leaving = true;', '')],
    profile: 'workers',
    seed: 1,
    seeds: 60,
    expects: ['rest'],
  },
  {
    name: 'shared: some answer',
    mistake: 'a barrier is answered when those workers have answered that listen',
    patches: [shared('[...members].every', "membersIn('in').every")],
    profile: 'workers',
    seed: 15,
    seeds: 60,
    expects: ['G2'],
  },
  {
    name: 'shared: first answers',
    mistake: 'a barrier is answered when the first worker has answered',
    patches: [shared('[...members].every', '[...members].some')],
    profile: 'workers',
    seed: 15,
    seeds: 60,
    expects: ['G2'],
  },
  {
    name: 'shared: ends twice',
    mistake: 'a connection that has ended can end again, and takes the next one with it',
    patches: [shared('    if (ending.ended) {\n      return;\n    }\n', '')],
    profile: 'workers',
    seed: 11,
    seeds: 60,
    expects: ['G5'],
  },
  {
    name: 'shared: keeps unused',
    mistake: 'the connection stays when no worker needs it',
    patches: [
      shared(
        "if (connection !== null && membersIn('in', 'waiting').length === 0) {",
        'if (connection !== null && members.size > 9) {',
      ),
    ],
    profile: 'workers',
    seed: 1,
    seeds: 60,
    expects: ['rest'],
  },
  {
    name: 'shared: forgets the dead',
    mistake: 'the end of a worker is not noticed',
    patches: [shared('          members.delete(member);\n          closeUnused();\n          answerBarriers();\n', '')],
    profile: 'workers',
    seed: 1,
    seeds: 60,
    expects: ['rest'],
  },
  {
    name: 'host: drops',
    mistake: 'what a worker that has fallen behind would hear is dropped, and nothing is reported',
    patches: [
      patch('test/sim/host.ts')('return toWorker.waiting <= BACKLOG_MAX;', 'return true;'),
      patch('test/sim/host.ts')(
        '      toWorker.send({',
        '      if (toWorker.waiting > BACKLOG_MAX) return true;\n      toWorker.send({',
      ),
    ],
    profile: 'workers',
    seed: 21,
    seeds: 60,
    expects: ['G1', 'G2', 'G3', 'rest'],
  },
  {
    name: 'jwt: not asked',
    mistake: 'a JWT counts before it is known whether it is revoked',
    patches: [
      holder(
        "claims.jti === null ? null : get('revoked_jwt', [claims.jti])",
        "claims.jti === null ? null : (get('revoked_jwt', [claims.jti]) ?? null)",
      ),
    ],
    profile: 'jwts',
    seed: 1,
    seeds: 60,
    expects: ['G4'],
  },
  {
    name: 'jwt: revoked',
    mistake: 'a JWT that is revoked counts',
    patches: [holder('if (revoked !== null || ', 'if (')],
    profile: 'jwts',
    seed: 1,
    seeds: 60,
    expects: ['G4'],
  },
  {
    name: 'jwt: name',
    mistake: 'who has the name counts although the subject is bound to a user',
    patches: [
      holder(
        "claims.userId === null ? get('identity', [claims.issuer, claims.subject]) : claims;",
        "claims.userId === null ? get('user_name', [claims.name]) : claims;",
      ),
    ],
    profile: 'jwts',
    seed: 1,
    seeds: 60,
    expects: ['G4'],
  },
  {
    name: 'stop: fence hangs',
    mistake: 'the fence in flight is not settled when the listener stops',
    patches: [
      fenceLoop("'epoch_ended', error: null });\n        fence.resolve(null);\n", "'epoch_ended', error: null });\n"),
    ],
    profile: 'restarts',
    seed: 1,
    seeds: 60,
    expects: ['rest', 'rates'],
  },
  {
    name: 'stop: waiting hangs',
    mistake: 'fences that wait are not settled when the connection ends',
    patches: [fenceLoop('      waiting?.resolve(null);\n', '')],
    profile: 'restarts',
    seed: 1,
    seeds: 60,
    expects: ['rest', 'rates', 'G5'],
  },
  {
    name: 'stop: goes on',
    mistake: 'the listener connects again after it was stopped',
    patches: [listener('      stopped?.abort();\n', '')],
    profile: 'restarts',
    seed: 1,
    seeds: 60,
    expects: ['rest'],
  },
  {
    name: 'stop: audits',
    mistake: 'audits go on after the stop',
    patches: [coherence('Promise.all([auditor.stop(), listener.stop()])', 'Promise.all([listener.stop()])')],
    profile: 'restarts',
    seed: 1,
    seeds: 60,
    expects: ['rest'],
  },
];
