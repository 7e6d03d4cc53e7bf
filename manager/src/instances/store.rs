use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Desired, Error, Hostname, Instance, Status, WebhookAccess, inside,
    model::{Inside, Seen, WebhookMode},
    restores::RestoreState,
};
use crate::{
    crypto::KeyRing,
    db,
    engines::{Engine, Storage},
    kernel::{InstanceId, PageRequest, ProjectId, StackId},
};

struct Row {
    id: Uuid,
    project_id: Uuid,
    name: String,
    subdomain: String,
    aliases: Vec<String>,
    engine: String,
    stack_id: Uuid,
    storage: String,
    desired: String,
    restart_wanted: i64,
    memory_mb: i32,
    cpus: f64,
    webhook_access: String,
    webhook_username: Option<String>,
    webhook_secret_hash: Option<String>,
    status: String,
    status_detail: Option<String>,
    notice: Option<String>,
    upstream: Option<String>,
    restart_done: i64,
    restart_needed: bool,
    safe_mode: bool,
    crash_count: i32,
    crashes_seen: i32,
    last_crash_at: Option<DateTime<Utc>>,
    attempts: i32,
    retry_at: Option<DateTime<Utc>>,
    seeded_at: Option<DateTime<Utc>>,
    good_stack_id: Option<Uuid>,
    started_at: Option<DateTime<Utc>>,
    restore: Option<String>,
    awaits_data: bool,
    frozen_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

pub(super) fn bad(column: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("instances.{column}").into())
}

impl TryFrom<Row> for Instance {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            id: InstanceId(row.id),
            project: ProjectId(row.project_id),
            name: row.name,
            subdomain: Hostname::stored(row.subdomain),
            aliases: row.aliases.into_iter().map(Hostname::stored).collect(),
            engine: Engine::parse(&row.engine).ok_or_else(|| bad("engine"))?,
            stack: StackId(row.stack_id),
            storage: Storage::parse(&row.storage).ok_or_else(|| bad("storage"))?,
            desired: Desired::parse(&row.desired).ok_or_else(|| bad("desired"))?,
            restart_wanted: row.restart_wanted,
            memory_mb: row.memory_mb,
            cpus: row.cpus,
            webhook_access: WebhookAccess {
                mode: WebhookMode::parse(&row.webhook_access)
                    .ok_or_else(|| bad("webhook_access"))?,
                username: row.webhook_username,
                secret_hash: row.webhook_secret_hash,
            },
            seen: Seen {
                status: Status::parse(&row.status).ok_or_else(|| bad("status"))?,
                detail: row.status_detail,
                notice: row.notice,
                upstream: row.upstream,
                restart_done: row.restart_done,
                restart_needed: row.restart_needed,
                safe_mode: row.safe_mode,
                crash_count: row.crash_count,
                crashes_seen: row.crashes_seen,
                last_crash_at: row.last_crash_at,
                attempts: row.attempts,
                retry_at: row.retry_at,
                seeded_at: row.seeded_at,
                good_stack: row.good_stack_id.map(StackId),
                started_at: row.started_at,
            },
            restore: match row.restore {
                Some(state) => Some(RestoreState::parse(&state).ok_or_else(|| bad("restore"))?),
                None => None,
            },
            awaits_data: row.awaits_data,
            frozen_until: row.frozen_until,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// `select` of [`Row`] with the given rest: the query macros take literals only.
macro_rules! select {
    ($rest:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"select id, project_id, name, subdomain,
                      array(select h.name from hostnames h where h.instance_id = instances.id and h.kind = 'alias'
                            order by h.created_at, h.name) as "aliases!",
                      engine, stack_id, storage, desired, restart_wanted, memory_mb, cpus, webhook_access, webhook_username,
                      webhook_secret_hash, status, status_detail, notice, upstream, restart_done, restart_needed, safe_mode,
                      crash_count, crashes_seen, last_crash_at, attempts, retry_at, seeded_at, good_stack_id,
                      started_at,
                      (select r.state from restores r where r.instance_id = instances.id and r.finished_at is null) as "restore?",
                      exists (select 1 from restores r where r.instance_id = instances.id and r.state = 'preparing' and r.takes_back)
                        as "awaits_data!",
                      frozen_until, created_at, updated_at
               from instances "# + $rest,
            $($arg),*
        )
    };
}

pub(super) async fn get(conn: &mut PgConnection, id: InstanceId) -> sqlx::Result<Option<Instance>> {
    select!("where id = $1", id.0)
        .fetch_optional(conn)
        .await?
        .map(Instance::try_from)
        .transpose()
}

/// By subdomain or alias.
pub(super) async fn by_hostname(
    conn: &mut PgConnection,
    name: &str,
) -> sqlx::Result<Option<Instance>> {
    select!(
        "where id = (select instance_id from hostnames where hostnames.name = $1)",
        name
    )
    .fetch_optional(conn)
    .await?
    .map(Instance::try_from)
    .transpose()
}

pub(super) async fn list(
    conn: &mut PgConnection,
    project: ProjectId,
    page: PageRequest,
) -> sqlx::Result<Vec<Instance>> {
    select!(
        "where project_id = $1 and ($2::uuid is null or $2 < id) order by id limit $3",
        project.0,
        page.after,
        page.fetch(),
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Instance::try_from)
    .collect()
}

/// The ids of all instances after `after`, in order.
pub(super) async fn ids(
    conn: &mut PgConnection,
    after: Option<InstanceId>,
    limit: i64,
) -> sqlx::Result<Vec<InstanceId>> {
    let ids = sqlx::query_scalar!(
        "select id from instances where $1::uuid is null or $1 < id order by id limit $2",
        after.map(|it| it.0),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(InstanceId).collect())
}

/// How many the project has. Holds a lock until the transaction ends, so that
/// two creations at once cannot both pass the limit.
pub(super) async fn count(conn: &mut PgConnection, project: ProjectId) -> sqlx::Result<i64> {
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended('instances.count/' || $1::text, 0))",
        project.to_string()
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query_scalar!(
        r#"select count(*) as "n!" from instances where project_id = $1 and desired <> 'absent'"#,
        project.0,
    )
    .fetch_one(conn)
    .await
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    keys: &KeyRing,
    it: &Instance,
    inside: &Inside,
) -> Result<(), Error> {
    let sealed = inside.keys.seal(keys, it.id);
    sqlx::query!(
        "insert into instances (id, project_id, name, subdomain, engine, stack_id, desired, memory_mb, cpus, env_sealed,
                                modules, flows, magic_token_sealed, magic_token_hash, credential_secret_sealed,
                                mqtt_password_sealed, mqtt_password_hash, status, created_at, updated_at, storage)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $19, $20)",
        it.id.0,
        it.project.0,
        it.name,
        it.subdomain.as_str(),
        it.engine.as_str(),
        it.stack.0,
        it.desired.as_str(),
        it.memory_mb,
        it.cpus,
        inside::seal_env(keys, it.id, &inside.env),
        serde_json::json!(inside.modules),
        inside.flows,
        sealed.magic_token,
        sealed.magic_token_hash.as_slice(),
        sealed.credential_secret,
        sealed.mqtt_password,
        sealed.mqtt_password_hash.as_slice(),
        it.seen.status.as_str(),
        it.created_at,
        it.storage.as_str(),
    )
    .execute(&mut *conn)
    .await?;
    insert_hostname(conn, it, &it.subdomain, "subdomain", "subdomain").await
}

/// Fails with [`Error::HostnameTaken`] when any instance has the name.
pub(super) async fn insert_hostname(
    conn: &mut PgConnection,
    it: &Instance,
    name: &Hostname,
    kind: &str,
    field: &'static str,
) -> Result<(), Error> {
    let result = sqlx::query!(
        "insert into hostnames (name, instance_id, project_id, kind, created_at) values ($1, $2, $3, $4, now())",
        name.as_str(),
        it.id.0,
        it.project.0,
        kind,
    )
    .execute(conn)
    .await;
    match result {
        Err(error) if db::is_violation(&error, "hostnames_pkey") => Err(Error::HostnameTaken {
            field,
            name: name.to_string(),
        }),
        other => Ok(other.map(|_| ())?),
    }
}

/// Gives up the old subdomain and takes the new one.
pub(super) async fn move_subdomain(
    conn: &mut PgConnection,
    it: &Instance,
    name: &Hostname,
) -> Result<(), Error> {
    sqlx::query!(
        "delete from hostnames where instance_id = $1 and kind = 'subdomain'",
        it.id.0
    )
    .execute(&mut *conn)
    .await?;
    insert_hostname(conn, it, name, "subdomain", "subdomain").await
}

/// Whether the instance had that alias.
pub(super) async fn delete_alias(
    conn: &mut PgConnection,
    id: InstanceId,
    name: &str,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "delete from hostnames where instance_id = $1 and name = $2 and kind = 'alias'",
        id.0,
        name
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// Writes what requests may change: the intent and the names.
pub(super) async fn update(conn: &mut PgConnection, it: &Instance) -> sqlx::Result<()> {
    sqlx::query!(
        "update instances set name = $2, subdomain = $3, stack_id = $4, desired = $5, restart_wanted = $6,
                memory_mb = $7, cpus = $8, webhook_access = $9, webhook_username = $10, webhook_secret_hash = $11,
                updated_at = $12
         where id = $1",
        it.id.0,
        it.name,
        it.subdomain.as_str(),
        it.stack.0,
        it.desired.as_str(),
        it.restart_wanted,
        it.memory_mb,
        it.cpus,
        it.webhook_access.mode.as_str(),
        it.webhook_access.username,
        it.webhook_access.secret_hash,
        it.updated_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// `false` when somebody else holds it still.
pub(super) async fn freeze(
    conn: &mut PgConnection,
    id: InstanceId,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "update instances set frozen_until = $2 where id = $1 and (frozen_until is null or frozen_until < $3)",
        id.0,
        until,
        now,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

pub(super) async fn thaw(conn: &mut PgConnection, id: InstanceId) -> sqlx::Result<()> {
    sqlx::query!(
        "update instances set frozen_until = null where id = $1",
        id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks the row, so that requests for one instance come one after the other.
pub(super) async fn lock(conn: &mut PgConnection, id: InstanceId) -> sqlx::Result<()> {
    sqlx::query!("select id from instances where id = $1 for update", id.0)
        .fetch_optional(conn)
        .await?;
    Ok(())
}
