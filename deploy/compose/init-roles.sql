-- Roles and ownership; run once by the postgres image, as superuser, when the volume is empty.
--
-- The owner migrates, and is no superuser. The replicas log in as a role that can read the facts, listen and send
-- fences, and nothing else: gatebell_daemon. The migrations grant rights to it and to gatebell_sign_in, which the
-- replicas of these files do not need; as a role that may create roles, they would create both themselves.
\set ON_ERROR_STOP on
\getenv owner_password OWNER_PASSWORD
\getenv replica_password REPLICA_PASSWORD

select 'create role gatebell_daemon nologin'
where not exists (select from pg_catalog.pg_roles where rolname = 'gatebell_daemon') \gexec

create role gatebell_owner login password :'owner_password';
select 'create role gatebell_sign_in nologin'
where not exists (select from pg_catalog.pg_roles where rolname = 'gatebell_sign_in') \gexec

create role gatebell_replica login password :'replica_password' in role gatebell_daemon;

alter database :"DBNAME" owner to gatebell_owner;
-- Nobody else has any business here; the default lets every role of the server in.
revoke all on database :"DBNAME" from public;
grant connect on database :"DBNAME" to gatebell_daemon;
