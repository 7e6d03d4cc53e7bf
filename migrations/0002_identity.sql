create table users (
  id uuid constraint users_pkey primary key,
  email text not null,
  name text not null,
  password_hash text not null,
  is_admin boolean not null default false,
  disabled_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint users_email_length check (length(email) between 3 and 254),
  constraint users_name_length check (length(name) between 1 and 100)
);
create unique index users_email_key on users (lower(email));
comment on table users is 'People who sign in.';
comment on column users.password_hash is 'Argon2id, in PHC string format.';
comment on column users.is_admin is 'Administrator of the installation: owner of every project.';

create table setup_token (
  only_row boolean constraint setup_token_pkey primary key default true check (only_row),
  token_hash bytea not null,
  created_at timestamptz not null
);
comment on table setup_token is 'The one-time token of the first administrator''s setup link, as SHA-256. Empty once used.';

create table sessions (
  id uuid constraint sessions_pkey primary key,
  user_id uuid not null constraint sessions_user_id_fkey references users (id) on delete cascade,
  token_hash bytea not null constraint sessions_token_hash_key unique,
  created_at timestamptz not null,
  last_seen_at timestamptz not null,
  expires_at timestamptz not null,
  address text not null,
  user_agent text not null
);
create index sessions_user_id_idx on sessions (user_id);
create index sessions_expires_at_idx on sessions (expires_at);
comment on table sessions is 'Signed-in browsers of the dashboard. The cookie''s token is kept as SHA-256.';

create table api_tokens (
  id uuid constraint api_tokens_pkey primary key,
  user_id uuid not null constraint api_tokens_user_id_fkey references users (id) on delete cascade,
  name text not null,
  token_hash bytea not null constraint api_tokens_token_hash_key unique,
  scopes text[] not null,
  expires_at timestamptz,
  last_used_at timestamptz,
  created_at timestamptz not null,
  constraint api_tokens_name_length check (length(name) between 1 and 100),
  constraint api_tokens_scopes_known check (scopes <@ array['read', 'write'] and cardinality(scopes) > 0)
);
create index api_tokens_user_id_idx on api_tokens (user_id);
comment on table api_tokens is 'Personal access tokens (ofp_…), kept as SHA-256.';

create table projects (
  id uuid constraint projects_pkey primary key,
  name text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  deleting_at timestamptz,
  constraint projects_name_length check (length(name) between 1 and 100)
);
comment on table projects is 'The tenant: what belongs together and is kept apart from the rest.';
comment on column projects.deleting_at is 'Set by a delete; the reconciler empties the project, then the row goes.';

create table project_members (
  project_id uuid not null constraint project_members_project_id_fkey references projects (id) on delete cascade,
  user_id uuid not null constraint project_members_user_id_fkey references users (id) on delete cascade,
  role text not null constraint project_members_role_known check (role in ('owner', 'member', 'viewer')),
  created_at timestamptz not null,
  constraint project_members_pkey primary key (project_id, user_id)
);
create index project_members_user_id_idx on project_members (user_id);
comment on table project_members is 'Who may what in a project.';

create table audit_log (
  id uuid constraint audit_log_pkey primary key,
  at timestamptz not null,
  actor_kind text not null constraint audit_log_actor_kind_known check (actor_kind in ('user', 'system', 'setup')),
  actor_id uuid,
  actor_name text not null,
  action text not null,
  project_id uuid,
  target_type text not null,
  target_id text not null,
  target_name text not null,
  detail jsonb not null default '{}',
  address text
);
create index audit_log_project_id_idx on audit_log (project_id, id desc);
create index audit_log_actor_id_idx on audit_log (actor_id, id desc);
comment on table audit_log is 'Every change, written in the transaction of the change. Rows outlive what they speak of, so nothing is referenced.';

-- The role of the transaction's user in a project, as a number: 0 none, 1 viewer, 2 member, 3 owner. Runs as the
-- owner of the tables, so that a policy on project_members may ask it without asking itself.
create function openflow_rank(project uuid) returns integer
  language sql stable security definer set search_path = public, pg_temp
  as $$
    select case
      when openflow_is_admin() then 3
      else coalesce((
        select case role when 'owner' then 3 when 'member' then 2 else 1 end
        from project_members where project_id = project and user_id = openflow_actor()
      ), 0)
    end
  $$;
comment on function openflow_rank(uuid) is 'The acting user''s role in a project: 0 none, 1 viewer, 2 member, 3 owner.';

create function openflow_unowned(project uuid) returns boolean
  language sql stable security definer set search_path = public, pg_temp
  as $$
    select exists (select 1 from projects where id = project and deleting_at is null)
      and not exists (select 1 from project_members where project_id = project)
  $$;
comment on function openflow_unowned(uuid) is 'Whether a project has no member yet: its maker may become the first.';

-- Who owns a project must not be decided twice at once. A function, because row-level security would let only owners
-- lock the row, and a member who leaves needs it too.
create function openflow_lock_project(project uuid) returns uuid
  language sql volatile security definer set search_path = public, pg_temp
  as $$ select id from projects where id = project and openflow_rank(project) >= 1 for update $$;
comment on function openflow_lock_project(uuid) is 'Locks the row of one of the acting user''s projects until the transaction ends.';

-- Whether the transaction's user shares a project with another: only then may they see each other's name.
create function openflow_knows(other uuid) returns boolean
  language sql stable security definer set search_path = public, pg_temp
  as $$
    select openflow_is_admin() or other = openflow_actor() or exists (
      select 1 from project_members mine join project_members theirs using (project_id)
      where mine.user_id = openflow_actor() and theirs.user_id = other)
  $$;
comment on function openflow_knows(uuid) is 'Whether the acting user shares a project with another user.';

alter table users enable row level security;
create policy users_read on users for select to openflow_user using (openflow_knows(id));
create policy users_self on users for update to openflow_user
  using (openflow_is_admin() or id = openflow_actor())
  with check (openflow_is_admin() or (id = openflow_actor() and not is_admin));
create policy users_admin_insert on users for insert to openflow_user with check (openflow_is_admin());
create policy users_admin_delete on users for delete to openflow_user using (openflow_is_admin());

alter table setup_token enable row level security; -- no policy: never a user's business

alter table sessions enable row level security;
create policy sessions_own on sessions to openflow_user
  using (user_id = openflow_actor() or openflow_is_admin()) with check (user_id = openflow_actor());

alter table api_tokens enable row level security;
create policy api_tokens_own on api_tokens to openflow_user
  using (user_id = openflow_actor() or openflow_is_admin()) with check (user_id = openflow_actor());

alter table projects enable row level security;
create policy projects_read on projects for select to openflow_user using (openflow_rank(id) >= 1);
create policy projects_insert on projects for insert to openflow_user with check (openflow_actor() is not null);
create policy projects_update on projects for update to openflow_user
  using (openflow_rank(id) >= 3) with check (openflow_rank(id) >= 3);
create policy projects_delete on projects for delete to openflow_user using (openflow_rank(id) >= 3);

alter table project_members enable row level security;
create policy project_members_read on project_members for select to openflow_user using (openflow_rank(project_id) >= 1);
create policy project_members_write on project_members for all to openflow_user
  using (openflow_rank(project_id) >= 3)
  -- A new project's first owner is its maker: there is nobody yet who could let them in.
  with check (openflow_rank(project_id) >= 3 or (user_id = openflow_actor() and role = 'owner' and openflow_unowned(project_id)));
create policy project_members_leave on project_members for delete to openflow_user using (user_id = openflow_actor());

alter table audit_log enable row level security;
create policy audit_log_read on audit_log for select to openflow_user
  using (openflow_is_admin() or (project_id is not null and openflow_rank(project_id) >= 1));
create policy audit_log_insert on audit_log for insert to openflow_user
  with check (actor_id = openflow_actor() and (project_id is null or openflow_rank(project_id) >= 1));

grant usage on schema public to openflow_user;
grant select, insert, update, delete on users, sessions, api_tokens, projects, project_members to openflow_user;
grant select, insert on audit_log to openflow_user;

create trigger users_notify after update of is_admin, disabled_at or delete on users
  for each row execute function openflow_notify('access', 'id');
create trigger project_members_notify after insert or update or delete on project_members
  for each row execute function openflow_notify('access', 'project_id');
create trigger projects_notify after update of deleting_at on projects
  for each row execute function openflow_notify('project', 'id');
