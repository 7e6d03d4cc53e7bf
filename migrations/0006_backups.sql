create table backups (
  id uuid constraint backups_pkey primary key,
  instance_id uuid not null,
  project_id uuid not null,
  instance_name text not null,
  trigger text not null constraint backups_trigger_known check (trigger in ('schedule', 'manual', 'upload')),
  status text not null constraint backups_status_known check (status in ('pending', 'running', 'good', 'partial', 'failed')),
  detail text,
  requested_by text not null,
  engine text not null constraint backups_engine_known check (engine in ('node-red', 'n8n')),
  engine_version text not null,
  -- While it runs.
  claimed_by uuid,
  attempt integer not null default 1,
  done_bytes bigint,
  total_bytes bigint,
  -- What came of it.
  file_name text,
  size_bytes bigint,
  data_bytes bigint,
  files bigint,
  freeze_ms bigint,
  skipped jsonb not null default '[]',
  sha256 text,
  about jsonb,
  created_at timestamptz not null,
  started_at timestamptz,
  finished_at timestamptz,
  -- Whether it can be restored.
  verification_status text not null default 'none' constraint backups_verification_status_known
    check (verification_status in ('none', 'pending', 'running', 'good', 'failed')),
  verification_wanted text constraint backups_verification_wanted_known check (verification_wanted in ('read', 'rehearsed')),
  verification_level text constraint backups_verification_level_known check (verification_level in ('read', 'rehearsed')),
  verification_detail text,
  verification_at timestamptz,
  verification_before text constraint backups_verification_before_known check (verification_before in ('none', 'good', 'failed')),
  verification_unable text,
  verification_unable_at timestamptz,
  -- The copy elsewhere.
  offsite_status text not null default 'off' constraint backups_offsite_status_known
    check (offsite_status in ('off', 'pending', 'uploading', 'done', 'failed')),
  offsite_detail text,
  offsite_at timestamptz,
  offsite_key text,
  offsite_state jsonb,
  offsite_attempts integer not null default 0,
  offsite_retry_at timestamptz,
  fetch_wanted boolean not null default false
);
create unique index backups_open_key on backups (instance_id) where status in ('pending', 'running');
create unique index backups_file_key on backups (instance_id, file_name);
create index backups_instance_id_idx on backups (instance_id, id desc);
create index backups_project_id_idx on backups (project_id, id desc);
create index backups_status_idx on backups (status, id);
comment on table backups is 'Copies of whole data folders in data/backups/<instance>/, and the queue of those to be made. They outlive their instance, so it is not referenced.';
comment on column backups.claimed_by is 'The term of the leader that makes it; a row running under another term was left behind by a manager that died.';
comment on column backups.attempt is 'Counts how often a scheduled one was begun anew after its manager had died.';
comment on column backups.file_name is 'In the instance''s folder of backups; set once the file is whole.';
comment on column backups.about is 'What the archive''s manifest says of its origin, with the credential secret sealed for backups/<backupId>/credential_secret.';
comment on column backups.verification_wanted is 'How deep a pending verification goes: read back, or rehearsed in a throwaway container.';
comment on column backups.verification_level is 'How deep the last one went.';
comment on column backups.verification_before is 'What the status was before one was asked for: it holds on when this host cannot carry it through.';
comment on column backups.verification_unable is 'Why the last one could not be carried through, if it was not: it says nothing about the backup.';
comment on column backups.offsite_key is 'Where the copy is, or will be, in the bucket.';
comment on column backups.offsite_state is 'What an interrupted upload goes on from.';
comment on column backups.fetch_wanted is 'The file is to be fetched back from the bucket.';

create table backup_policies (
  instance_id uuid constraint backup_policies_pkey primary key
    constraint backup_policies_instance_id_fkey references instances (id) on delete cascade,
  project_id uuid not null constraint backup_policies_project_id_fkey references projects (id),
  enabled boolean not null,
  schedule text,
  keep_daily integer constraint backup_policies_keep_daily_range check (keep_daily between 0 and 1000),
  keep_weekly integer constraint backup_policies_keep_weekly_range check (keep_weekly between 0 and 1000),
  keep_monthly integer constraint backup_policies_keep_monthly_range check (keep_monthly between 0 and 1000),
  updated_at timestamptz not null,
  constraint backup_policies_schedule_length check (length(schedule) <= 200),
  constraint backup_policies_keep_whole check ((keep_daily is null) = (keep_weekly is null) and (keep_weekly is null) = (keep_monthly is null))
);
comment on table backup_policies is 'Where an instance''s backups differ from the installation''s settings; null inherits.';

create table backup_turns (
  instance_id uuid constraint backup_turns_pkey primary key
    constraint backup_turns_instance_id_fkey references instances (id) on delete cascade,
  project_id uuid not null constraint backup_turns_project_id_fkey references projects (id),
  at timestamptz not null,
  taken boolean not null default false
);
comment on table backup_turns is 'When an instance last had its turn by the schedule. The next turn is counted from there, so that a missed one is made up.';
comment on column backup_turns.taken is 'A backup was to be made then; otherwise its turns are only counted from there.';

create table backup_offsite_leftovers (
  key text constraint backup_offsite_leftovers_pkey primary key,
  project_id uuid not null,
  state jsonb,
  attempts integer not null default 0,
  retry_at timestamptz not null
);
comment on table backup_offsite_leftovers is 'Objects in the bucket whose backup is gone here: still to be deleted there.';
comment on column backup_offsite_leftovers.state is 'Of an upload that was under way: to be given up there.';

-- Whoever deletes a backup, its copy is not forgotten about.
create function openflow_forget_offsite() returns trigger
  language plpgsql security definer set search_path = public, pg_temp
  as $$
begin
  insert into backup_offsite_leftovers (key, project_id, state, retry_at)
    values (old.offsite_key, old.project_id, old.offsite_state, now())
    on conflict do nothing;
  return null;
end
$$;
comment on function openflow_forget_offsite() is 'Trigger: notes that the copy of a deleted backup shall go from the bucket.';
create trigger backups_forget_offsite after delete on backups
  for each row when (old.offsite_key is not null) execute function openflow_forget_offsite();

alter table backups enable row level security;
create policy backups_read on backups for select to openflow_user using (openflow_rank(project_id) >= 1);
-- The instance must be the project's own, or a member here could have a folder over there copied.
create policy backups_ask on backups for insert to openflow_user
  with check (openflow_rank(project_id) >= 2
    and exists (select 1 from instances i where i.id = backups.instance_id and i.project_id = backups.project_id));
create policy backups_change on backups for update to openflow_user
  using (openflow_rank(project_id) >= 2) with check (openflow_rank(project_id) >= 2);
create policy backups_delete on backups for delete to openflow_user using (openflow_rank(project_id) >= 2);

alter table backup_policies enable row level security;
create policy backup_policies_read on backup_policies for select to openflow_user using (openflow_rank(project_id) >= 1);
create policy backup_policies_write on backup_policies for all to openflow_user
  using (openflow_rank(project_id) >= 2)
  with check (openflow_rank(project_id) >= 2
    and exists (select 1 from instances i where i.id = backup_policies.instance_id and i.project_id = backup_policies.project_id));

alter table backup_turns enable row level security;
create policy backup_turns_read on backup_turns for select to openflow_user using (openflow_rank(project_id) >= 1);
create policy backup_turns_write on backup_turns for all to openflow_user
  using (openflow_rank(project_id) >= 2)
  with check (openflow_rank(project_id) >= 2
    and exists (select 1 from instances i where i.id = backup_turns.instance_id and i.project_id = backup_turns.project_id));

alter table backup_offsite_leftovers enable row level security; -- no policy: never a user's business

grant select, insert, delete on backups to openflow_user;
grant update (verification_status, verification_wanted, verification_before, fetch_wanted) on backups to openflow_user;
grant select, insert, update, delete on backup_policies, backup_turns to openflow_user;

-- There is something to do, or to see.
create trigger backups_notify after insert or delete or update of status, verification_status, offsite_status, fetch_wanted on backups
  for each row execute function openflow_notify('backup', 'id');
