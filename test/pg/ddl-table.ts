/**
 * What each kind of DDL does to a watched table `s.t (id integer primary key, v text, w text)` whose row 1 has v =
 * 'old', w = 'new'. The table of docs/reliability.md is made of this one, and test/pg/ddl.test.ts holds both.
 */
export interface Ddl {
  /** As the documentation names it. */
  readonly title: string;
  /** Run before, and watched after. */
  readonly setUp?: string;
  readonly ddl: string;
  /** Whether the fingerprint changes, so that what is in memory is forgotten. */
  readonly touches: boolean;
  /** What is wrong afterwards, by its beginning; null: nothing, and facts are served from memory again. */
  readonly problem: string | null;
  /** What Postgres says of v afterwards; default 'old'. `error`: the load fails, which is a 503. */
  readonly value?: string | null;
  /** The first version of Postgres that knows it. */
  readonly since?: number;
  /** The last one. */
  readonly until?: number;
}

const FUNCTION = `(select 'gatebell.signal_' || id from gatebell.watches where topic = 't')`;
/** Runs a statement in which % stands for the trigger function. */
const ofFunction = (statement: string): string =>
  `do $do$ begin execute replace($$${statement}$$, '%', ${FUNCTION} || '()'); end $do$`;
const PUT_BACK = `do $do$ declare definition text := (select pg_get_functiondef(p.oid) from pg_proc p
  where p.proname = (
  select 'signal_' || id from gatebell.watches where topic = 't'));
  begin
    execute 'create or replace function ' || ${FUNCTION}
      || '() returns trigger language plpgsql as ''begin return null; end''';
    execute definition;
  end $do$`;
/** Row 1 in a partition. */
export const PARTITIONED = `drop table s.t cascade;
  create table s.t (id integer primary key, v text, w text) partition by range (id);
  create table s.low partition of s.t for values from (0) to (10);
  insert into s.t values (1, 'old', 'new')`;
const CHILD = `create table s.child () inherits (s.t); insert into s.child values (1, 'old', 'new');
  delete from only s.t`;
const MISSING = 'trigger gatebell_t_';
const ENUM = `create type s.mood as enum ('old', 'other'); alter table s.t alter v type s.mood using v::s.mood`;

export const DDL: readonly Ddl[] = [
  {
    title: 'column dropped and added again',
    ddl: `alter table s.t drop v; alter table s.t add v text default 'new'`,
    touches: true,
    problem: null,
    value: 'new',
  },
  {
    title: 'column added again, generated and stored',
    ddl: `alter table s.t drop v; alter table s.t add v text generated always as (w) stored`,
    touches: true,
    problem: null,
    value: 'new',
  },
  {
    title: 'column added again, generated and virtual',
    ddl: `alter table s.t drop v; alter table s.t add v text generated always as (w) virtual`,
    touches: true,
    problem: 'a watched column is generated and virtual',
    value: 'new',
    since: 18,
  },
  {
    title: 'SET EXPRESSION',
    setUp: "alter table s.t drop v; alter table s.t add v text generated always as (substr(w, 1, 0) || 'old') stored",
    ddl: 'alter table s.t alter v set expression as (w)',
    touches: true,
    problem: null,
    value: 'new',
    since: 17,
  },
  {
    title: 'DROP EXPRESSION',
    setUp: `alter table s.t drop v; alter table s.t add v text generated always as (substr(w, 1, 0) || 'old') stored`,
    ddl: 'alter table s.t alter v drop expression',
    touches: true,
    problem: null,
  },
  {
    title: 'column dropped',
    ddl: 'alter table s.t drop v',
    touches: true,
    problem: 'a watched column was dropped',
    value: 'error',
  },
  {
    title: 'columns renamed, so that another takes the name',
    ddl: 'alter table s.t rename v to x; alter table s.t rename w to v',
    touches: true,
    problem: null,
    value: 'new',
  },
  {
    title: 'another type',
    ddl: `alter table s.t alter v type varchar using 'new'`,
    touches: true,
    problem: 'a watched column was dropped',
    value: 'new',
  },
  {
    title: 'another length of the same type',
    setUp: 'alter table s.t alter v type varchar(9)',
    ddl: `alter table s.t alter v type varchar(5) using 'new'`,
    touches: true,
    problem: null,
    value: 'new',
  },
  {
    title: 'values rewritten, the type kept',
    ddl: `alter table s.t alter v type text using 'new'`,
    touches: true,
    problem: null,
    value: 'new',
  },
  {
    title: 'label of an enum renamed',
    setUp: ENUM,
    ddl: `alter type s.mood rename value 'old' to 'new'`,
    touches: true,
    problem: null,
    value: 'new',
  },
  {
    title: 'label of an enum renamed, behind domain, array and row type',
    setUp: `${ENUM}; create domain s.moods as s.mood[]; create type s.pair as (a integer, moods s.moods);
      alter table s.t alter v type s.pair using row(1, array['old']::s.mood[])::s.pair`,
    ddl: `alter type s.mood rename value 'old' to 'new'`,
    touches: true,
    problem: null,
    value: '(1,{new})',
  },
  {
    title: 'label of an enum added',
    setUp: ENUM,
    ddl: `alter type s.mood add value 'new'`,
    touches: true,
    problem: null,
  },
  {
    title: 'attribute of a row type added',
    setUp: `create type s.pair as (a text); alter table s.t alter v type s.pair using row(v)::s.pair`,
    ddl: 'alter type s.pair add attribute b integer',
    touches: true,
    problem: null,
    value: '(old,)',
  },
  {
    title: 'a cast to text for the type',
    setUp: ENUM,
    ddl: `create function s.print(s.mood) returns text language sql immutable as $$ select 'new' $$;
      create cast (s.mood as text) with function s.print(s.mood)`,
    touches: true,
    problem: null,
    value: 'new',
  },
  {
    title: 'constraint of a domain',
    setUp: `create domain s.word as text; alter table s.t alter v type s.word`,
    ddl: `alter domain s.word add check (value <> '')`,
    touches: false,
    problem: null,
  },
  {
    title: 'row level security without a policy',
    ddl: `alter table s.t owner to gatebell_test_owner; alter table s.t enable row level security;
      grant select on s.t to public`,
    touches: true,
    problem: null,
    value: null,
  },
  {
    title: 'a policy that is always true',
    setUp: `alter table s.t owner to gatebell_test_owner; alter table s.t enable row level security;
      grant select on s.t to public`,
    ddl: 'create policy p on s.t using (true)',
    touches: true,
    problem: null,
  },
  {
    title: 'a policy that reads something',
    setUp: 'alter table s.t owner to gatebell_test_owner; grant select on s.t to public',
    ddl: `alter table s.t enable row level security; create policy p on s.t using (w = 'x')`,
    touches: true,
    problem: 'row level security applies',
    value: null,
  },
  {
    title: 'such a policy for writers only',
    setUp: `alter table s.t owner to gatebell_test_owner; alter table s.t enable row level security;
      grant select on s.t to public; create policy p on s.t using (true)`,
    ddl: `create policy w on s.t for update using (w = 'x')`,
    touches: true,
    problem: null,
  },
  {
    title: 'a policy altered',
    setUp: `alter table s.t owner to gatebell_test_owner; alter table s.t enable row level security;
      grant select on s.t to public; create policy p on s.t using (true)`,
    ddl: 'alter policy p on s.t using (false)',
    touches: true,
    problem: 'row level security applies',
    value: null,
  },
  {
    title: 'a policy dropped',
    setUp: `alter table s.t owner to gatebell_test_owner; alter table s.t enable row level security;
      grant select on s.t to public; create policy p on s.t using (true)`,
    ddl: 'drop policy p on s.t',
    touches: true,
    problem: null,
    value: null,
  },
  {
    title: 'membership of the role of a policy revoked',
    setUp: `alter table s.t owner to gatebell_test_owner; alter table s.t enable row level security;
      grant select on s.t to public; grant gatebell_test_group to gatebell_test_reader;
      create policy p on s.t to gatebell_test_group using (true)`,
    ddl: 'revoke gatebell_test_group from gatebell_test_reader',
    touches: true,
    problem: null,
    value: null,
  },
  {
    title: 'a rule for writers',
    ddl: `create rule r as on update to s.t do also select 1`,
    touches: true,
    problem: null,
  },
  {
    title: 'such a rule disabled',
    setUp: `create rule r as on update to s.t do also select 1`,
    ddl: 'alter table s.t disable rule r',
    touches: false,
    problem: null,
  },
  {
    title: 'the table becomes a view',
    ddl: `drop trigger gatebell_t_insert on s.t; drop trigger gatebell_t_update on s.t;
      drop trigger gatebell_t_delete on s.t; drop trigger gatebell_t_truncate on s.t;
      drop trigger gatebell_t_replica on s.t;
      alter table s.t drop constraint t_pkey; alter table s.t alter id drop not null; delete from s.t; vacuum s.t;
      create rule "_RETURN" as on select to s.t do instead select 1 as id, 'new'::text as v, ''::text as w`,
    touches: true,
    problem: 'it is not a table any more',
    value: 'new',
    until: 15,
  },
  {
    title: 'partition detached',
    setUp: PARTITIONED,
    ddl: 'alter table s.t detach partition s.low',
    touches: true,
    problem: null,
    value: null,
  },
  {
    title: 'DETACH PARTITION ... CONCURRENTLY',
    setUp: PARTITIONED,
    ddl: 'alter table s.t detach partition s.low concurrently',
    touches: true,
    problem: null,
    value: null,
  },
  {
    title: 'partition attached that is not watched',
    setUp: PARTITIONED,
    ddl: `alter table s.t detach partition s.low; create table s.other (id integer primary key, v text, w text);
      insert into s.other values (1, 'new'); alter table s.t attach partition s.other for values from (0) to (10)`,
    touches: true,
    problem: MISSING,
    value: 'new',
  },
  {
    title: 'partition attached again that was changed meanwhile',
    setUp: PARTITIONED,
    ddl: `alter table s.t detach partition s.low; alter table s.low rename v to x; alter table s.low rename w to v;
      alter table s.low rename x to w; alter table s.t attach partition s.low for values from (0) to (10)`,
    touches: true,
    problem: null,
    value: 'new',
  },
  {
    title: 'child added',
    ddl: `create table s.child () inherits (s.t); delete from s.t; insert into s.child values (1, 'new')`,
    touches: true,
    problem: MISSING,
    value: 'new',
  },
  {
    title: 'child removed',
    setUp: CHILD,
    ddl: 'alter table s.child no inherit s.t',
    touches: true,
    problem: null,
    value: null,
  },
  {
    title: 'child inherits again that was changed meanwhile',
    setUp: CHILD,
    ddl: `alter table s.child no inherit s.t; alter table s.child rename v to x; alter table s.child rename w to v;
      alter table s.child rename x to w; alter table s.child inherit s.t`,
    touches: true,
    problem: null,
    value: 'new',
  },
  { title: 'child dropped', setUp: CHILD, ddl: 'drop table s.child', touches: true, problem: null, value: null },
  { title: 'trigger dropped', ddl: 'drop trigger gatebell_t_update on s.t', touches: true, problem: MISSING },
  {
    title: 'trigger dropped and created again',
    ddl: `do $do$ declare definition text := (select pg_get_triggerdef(oid) from pg_trigger
      where tgrelid = 's.t'::regclass and tgname = 'gatebell_t_update'); begin drop trigger gatebell_t_update on s.t;
      execute definition; end $do$`,
    touches: true,
    problem: null,
  },
  { title: 'DISABLE TRIGGER', ddl: 'alter table s.t disable trigger all', touches: true, problem: MISSING },
  {
    title: 'disabled and enabled again',
    ddl: 'alter table s.t disable trigger gatebell_t_update; alter table s.t enable trigger gatebell_t_update',
    touches: true,
    problem: null,
  },
  {
    title: 'trigger function replaced',
    ddl: ofFunction(`create or replace function % returns trigger language plpgsql as 'begin return null; end'`),
    touches: true,
    problem: 'the trigger function is not current',
  },
  { title: 'trigger function replaced and put back', ddl: PUT_BACK, touches: true, problem: null },
  {
    title: 'ALTER FUNCTION SET',
    ddl: ofFunction('alter function % set datestyle = german'),
    touches: true,
    problem: 'the trigger function is not current',
  },
  {
    title: 'ALTER FUNCTION RESET',
    ddl: ofFunction('alter function % reset all'),
    touches: true,
    problem: 'the trigger function is not current',
  },
  { title: 'table dropped', ddl: 'drop table s.t', touches: true, problem: 'the table was dropped', value: 'error' },
  {
    title: 'table renamed',
    ddl: 'alter table s.t rename to u',
    touches: true,
    problem: 'the table was renamed',
    value: 'error',
  },
  {
    title: 'table swapped with another by name',
    ddl: `alter table s.t rename to u; create table s.t (like s.u including all); insert into s.t values (1, 'new')`,
    touches: true,
    problem: 'the table was renamed',
    value: 'new',
  },
  {
    title: 'renamed and named back',
    ddl: 'alter table s.t rename to u; alter table s.u rename to t',
    touches: true,
    problem: null,
  },
  {
    title: 'SET SCHEMA',
    ddl: 'create schema moved; alter table s.t set schema moved',
    touches: true,
    problem: 'the table was renamed or moved',
    value: 'error',
  },
  {
    title: 'schema renamed and named back',
    ddl: 'alter schema s rename to moved; alter schema moved rename to s',
    touches: true,
    problem: null,
  },
  { title: 'SET UNLOGGED', ddl: 'alter table s.t set unlogged', touches: true, problem: null },
  {
    title: 'SET LOGGED',
    setUp: 'alter table s.t set unlogged',
    ddl: 'alter table s.t set logged',
    touches: true,
    problem: null,
  },
  { title: 'TRUNCATE', ddl: 'truncate s.t', touches: true, problem: null, value: null },
  { title: 'VACUUM FULL', ddl: 'vacuum full s.t', touches: true, problem: null },
  { title: 'CLUSTER', ddl: 'cluster s.t using t_pkey', touches: true, problem: null },
  { title: 'primary key dropped', ddl: 'alter table s.t drop constraint t_pkey', touches: false, problem: null },
  {
    title: 'column added that is not watched',
    ddl: `alter table s.t add x integer default 1`,
    touches: true,
    problem: null,
  },
  { title: 'column dropped that is not watched', ddl: 'alter table s.t drop w', touches: false, problem: null },
  { title: 'index made', ddl: 'create index on s.t (w)', touches: false, problem: null },
  { title: 'VACUUM, ANALYZE', ddl: 'vacuum (analyze, freeze) s.t', touches: false, problem: null },
  { title: 'COMMENT', ddl: `comment on table s.t is 'x'`, touches: false, problem: null },
  {
    title: 'event trigger',
    ddl: `create function s.seen() returns event_trigger language plpgsql as 'begin end';
      create event trigger e on ddl_command_end execute function s.seen(); drop event trigger e`,
    touches: false,
    problem: null,
  },
  {
    title: 'unwatched',
    ddl: `select gatebell.unwatch('s.t', 't')`,
    touches: true,
    problem: 'the table is no longer watched',
  },
  { title: 'watched again', ddl: `select gatebell.watch('s.t', 't', '{id}', '{v}')`, touches: true, problem: null },
];

/** The table of the documentation, as Markdown. */
export function ddlTable(): string {
  const versions = ({ since, until }: Ddl): string =>
    since === undefined ? (until === undefined ? '' : ` (to PostgreSQL ${until})`) : ` (from PostgreSQL ${since})`;
  const rows = DDL.map(
    one =>
      `| ${one.title}${versions(one)} | ${one.touches ? 'yes' : 'no'} | ` +
      `${one.problem === null ? 'none' : one.problem === MISSING ? 'a trigger is missing or disabled' : one.problem} ` +
      `| ${one.problem === null ? 'memory' : 'Postgres'} |`,
  );
  return ['| DDL | forgotten | problem | then answered from |', '|---|---|---|---|', ...rows].join('\n');
}
