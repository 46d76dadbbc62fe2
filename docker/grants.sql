-- The role that Writ serves with: it owns nothing, changes no table's shape and cannot rewrite the audit trail.
-- Run with psql, connected to the database of Writ, after every migration, by a superuser (it takes
-- from the role what only a superuser may); running it again changes nothing. One transaction: a server that is running
-- meanwhile never finds itself without its rights. The password is in the file that compose makes; where there is none, the role keeps its own.
\set ON_ERROR_STOP on
\set app_password `cat /run/writ/app/password 2>/dev/null || true`
begin;

select 'create role writ_app' where not exists (select from pg_roles where rolname = 'writ_app') \gexec
alter role writ_app login nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
select format('alter role writ_app password %L', :'app_password') where :'app_password' <> '' \gexec

select format('revoke all on database %I from public', current_database()) \gexec
select format('grant connect on database %I to writ_app', current_database()) \gexec
revoke all on schema public from public;
grant usage on schema public to writ_app;

-- Rights that an earlier version gave and this one does not are taken back.
revoke all on all tables in schema public from writ_app;
revoke all on all sequences in schema public from writ_app;
grant select, insert, update on all tables in schema public to writ_app;
grant usage, select on all sequences in schema public to writ_app;

-- The only rows that Writ ever removes: what has served its time, and secrets that somebody deletes, with their versions.
select format('grant delete on %s to writ_app', removable)
from unnest(array[
  to_regclass('public.idempotency_keys'), to_regclass('public.intent_tokens'), to_regclass('public.scoped_tokens'),
  to_regclass('public.secrets'), to_regclass('public.secret_versions'), to_regclass('public.namespaces'),
  to_regclass('public.approvals'),
  to_regclass('public.webhook_outbox')
]) as removable where removable is not null \gexec

-- The audit trail only grows, and only through its parent: partitions are not written by name. When an event happened,
-- and in which transaction, the database says.
select format('revoke all on table %s from writ_app', relid::regclass)
from pg_partition_tree('public.audit_events') \gexec
grant select on public.audit_events to writ_app;
grant insert (id, event_type, actor_id, actor_type, resource_type, resource_id, metadata, ip_address, request_id)
  on public.audit_events to writ_app;

-- Its epochs are begun by a function of the owner, which anybody may call.
revoke all on public.audit_epochs from writ_app;
grant select on public.audit_epochs to writ_app;

-- Which migrations have run is read at every start and written by the owner alone.
revoke all on public.schema_migrations from writ_app;
grant select on public.schema_migrations to writ_app;

-- Nothing is given before this file names it: a new month of the audit trail would be given with the rest.
alter default privileges in schema public revoke all on tables from writ_app;
alter default privileges in schema public revoke all on sequences from writ_app;

commit;
