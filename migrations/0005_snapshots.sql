create table snapshots (
  id uuid constraint snapshots_pkey primary key,
  instance_id uuid not null constraint snapshots_instance_id_fkey references instances (id) on delete cascade,
  project_id uuid not null constraint snapshots_project_id_fkey references projects (id),
  kind text not null constraint snapshots_kind_known check (kind in ('manual', 'auto', 'before-restore')),
  name text not null,
  description text not null default '',
  author text not null,
  engine text not null constraint snapshots_engine_known check (engine in ('node-red', 'n8n')),
  engine_version text not null,
  nodes integer not null,
  tabs integer not null,
  modules jsonb not null default '[]',
  flows bytea not null,
  env_sealed bytea,
  credentials_sealed bytea not null,
  credential_digests jsonb not null default '{}',
  content_digest bytea not null,
  credentials integer not null,
  size_bytes bigint not null,
  created_at timestamptz not null,
  constraint snapshots_name_length check (length(name) between 1 and 100),
  constraint snapshots_description_length check (length(description) <= 2000)
);
create index snapshots_instance_id_idx on snapshots (instance_id, id desc);
comment on table snapshots is 'An instance''s flows, credentials and what they need, as they were at a time.';
comment on column snapshots.modules is 'Palette modules: [{name, version, local}]; a local one did not come from the npm registry.';
comment on column snapshots.flows is 'The engine''s flow file, compressed (zlib).';
comment on column snapshots.env_sealed is 'The environment: names, and the values of what is not secret; null when empty.';
comment on column snapshots.credentials_sealed is 'By node, as JSON, sealed for snapshots/<id>/credentials.';
comment on column snapshots.credential_digests is 'By node, a keyed hash: tells that a credential changed, and nothing else.';
comment on column snapshots.content_digest is 'A keyed hash of all that could differ: an automatic snapshot of the same content is not stored.';

create table pipelines (
  id uuid constraint pipelines_pkey primary key,
  project_id uuid not null constraint pipelines_project_id_fkey references projects (id) on delete cascade,
  name text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint pipelines_name_key unique (project_id, name),
  constraint pipelines_name_length check (length(name) between 1 and 100)
);
comment on table pipelines is 'The ways that flows are promoted: ordered lists of a project''s instances.';

create table pipeline_stages (
  pipeline_id uuid not null constraint pipeline_stages_pipeline_id_fkey references pipelines (id) on delete cascade,
  project_id uuid not null constraint pipeline_stages_project_id_fkey references projects (id) on delete cascade,
  instance_id uuid not null constraint pipeline_stages_instance_id_fkey references instances (id) on delete cascade,
  position integer not null,
  needs_owner boolean not null,
  constraint pipeline_stages_pkey primary key (pipeline_id, position),
  constraint pipeline_stages_instance_key unique (pipeline_id, instance_id)
);
create index pipeline_stages_instance_id_idx on pipeline_stages (instance_id);
comment on table pipeline_stages is 'The instances of a pipeline, in order. A deleted instance leaves a gap in the positions.';
comment on column pipeline_stages.needs_owner is 'Only an owner promotes to it.';

alter table snapshots enable row level security;
create policy snapshots_read on snapshots for select to openflow_user using (openflow_rank(project_id) >= 1);
create policy snapshots_write on snapshots for all to openflow_user
  using (openflow_rank(project_id) >= 2)
  -- The instance must be the project's own, or a member here could put snapshots over there.
  with check (openflow_rank(project_id) >= 2
    and exists (select 1 from instances i where i.id = snapshots.instance_id and i.project_id = snapshots.project_id));

alter table pipelines enable row level security;
create policy pipelines_read on pipelines for select to openflow_user using (openflow_rank(project_id) >= 1);
create policy pipelines_write on pipelines for all to openflow_user
  using (openflow_rank(project_id) >= 3) with check (openflow_rank(project_id) >= 3);

alter table pipeline_stages enable row level security;
create policy pipeline_stages_read on pipeline_stages for select to openflow_user using (openflow_rank(project_id) >= 1);
create policy pipeline_stages_write on pipeline_stages for all to openflow_user
  using (openflow_rank(project_id) >= 3)
  with check (openflow_rank(project_id) >= 3
    and exists (select 1 from pipelines p where p.id = pipeline_stages.pipeline_id and p.project_id = pipeline_stages.project_id)
    and exists (select 1 from instances i where i.id = pipeline_stages.instance_id and i.project_id = pipeline_stages.project_id));

grant select, insert, update, delete on snapshots, pipelines, pipeline_stages to openflow_user;
