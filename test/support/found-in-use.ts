/**
 * Faults that were found by using Gatebell behind real proxies, with real apps and through real restores; each is one example of a kind, and its
 * tests try the kind. `docs/security-tests.md` and `docs/reliability.md` list them.
 */
export interface FoundInUse {
  readonly page: 'docs/reliability.md' | 'docs/security-tests.md';
  readonly fault: string;
  /** Files, and a piece of the title that their test has. */
  readonly tests: readonly (readonly [file: string, title: string])[];
}

const reliability = (fault: string, ...tests: FoundInUse['tests']): FoundInUse => ({
  page: 'docs/reliability.md',
  fault,
  tests,
});
const security = (fault: string, ...tests: FoundInUse['tests']): FoundInUse => ({
  page: 'docs/security-tests.md',
  fault,
  tests,
});

export const FOUND_IN_USE: readonly FoundInUse[] = [
  reliability(
    'a schema restored in place takes the numbering back',
    ['test/pg/restores.test.ts', 'a dump is restored in place'],
    ['test/pg/restores.test.ts', 'the schema is dropped and migrated anew, the epoch ends'],
    ['test/pg/restores.test.ts', 'the data alone, into emptied tables'],
  ),
  reliability(
    'a dump without privileges opens functions to everybody',
    ['test/pg/privileges.test.ts', 'refuses everybody while PUBLIC may execute it'],
    ['test/pg/restore.test.ts', 'a stranger with blanket rights on the tables can call nothing that matters'],
  ),
  reliability('a role that is created after the migrations never gets its rights', [
    'test/pg/privileges.test.ts',
    'is warned; when the roles are there, the next run gives them their rights',
  ]),
  reliability(
    'a role that only reads holds up a writer',
    ['test/pg/daemon-role.test.ts', 'by any lock of a row'],
    ['test/pg/daemon-role.test.ts', 'by any lock of any table, of any strength above that of reading'],
  ),
  reliability(
    'a migration through a pooler leaves its lock behind, and the next one waits for ever',
    ['test/e2e/pgbouncer.test.ts', 'works through it, again and again, several at once, and leaves no lock behind'],
    ['test/pg/migrate.test.ts', 'it gives up after a bound, names who holds the lock, and has changed nothing'],
  ),
  reliability('a replica that starts after a failover believes an old primary', [
    'test/pg/newcomer.test.ts',
    'one that cannot listen at all believes the primary that it reads from',
  ]),
  reliability('what a replica writes goes to an old primary', [
    'test/pg/sign-in.test.ts',
    'every function that changes something for a replica is told the server first, and looks',
  ]),
  reliability('a barrier is answered before requests that are under way', [
    'test/pg/barrier-under-way.test.ts',
    'is passed without the lease as soon as they are answered',
  ]),
  reliability(
    'a key that reads back otherwise fails the others of its batch',
    ['test/pg/keys.test.ts', 'a key that reads back otherwise fails alone'],
    ['test/pg/keys.test.ts', 'a key of too few or too many parts fails alone, and says why'],
  ),
  reliability(
    'DDL changes what is read, and triggers look as before',
    ['test/pg/ddl.test.ts', 'DETACH PARTITION ... CONCURRENTLY that is cancelled half-way, and finalized later'],
    ['test/pg/ddl.test.ts', 'the documentation says the same'],
  ),
  reliability('a writer that began before a trigger was mended signals nothing', [
    'test/pg/open-writers.test.ts',
    'a writer that began before the function was replaced uses the one that it knows, and is waited for as well',
  ]),
  reliability(
    'mistakes in the code and in SQL that no test saw',
    ['test/pg/sql-mutants.test.ts', 'the migrations as they are pass the battery'],
    ['test/unit/workers/feed.test.ts', 'the first sends nothing any more, and its end does not end the second'],
    ['test/sim/mutants.test.ts', 'every mistake of the protocol is in the table'],
  ),

  security(
    'an upgrade to h2c',
    ['test/e2e/proxies/upgrades.ts', 'an upgrade to anything but a WebSocket, in whatever spelling'],
    ['test/e2e/neighbours/neighbours.test.ts', 'takes an upgrade to h2c'],
  ),
  security(
    'headers that move path, method, scheme or host',
    ['test/e2e/proxies/spoofs.ts', 'no header of deploy/untrusted-headers.yml reaches the app, in whatever spelling'],
    ['test/unit/untrusted-headers.test.ts', 'removes or sets every header of the list, in every spelling'],
  ),
  security(
    'extensions and script names that an app reads as another path',
    [
      'test/security/extensions.test.ts',
      'what is let through as public is public to Rails, PHP, CGI, Connect and try_files',
    ],
    [
      'test/e2e/neighbours/other-readings.ts',
      'Rails by format, PHP by path info and nginx by try_files read a guarded path in another one',
    ],
  ),
  security('a preflight with a method override, a credential or a body', [
    'test/e2e/neighbours/behaviours.ts',
    'a preflight with a method override changes nothing in Flask; a real one passes',
  ]),
  security('a blank that is no blank before a cookie', [
    'test/unit/auth/cookies.test.ts',
    'no character but space and tab makes another name ours',
  ]),
  security('the session of one app presented to another', [
    'test/unit/auth/decide-jwt.test.ts',
    'counts for that app alone',
  ]),
  security('a second path in a request', [
    'test/e2e/neighbours/other-readings.ts',
    'a copy or a move in WebDAV is decided by its destination too; with a grant it is done',
  ]),
  security('rows and commands that open a path by mistake', [
    'test/pg/constraints.test.ts',
    'every CHECK of the tables has a case above',
  ]),
  security('a name that was given to somebody else', [
    'test/pg/jwt.test.ts',
    'a name that somebody else was given revives no JWT, seen before or not',
  ]),
  security(
    'a request after which a proxy takes a replica out',
    [
      'test/e2e/proxies/odd-clients.ts',
      'a client sends hundreds of malformed and odd requests: another one notices nothing',
    ],
    ['test/unit/deploy.test.ts', 'no request of a client can take a replica away'],
  ),
  security('header sections that are answered by a reset', [
    'test/e2e/proxies/odd-clients.ts',
    'header sections of 4 kB to 1 MB: passed on, or 400 or 431, complete; a section of 16 kB passes',
  ]),
  security('paths and headers that cost hundreds of ordinary requests', [
    'test/security/cost.test.ts',
    'a search for the dearest request finds none that costs more than',
  ]),
  security('what is allowed counts as asked in vain', [
    'test/unit/auth/handler.test.ts',
    'is not charged for what is allowed: hundreds of hosts below a wildcard, a strong route there',
  ]),
  security('a scanner and a user share one address', [
    'test/unit/auth/handler.test.ts',
    'that is a user whose credential is known is not charged for others, nor others for the user',
  ]),
  security(
    'many tabs that sign in, and the back button',
    ['test/unit/sign-in/endpoints.test.ts', 'a browser that is signed in already'],
    ['test/e2e/sign-in.test.ts', 'in many tabs at once, each ends where it wanted to go; so does whoever goes back'],
  ),
  security(
    'another cookie of the same name leads in circles',
    ['test/security/spoofing.test.ts', 'of several cookies of the name'],
    ['test/e2e/sign-in.test.ts', 'somebody else’s session leads to a page that names the cookie'],
  ),
  security('a gate that can decide says that it is not ready', [
    'test/unit/ops/readiness.test.ts',
    'many checks ask once, and an outcome holds for a moment',
  ]),
];
