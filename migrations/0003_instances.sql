create table secrets (
  name text constraint secrets_pkey primary key,
  value_sealed bytea not null,
  created_at timestamptz not null
);
comment on table secrets is 'Secrets of the installation that are made on first use (the cookie key, the installation''s id), sealed with the key ring.';

create table stacks (
  id uuid constraint stacks_pkey primary key,
  name text not null,
  engine text not null constraint stacks_engine_known check (engine in ('node-red', 'n8n')),
  version text not null,
  image text not null,
  storage text not null default 'files' constraint stacks_storage_known check (storage in ('files', 'postgres')),
  status text not null constraint stacks_status_known check (status in ('pulling', 'ready', 'failed')),
  status_detail text,
  is_default boolean not null default false,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint stacks_name_key unique (name),
  constraint stacks_name_length check (length(name) between 1 and 100)
);
create unique index stacks_default_key on stacks (engine) where is_default;
comment on table stacks is 'An engine at a version: the image that instances start from.';
comment on column stacks.storage is 'Where its instances keep what their engine has in a database.';
comment on column stacks.is_default is 'The stack of an instance that names none; one for each engine.';

create table templates (
  id uuid constraint templates_pkey primary key,
  name text not null,
  description text not null default '',
  stack_id uuid not null constraint templates_stack_id_fkey references stacks (id),
  env_sealed bytea,
  modules jsonb not null default '[]',
  flows jsonb,
  memory_mb integer,
  cpus double precision,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint templates_name_key unique (name),
  constraint templates_name_length check (length(name) between 1 and 100)
);
comment on table templates is 'A named starting point. What it says is copied into the instance when that is created.';

create table instances (
  id uuid constraint instances_pkey primary key,
  project_id uuid not null constraint instances_project_id_fkey references projects (id),
  name text not null,
  subdomain text not null,
  engine text not null constraint instances_engine_known check (engine in ('node-red', 'n8n')),
  stack_id uuid not null constraint instances_stack_id_fkey references stacks (id),
  storage text not null default 'files' constraint instances_storage_known check (storage in ('files', 'postgres')),
  -- What should be.
  desired text not null constraint instances_desired_known check (desired in ('running', 'stopped', 'absent')),
  restart_wanted bigint not null default 0,
  memory_mb integer not null constraint instances_memory_mb_range check (memory_mb between 64 and 65536),
  cpus double precision not null constraint instances_cpus_range check (cpus between 0.1 and 64),
  env_sealed bytea,
  modules jsonb not null default '[]',
  flows jsonb,
  webhook_access text not null default 'open' constraint instances_webhook_access_known check (webhook_access in ('open', 'basic', 'bearer')),
  webhook_username text,
  webhook_secret_hash text,
  magic_token_sealed bytea not null,
  magic_token_hash bytea not null constraint instances_magic_token_hash_key unique,
  credential_secret_sealed bytea not null,
  mqtt_password_sealed bytea not null,
  mqtt_password_hash bytea not null,
  -- What was seen.
  status text not null constraint instances_status_known check (status in ('creating', 'starting', 'running', 'unhealthy',
    'crashed', 'safe_mode', 'sleeping', 'stopping', 'stopped', 'failed', 'deleting')),
  status_detail text,
  notice text,
  upstream text,
  restart_done bigint not null default 0,
  restart_needed boolean not null default false,
  safe_mode boolean not null default false,
  crash_count integer not null default 0,
  crashes_seen integer not null default 0,
  last_crash_at timestamptz,
  attempts integer not null default 0,
  retry_at timestamptz,
  seeded_at timestamptz,
  good_stack_id uuid constraint instances_good_stack_id_fkey references stacks (id),
  started_at timestamptz,
  frozen_until timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint instances_name_length check (length(name) between 1 and 100)
);
create index instances_project_id_idx on instances (project_id, id);
comment on table instances is 'A project''s running engines: what should be (written by requests) and what was seen (written by the reconciler).';
comment on column instances.desired is 'The reconciler makes it so; absent removes container, data folder and at last the row.';
comment on column instances.restart_wanted is 'Counts restarts asked for; the reconciler restarts until restart_done is equal.';
comment on column instances.crashes_seen is 'The container''s own restart count up to which crashes are counted in crash_count.';
comment on column instances.good_stack_id is 'The stack that was last healthy; an upgrade that does not become healthy goes back to it.';
comment on column instances.seeded_at is 'When the template''s modules were installed; never done twice, so that what a user removes stays removed.';
comment on column instances.notice is 'What stays worth knowing although it runs: why it is in safe mode, why an upgrade was undone.';
comment on column instances.frozen_until is 'A backup has frozen the container; the reconciler leaves it so until then, and no longer.';
comment on column instances.upstream is 'Address and port of the running container, for the proxy.';

create table hostnames (
  name text constraint hostnames_pkey primary key,
  instance_id uuid not null constraint hostnames_instance_id_fkey references instances (id) on delete cascade,
  project_id uuid not null constraint hostnames_project_id_fkey references projects (id),
  kind text not null constraint hostnames_kind_known check (kind in ('subdomain', 'alias')),
  created_at timestamptz not null,
  constraint hostnames_name_shape check (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$')
);
create index hostnames_instance_id_idx on hostnames (instance_id);
create unique index hostnames_subdomain_key on hostnames (instance_id) where kind = 'subdomain';
comment on table hostnames is 'Subdomains and aliases: one namespace, each name once in the installation.';

create view instance_aliases with (security_invoker = true) as
  select name, instance_id, project_id, created_at from hostnames where kind = 'alias';
comment on view instance_aliases is 'The further names of instances.';

create table restores (
  id uuid constraint restores_pkey primary key,
  instance_id uuid not null constraint restores_instance_id_fkey references instances (id) on delete cascade,
  project_id uuid not null constraint restores_project_id_fkey references projects (id),
  source_kind text not null constraint restores_source_kind_known check (source_kind in ('snapshot', 'backup')),
  source_id uuid not null,
  source_name text not null,
  takes_back boolean not null default false,
  state text not null constraint restores_state_known check (state in ('preparing', 'stopping', 'applying', 'starting', 'undoing', 'done', 'undone', 'failed')),
  detail text,
  entries text[],
  modules jsonb not null default '[]',
  done_bytes bigint,
  total_bytes bigint,
  requested_by text not null,
  created_at timestamptz not null,
  touched_at timestamptz not null,
  finished_at timestamptz
);
create unique index restores_open_key on restores (instance_id) where finished_at is null;
create index restores_instance_id_idx on restores (instance_id, id desc);
comment on table restores is 'Replacements of an instance''s data: prepared beside by whoever asked, then carried out by the reconciler. One at a time.';
comment on column restores.takes_back is 'The instance was made for the data: it waits for them, and is deleted when they do not come.';
comment on column restores.entries is 'The names in the data folder that are exchanged; null: the whole folder; empty: none, the running engine is handed what is staged.';
comment on column restores.modules is 'Modules to install after the start; the restore is undone when one cannot be.';
comment on column restores.touched_at is 'The last sign of life of whoever prepares it; without one for long, it has failed.';

create table access_tokens (
  token_hash bytea constraint access_tokens_pkey primary key,
  instance_id uuid not null constraint access_tokens_instance_id_fkey references instances (id) on delete cascade,
  user_id uuid not null constraint access_tokens_user_id_fkey references users (id) on delete cascade,
  session_id uuid constraint access_tokens_session_id_fkey references sessions (id) on delete cascade,
  created_at timestamptz not null,
  expires_at timestamptz not null
);
create index access_tokens_expires_at_idx on access_tokens (expires_at);
comment on table access_tokens is 'Launches that wait to be redeemed: one use, one minute. A redeemed one is deleted.';

create table editor_sessions (
  id uuid constraint editor_sessions_pkey primary key,
  instance_id uuid not null constraint editor_sessions_instance_id_fkey references instances (id) on delete cascade,
  user_id uuid not null constraint editor_sessions_user_id_fkey references users (id) on delete cascade,
  session_id uuid,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  revoked_at timestamptz
);
create index editor_sessions_user_id_idx on editor_sessions (user_id);
create index editor_sessions_session_id_idx on editor_sessions (session_id);
create index editor_sessions_revoked_idx on editor_sessions (expires_at) where revoked_at is not null;
comment on table editor_sessions is 'What an editor cookie stands for. Revoked ones go to the proxy with the route feed until they expire.';
comment on column editor_sessions.session_id is 'The dashboard session that launched it and takes it along when it ends; null for a personal access token.';

-- A dashboard session that ends, for whatever reason, takes its editor sessions along.
create function openflow_end_editor_sessions() returns trigger
  language plpgsql security definer set search_path = public, pg_temp
  as $$
begin
  update editor_sessions set revoked_at = now() where session_id = old.id and revoked_at is null;
  return null;
end
$$;
create trigger sessions_end_editor_sessions after delete on sessions
  for each row execute function openflow_end_editor_sessions();

alter table secrets enable row level security; -- no policy

alter table stacks enable row level security;
create policy stacks_read on stacks for select to openflow_user using (true);
create policy stacks_write on stacks for all to openflow_user using (openflow_is_admin()) with check (openflow_is_admin());

alter table templates enable row level security;
create policy templates_read on templates for select to openflow_user using (true);
create policy templates_write on templates for all to openflow_user using (openflow_is_admin()) with check (openflow_is_admin());

alter table instances enable row level security;
create policy instances_read on instances for select to openflow_user using (openflow_rank(project_id) >= 1);
create policy instances_write on instances for all to openflow_user
  using (openflow_rank(project_id) >= 2) with check (openflow_rank(project_id) >= 2);

alter table hostnames enable row level security;
create policy hostnames_read on hostnames for select to openflow_user using (openflow_rank(project_id) >= 1);
create policy hostnames_write on hostnames for all to openflow_user
  using (openflow_rank(project_id) >= 2)
  -- The instance must be the project's own, or a member here could name an instance over there.
  with check (openflow_rank(project_id) >= 2
    and exists (select 1 from instances i where i.id = hostnames.instance_id and i.project_id = hostnames.project_id));

alter table restores enable row level security;
create policy restores_read on restores for select to openflow_user using (openflow_rank(project_id) >= 1);
create policy restores_write on restores for insert to openflow_user
  with check (openflow_rank(project_id) >= 2
    and exists (select 1 from instances i where i.id = restores.instance_id and i.project_id = restores.project_id));

alter table access_tokens enable row level security;
-- Only for an instance that the user can see: the subquery passes through the policies of instances.
create policy access_tokens_own on access_tokens for insert to openflow_user
  with check (user_id = openflow_actor() and exists (select 1 from instances i where i.id = access_tokens.instance_id));
create policy access_tokens_read on access_tokens for select to openflow_user
  using (user_id = openflow_actor() or openflow_is_admin());
create policy access_tokens_end on access_tokens for delete to openflow_user
  using (user_id = openflow_actor() or openflow_is_admin());

alter table editor_sessions enable row level security;
create policy editor_sessions_read on editor_sessions for select to openflow_user
  using (user_id = openflow_actor() or openflow_is_admin());
create policy editor_sessions_revoke on editor_sessions for update to openflow_user
  using (user_id = openflow_actor() or openflow_is_admin());

grant select, insert, update, delete on stacks, templates, instances, hostnames to openflow_user;
grant select, insert on restores to openflow_user;
grant select on instance_aliases, editor_sessions to openflow_user;
grant update (revoked_at) on editor_sessions to openflow_user;
grant select, insert, delete on access_tokens to openflow_user;

-- The intent changed: the reconciler looks again.
create trigger instances_intent_notify
  after insert or delete or update of name, subdomain, desired, restart_wanted, stack_id, memory_mb, cpus, env_sealed on instances
  for each row execute function openflow_notify('intent', 'id');
create trigger hostnames_intent_notify after insert or update or delete on hostnames
  for each row execute function openflow_notify('intent', 'instance_id');
-- What people and the proxy see changed.
create trigger instances_view_notify
  after insert or delete or update of name, subdomain, desired, restart_wanted, status, status_detail, notice, upstream, restart_needed, webhook_access,
    webhook_username, webhook_secret_hash, mqtt_password_hash, project_id on instances
  for each row execute function openflow_notify('instance', 'id');
create trigger hostnames_notify after insert or update or delete on hostnames
  for each row execute function openflow_notify('instance', 'instance_id');
-- A restore took a step: the reconciler takes the next, and people see it.
create trigger restores_intent_notify after insert or update of state on restores
  for each row execute function openflow_notify('intent', 'instance_id');
create trigger restores_view_notify after insert or update of state on restores
  for each row execute function openflow_notify('instance', 'instance_id');
create trigger editor_sessions_revoked_notify after update of revoked_at on editor_sessions
  for each row execute function openflow_notify('access', 'id');
create trigger stacks_notify after insert or update or delete on stacks
  for each row execute function openflow_notify('stack', 'id');
