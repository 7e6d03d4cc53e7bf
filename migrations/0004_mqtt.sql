create table mqtt_clients (
  id uuid constraint mqtt_clients_pkey primary key,
  project_id uuid not null constraint mqtt_clients_project_id_fkey references projects (id) on delete cascade,
  name text not null,
  password_hash bytea not null,
  publish text[],
  subscribe text[],
  disabled boolean not null default false,
  last_seen_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint mqtt_clients_name_key unique (project_id, name),
  constraint mqtt_clients_name_length check (length(name) between 1 and 100),
  constraint mqtt_clients_password_hash_length check (octet_length(password_hash) = 32),
  constraint mqtt_clients_publish_count check (cardinality(publish) <= 50),
  constraint mqtt_clients_subscribe_count check (cardinality(subscribe) <= 50)
);
create index mqtt_clients_project_id_idx on mqtt_clients (project_id, id);
comment on table mqtt_clients is 'Credentials of a project''s devices at the MQTT broker. The id is the user name.';
comment on column mqtt_clients.password_hash is 'SHA-256 of 256 random bits.';
comment on column mqtt_clients.publish is 'Topic filters below the project''s root; null: everything of the project, empty: nothing.';
comment on column mqtt_clients.subscribe is 'As publish.';
comment on column mqtt_clients.last_seen_at is 'The last time it connected, to the minute.';

create table mqtt_events (
  id uuid constraint mqtt_events_pkey primary key,
  project_id uuid not null constraint mqtt_events_project_id_fkey references projects (id) on delete cascade,
  at timestamptz not null,
  kind text not null constraint mqtt_events_kind_known check (kind in ('connected', 'disconnected', 'denied', 'kicked', 'dropped')),
  username text not null,
  name text,
  client_id text not null,
  address text,
  reason text
);
create index mqtt_events_project_id_idx on mqtt_events (project_id, id desc);
comment on table mqtt_events is 'What happened at the broker lately: the newest 500 of each project. Nothing depends on it.';
comment on column mqtt_events.name is 'The instance''s or client''s name at that time.';

create table mqtt_purges (
  project_id uuid constraint mqtt_purges_pkey primary key,
  attempts integer not null default 0,
  retry_at timestamptz not null
);
comment on table mqtt_purges is 'Deleted projects whose sessions and retained messages the broker has still to forget.';

-- Whoever deletes a project, its broker data is not forgotten about.
create function openflow_purge_mqtt() returns trigger
  language plpgsql security definer set search_path = public, pg_temp
  as $$
begin
  insert into mqtt_purges (project_id, retry_at) values (old.id, now()) on conflict do nothing;
  return null;
end
$$;
comment on function openflow_purge_mqtt() is 'Trigger: notes that the broker shall forget a deleted project.';
create trigger projects_purge_mqtt after delete on projects
  for each row execute function openflow_purge_mqtt();

alter table mqtt_clients enable row level security;
create policy mqtt_clients_read on mqtt_clients for select to openflow_user using (openflow_rank(project_id) >= 1);
create policy mqtt_clients_write on mqtt_clients for all to openflow_user
  using (openflow_rank(project_id) >= 2) with check (openflow_rank(project_id) >= 2);

alter table mqtt_events enable row level security;
create policy mqtt_events_read on mqtt_events for select to openflow_user using (openflow_rank(project_id) >= 1);

alter table mqtt_purges enable row level security; -- no policy: never a user's business

grant select, insert, update, delete on mqtt_clients to openflow_user;
grant select on mqtt_events to openflow_user;

-- What the broker is told of a client changed.
create trigger mqtt_clients_notify
  after insert or delete or update of name, project_id, password_hash, publish, subscribe, disabled on mqtt_clients
  for each row execute function openflow_notify('mqtt', 'id');
