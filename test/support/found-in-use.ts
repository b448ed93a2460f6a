/**
 * Faults that were found by using Gatebell behind real proxies, with real apps and through real restores; each is one
 * example of a kind, and its tests try the kind. `docs/security-tests.md` and `docs/reliability.md` list them.
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
    ['test/pg/restores.test.ts', 'the schema is dropped and migrated again, the epoch ends'],
    ['test/pg/restores.test.ts', 'the data alone, into emptied tables'],
  ),
  reliability(
    'a dump without privileges opens functions to everybody',
    ['test/pg/privileges.test.ts', 'refuses everybody while PUBLIC may execute it'],
    ['test/pg/restore.test.ts', 'a stranger with blanket rights on tables can call nothing that matters'],
  ),
  reliability(
    'a dump of the schema alone loses what is watched elsewhere',
    ['test/pg/restore.test.ts', 'the schema alone: the key is new, and what was watched is watched again'],
    ['test/pg/doctor.test.ts', '%s: the statements that doctor prints put it right, as they stand'],
  ),
  reliability('a role that is created after the migrations never gets its rights', [
    'test/pg/privileges.test.ts',
    'is warned; once the roles exist, the next run grants their rights',
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
    'from its first moment on, nothing read from the old primary decides (strong: %s)',
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
    'a writer that began before the function was replaced uses the old one, and is waited for too',
  ]),
  reliability(
    'mistakes in the code and in SQL that no test saw',
    ['test/pg/sql-mutants.test.ts', 'the migrations as they are pass the battery'],
    [
      'test/unit/replica/workers/remote-subscription.test.ts',
      'the first sends nothing any more, and its end does not end the second',
    ],
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
    'test/unit/auth/request/cookies.test.ts',
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
  security('what is allowed counts as a lookup that finds nothing', [
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

  security('what Kubernetes sets for a service named gatebell is taken for settings', [
    'test/unit/config/libpq.test.ts',
    'service %s: ignored with a warning, and never a problem',
  ]),
  security(
    'what libpq knows is ignored without a word: PG* variables, parameters of the connection string',
    ['test/unit/config/libpq.test.ts', '%s is honoured, or refused by its name'],
    ['test/unit/config/libpq.test.ts', 'that are said to be honoured are honoured by the driver'],
    ['test/unit/config/libpq.test.ts', '%s leads there'],
  ),
  security('a password on the command line, for all to see in the list of processes', [
    'test/unit/config/libpq.test.ts',
    'a password in --%s is refused: a list of processes shows it',
  ]),
  security(
    'rows that deny their app, and doctor says that all is well',
    ['test/pg/doctor.test.ts', 'a header template that the schema once named as an example'],
    ['test/pg/doctor.test.ts', 'rules that no request falls under, or that make requests ambiguous'],
  ),
  security(
    'TLS that ends before the proxy: redirect_uri is http, the cookie is not Secure',
    [
      'test/e2e/proxies/load-balancer.test.ts',
      'behind TLS that ends at a listed load balancer, redirect_uri is https and the cookie is Secure',
    ],
    ['test/e2e/proxies/load-balancer.test.ts', 'a peer that is not listed changes neither scheme nor address'],
  ),
  security(
    'a browser blocks the way from signing out to a provider that leads on to another origin',
    ['test/e2e/sign-in.test.ts', 'signing out leads on to the provider, and on to wherever that leads'],
    ['test/unit/sign-in/endpoints.test.ts', 'ends the session, removes the cookie and leads on to the provider'],
  ),
  security(
    'methods with an underscore, bytes in a path and IPv6 hosts are refused',
    ['test/unit/auth/request/request.test.ts', 'method %s passes'],
    ['test/security/extensions.test.ts', 'takes %j as it is'],
    ['test/unit/auth/request/request.test.ts', '%s is the address %s'],
  ),
  security(
    'a URL that is too long is called a bad request',
    ['test/unit/auth/request/request.test.ts', 'is too long by another reason than a bad one'],
    ['test/security/fail-closed.test.ts', 'when the request cannot be parsed, on $name'],
  ),
  security('a host with a port is stored without it', [
    'test/pg/options.test.ts',
    '--host %s is refused: nothing of it is dropped',
  ]),
  security(
    'an option that is not given changes what is stored',
    ['test/pg/options.test.ts', '%s changes its own column alone'],
    ['test/pg/options.test.ts', 'without an option changes nothing'],
  ),
  security('groups and headers cannot be cleared, and an empty text is stored as a name', [
    'test/pg/options.test.ts',
    '%s with an empty value is refused',
  ]),
  security(
    'errors of the driver and of Postgres are shown raw',
    ['test/pg/connection-errors.test.ts', 'a password is asked for and none is given'],
    ['test/pg/connection-errors.test.ts', 'a database without schema public is migrated'],
    ['test/pg/options.test.ts', '--expires %s is refused in our own words'],
  ),
  security(
    'doctor does not look at the OpenID provider',
    ['test/pg/doctor.test.ts', 'that cannot be reached is found; a proxy that is set and not used is named'],
    ['test/pg/doctor.test.ts', 'with a certificate of a private authority: NODE_EXTRA_CA_CERTS is named, and helps'],
  ),
  security(
    'bad requests and untrusted proxies leave no line in the log; an orderly stop leaves a warning',
    ['test/unit/ops/log.test.ts', '%o is logged at level info, once per second however often it happens'],
    ['test/unit/ops/log.test.ts', 'a fence that ended with its epoch is no warning'],
  ),
  security('addresses of trusted proxies that mean something else, or nothing', [
    'test/unit/config/libpq.test.ts',
    '%j is refused: it %s',
  ]),
  security(
    'the help says the opposite of what holds for a path without a rule',
    ['test/pg/cli.test.ts', 'the help of route says that a path without a rule needs a grant'],
    ['test/unit/auth/decide.test.ts', 'that no path matches is: granted'],
  ),
  security(
    'what is deleted for good is not asked for',
    ['test/pg/cli.test.ts', '%s %s %s: without a terminal it needs --yes'],
    ['test/pg/cli.test.ts', '%s %s %s: at a terminal it asks, and anything but yes is no'],
  ),
  security('versions of Postgres in which LISTEN can fail', [
    'test/unit/commands/doctor.test.ts',
    '%s works, and can fail LISTEN',
  ]),
  security(
    'an orderly stop under load takes many seconds',
    ['test/unit/http/server.test.ts', 'a stop waits for the longest request that is under way, and for nothing else'],
    ['test/pg/serve.test.ts', 'a connection that says nothing does not keep it from stopping'],
  ),
];
