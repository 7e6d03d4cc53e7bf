use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    About, Backup, BackupStatus, Error, Offsite, OffsiteStatus, Trigger, Verification,
    VerificationLevel, VerificationStatus,
};
use crate::{
    db,
    engines::Engine,
    kernel::{BackupId, InstanceId, PageRequest, ProjectId},
};

struct Row {
    id: Uuid,
    instance_id: Uuid,
    project_id: Uuid,
    instance_name: String,
    instance_exists: bool,
    trigger: String,
    status: String,
    detail: Option<String>,
    requested_by: String,
    engine: String,
    engine_version: String,
    attempt: i32,
    done_bytes: Option<i64>,
    total_bytes: Option<i64>,
    file_name: Option<String>,
    size_bytes: Option<i64>,
    data_bytes: Option<i64>,
    files: Option<i64>,
    freeze_ms: Option<i64>,
    skipped: serde_json::Value,
    sha256: Option<String>,
    about: Option<serde_json::Value>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    verification_status: String,
    verification_wanted: Option<String>,
    verification_level: Option<String>,
    verification_detail: Option<String>,
    verification_at: Option<DateTime<Utc>>,
    verification_unable: Option<String>,
    verification_unable_at: Option<DateTime<Utc>>,
    offsite_status: String,
    offsite_detail: Option<String>,
    offsite_at: Option<DateTime<Utc>>,
    offsite_key: Option<String>,
    fetch_wanted: bool,
}

fn bad(column: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("backups.{column}").into())
}

fn level(text: Option<&str>, column: &'static str) -> sqlx::Result<Option<VerificationLevel>> {
    text.map(|it| VerificationLevel::parse(it).ok_or_else(|| bad(column)))
        .transpose()
}

fn about(value: Option<serde_json::Value>) -> sqlx::Result<Option<About>> {
    value
        .map(|it| serde_json::from_value(it).map_err(|_| bad("about")))
        .transpose()
}

impl TryFrom<Row> for Backup {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            id: BackupId(row.id),
            instance: InstanceId(row.instance_id),
            project: ProjectId(row.project_id),
            instance_name: row.instance_name,
            instance_exists: row.instance_exists,
            trigger: Trigger::parse(&row.trigger).ok_or_else(|| bad("trigger"))?,
            status: BackupStatus::parse(&row.status).ok_or_else(|| bad("status"))?,
            detail: row.detail,
            requested_by: row.requested_by,
            engine: Engine::parse(&row.engine).ok_or_else(|| bad("engine"))?,
            engine_version: row.engine_version,
            attempt: row.attempt,
            progress: row.done_bytes.zip(row.total_bytes),
            file_name: row.file_name,
            size_bytes: row.size_bytes,
            data_bytes: row.data_bytes,
            files: row.files,
            freeze_ms: row.freeze_ms,
            skipped: serde_json::from_value(row.skipped).map_err(|_| bad("skipped"))?,
            sha256: row.sha256,
            about: about(row.about)?,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            verification: Verification {
                status: VerificationStatus::parse(&row.verification_status)
                    .ok_or_else(|| bad("verification_status"))?,
                wanted: level(row.verification_wanted.as_deref(), "verification_wanted")?,
                level: level(row.verification_level.as_deref(), "verification_level")?,
                detail: row.verification_detail,
                at: row.verification_at,
                unable: row.verification_unable_at.zip(row.verification_unable),
            },
            offsite: Offsite {
                status: OffsiteStatus::parse(&row.offsite_status)
                    .ok_or_else(|| bad("offsite_status"))?,
                detail: row.offsite_detail,
                at: row.offsite_at,
                key: row.offsite_key,
                fetching: row.fetch_wanted,
            },
        })
    }
}

/// `select` of [`Row`] with the given rest: the query macros take literals only.
macro_rules! select {
    ($rest:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"select id, instance_id, project_id, instance_name,
                      exists (select 1 from instances i where i.id = b.instance_id and i.desired <> 'absent') as "instance_exists!",
                      trigger, status, detail, requested_by, engine, engine_version, attempt, done_bytes, total_bytes,
                      file_name, size_bytes, data_bytes, files, freeze_ms, skipped, sha256, about, created_at, started_at,
                      finished_at, verification_status, verification_wanted, verification_level, verification_detail,
                      verification_at, verification_unable, verification_unable_at, offsite_status, offsite_detail, offsite_at, offsite_key,
                      fetch_wanted
               from backups b "# + $rest,
            $($arg),*
        )
    };
}

/// The rows, each as a [`Backup`].
macro_rules! all {
    ($conn:expr, $rest:literal, $($arg:expr),* $(,)?) => {
        select!($rest, $($arg),*)
            .fetch_all($conn)
            .await?
            .into_iter()
            .map(Backup::try_from)
            .collect()
    };
}

/// Fails with [`Error::UnderWay`] when one of the instance waits or runs.
pub(super) async fn insert(conn: &mut PgConnection, it: &Backup) -> Result<(), Error> {
    let result = sqlx::query!(
        "insert into backups (id, instance_id, project_id, instance_name, trigger, status, detail, requested_by, engine,
                              engine_version, attempt, file_name, size_bytes, data_bytes, files, sha256, about,
                              created_at, started_at, finished_at, verification_status, verification_level,
                              verification_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)",
        it.id.0,
        it.instance.0,
        it.project.0,
        it.instance_name,
        it.trigger.as_str(),
        it.status.as_str(),
        it.detail,
        it.requested_by,
        it.engine.as_str(),
        it.engine_version,
        it.attempt,
        it.file_name,
        it.size_bytes,
        it.data_bytes,
        it.files,
        it.sha256,
        it.about.as_ref().map(|it| serde_json::json!(it)),
        it.created_at,
        it.started_at,
        it.finished_at,
        it.verification.status.as_str(),
        it.verification.level.map(VerificationLevel::as_str),
        it.verification.at,
    )
    .execute(conn)
    .await;
    match result {
        Err(error) if db::is_violation(&error, "backups_open_key") => Err(Error::UnderWay),
        other => Ok(other.map(|_| ())?),
    }
}

pub(super) async fn get(conn: &mut PgConnection, id: BackupId) -> sqlx::Result<Option<Backup>> {
    select!("where id = $1", id.0)
        .fetch_optional(conn)
        .await?
        .map(Backup::try_from)
        .transpose()
}

/// An instance's, newest first.
pub(super) async fn of_instance(
    conn: &mut PgConnection,
    instance: InstanceId,
    page: PageRequest,
) -> sqlx::Result<Vec<Backup>> {
    all!(
        conn,
        "where instance_id = $1 and ($2::uuid is null or id < $2) order by id desc limit $3",
        instance.0,
        page.after,
        page.fetch(),
    )
}

/// A project's, newest first.
pub(super) async fn of_project(
    conn: &mut PgConnection,
    project: ProjectId,
    page: PageRequest,
) -> sqlx::Result<Vec<Backup>> {
    all!(
        conn,
        "where project_id = $1 and ($2::uuid is null or id < $2) order by id desc limit $3",
        project.0,
        page.after,
        page.fetch(),
    )
}

/// After `after` by id: to go through all of them.
pub(super) async fn batch(
    conn: &mut PgConnection,
    after: Option<BackupId>,
    limit: i64,
) -> sqlx::Result<Vec<Backup>> {
    all!(
        conn,
        "where $1::uuid is null or $1 < id order by id limit $2",
        after.map(|it| it.0),
        limit,
    )
}

/// Whether there was one to delete.
pub(super) async fn delete(conn: &mut PgConnection, id: BackupId) -> sqlx::Result<bool> {
    let result = sqlx::query!("delete from backups where id = $1", id.0)
        .execute(conn)
        .await?;
    Ok(result.rows_affected() > 0)
}

/// The instances that have backups here.
pub(super) async fn instances(conn: &mut PgConnection) -> sqlx::Result<Vec<InstanceId>> {
    let ids = sqlx::query_scalar!("select distinct instance_id from backups")
        .fetch_all(conn)
        .await?;
    Ok(ids.into_iter().map(InstanceId).collect())
}

/// All of an instance's, newest first, but for those that wait or run.
pub(super) async fn finished(
    conn: &mut PgConnection,
    instance: InstanceId,
) -> sqlx::Result<Vec<Backup>> {
    all!(
        conn,
        "where instance_id = $1 and status not in ('pending', 'running') order by id desc limit 5000",
        instance.0,
    )
}

/// Those of deleted projects.
pub(super) async fn ownerless(conn: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<Backup>> {
    all!(
        conn,
        "where not exists (select 1 from projects p where p.id = b.project_id)
           and status <> 'running' order by id limit $1",
        limit,
    )
}

/// The one that was made last of what can be restored.
pub(super) async fn last_restorable(
    conn: &mut PgConnection,
    instance: InstanceId,
) -> sqlx::Result<Option<Backup>> {
    select!(
        "where instance_id = $1 and status in ('good', 'partial') and trigger <> 'upload' order by id desc limit 1",
        instance.0,
    )
    .fetch_optional(conn)
    .await?
    .map(Backup::try_from)
    .transpose()
}

/// Asks for a verification; `false` when one waits or runs, or the backup does.
pub(super) async fn want_verification(
    conn: &mut PgConnection,
    id: BackupId,
    level: VerificationLevel,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "update backups set verification_status = 'pending', verification_wanted = $2, verification_before = verification_status
         where id = $1 and status not in ('pending', 'running') and verification_status not in ('pending', 'running')",
        id.0,
        level.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}
