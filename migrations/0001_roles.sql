-- Two database roles. The connecting role owns the tables and does the background work; `openflow_user` is put on
-- by `db.begin_as(&actor)` for a user's request and sees, through row-level security, only what that user may.
do $$
begin
  create role openflow_user nologin;
exception
  -- Roles belong to the whole cluster: another database, or another manager at this moment, may have made it.
  when duplicate_object or unique_violation then null;
end
$$;

do $$
begin
  execute format('grant openflow_user to %I', current_user);
exception
  when unique_violation then null; -- two at once
end
$$;

-- Who asks, as set by `db.begin_as`; null in a system transaction.
create function openflow_actor() returns uuid
  language sql stable
  as $$ select nullif(current_setting('openflow.user_id', true), '')::uuid $$;
comment on function openflow_actor() is 'The user for whom this transaction runs; null for the system.';

create function openflow_is_admin() returns boolean
  language sql stable
  as $$ select current_setting('openflow.is_admin', true) = 'true' $$;
comment on function openflow_is_admin() is 'Whether the transaction runs for an administrator of the installation.';

-- One channel for all changes; the payload is `<topic>:<id>`. Processes that hold something in memory listen.
create function openflow_notify() returns trigger
  language plpgsql
  as $$
declare
  row_id text;
begin
  execute format('select ($1).%I::text', tg_argv[1]) into row_id using coalesce(new, old);
  perform pg_notify('openflow', tg_argv[0] || ':' || row_id);
  return null;
end
$$;
comment on function openflow_notify() is 'Trigger: notify channel openflow with topic (first argument) and the value of a column (second).';
