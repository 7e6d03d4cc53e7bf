use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    backups::{Backup, store as backups},
    kernel::{BackupId, ProjectId},
    offsite::UploadState,
};

/// Good ones that were not thought of before are to be copied; none older than
/// `oldest`, which would go at once.
pub(super) async fn queue(
    conn: &mut PgConnection,
    oldest: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update backups set offsite_status = 'pending', offsite_retry_at = null
         where status = 'good' and file_name is not null and offsite_status = 'off' and offsite_at is null
           and ($1::timestamptz is null or created_at > $1)",
        oldest,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the newest one that waits, with what is known of the last attempt.
pub(super) async fn claim(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<(Backup, Option<UploadState>)>> {
    let row = sqlx::query!(
        "update backups set offsite_status = 'uploading', offsite_attempts = offsite_attempts + 1
         where id = (select id from backups
                     where offsite_status in ('pending', 'failed') and status in ('good', 'partial') and file_name is not null
                       and (offsite_status = 'pending' or offsite_retry_at is not null)
                       and coalesce(offsite_retry_at, $1) <= $1
                     order by id desc limit 1 for update skip locked)
         returning id, offsite_state",
        now
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let backup = backups::get(conn, BackupId(row.id)).await?;
    Ok(backup.map(|it| (it, state(row.offsite_state))))
}

/// A state that cannot be read is none: the upload begins anew.
fn state(value: Option<Value>) -> Option<UploadState> {
    value.and_then(|it| serde_json::from_value(it).ok())
}

/// Changes a backup that is being copied; `false` when that is no longer
/// wanted. The query macros take literals only.
macro_rules! change_uploading {
    ($conn:expr, $id:expr, $set:literal $(, $arg:expr)* $(,)?) => {
        sqlx::query!(
            "update backups set " + $set + " where id = $1 and offsite_status = 'uploading'",
            $id.0
            $(, $arg)*
        )
        .execute($conn)
        .await
        .map(|it| it.rows_affected() > 0)
    };
}

/// Where the copy will be, before anything is sent.
pub(super) async fn set_key(
    conn: &mut PgConnection,
    id: BackupId,
    key: &str,
) -> sqlx::Result<bool> {
    change_uploading!(conn, id, "offsite_key = $2", key)
}

/// How far the upload is.
pub(super) async fn keep_state(
    conn: &mut PgConnection,
    id: BackupId,
    it: &UploadState,
) -> sqlx::Result<bool> {
    change_uploading!(conn, id, "offsite_state = $2", serde_json::json!(it))
}

/// The copy is there.
pub(super) async fn done(
    conn: &mut PgConnection,
    id: BackupId,
    at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    change_uploading!(
        conn,
        id,
        "offsite_status = 'done', offsite_detail = null, offsite_at = $2, offsite_state = null,
         offsite_retry_at = null, offsite_attempts = 0",
        at,
    )
}

/// One, or all that are being copied. It is tried again after so long for each
/// attempt, at most an hour.
pub(super) async fn failed(
    conn: &mut PgConnection,
    one: Option<BackupId>,
    why: &str,
    at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update backups set offsite_status = 'failed', offsite_detail = $2, offsite_at = $3::timestamptz,
                offsite_retry_at = $3::timestamptz + least(power(2, least(offsite_attempts, 10)), 60) * interval '1 minute'
         where offsite_status = 'uploading' and ($1::uuid is null or id = $1)",
        one.map(|it| it.0),
        why,
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What is being copied, one or all, waits for the next leader.
pub(super) async fn release(conn: &mut PgConnection, one: Option<BackupId>) -> sqlx::Result<()> {
    sqlx::query!(
        "update backups set offsite_status = 'pending', offsite_retry_at = null
         where offsite_status = 'uploading' and ($1::uuid is null or id = $1)",
        one.map(|it| it.0),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Copies of backups from before `oldest`, but for the newest copy of each
/// instance: id and key.
pub(super) async fn outdated(
    conn: &mut PgConnection,
    oldest: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<(BackupId, String)>> {
    let rows = sqlx::query!(
        r#"select id, offsite_key as "key!" from backups b
           where offsite_status = 'done' and offsite_key is not null and created_at < $1
             and exists (select 1 from backups n where n.instance_id = b.instance_id and n.offsite_status = 'done'
                           and n.status = 'good' and n.id > b.id)
           order by id limit $2"#,
        oldest,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|it| (BackupId(it.id), it.key))
        .collect())
}

/// The copy is gone by intention, and is not to be made again.
pub(super) async fn gone(
    conn: &mut PgConnection,
    id: BackupId,
    why: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update backups set offsite_status = 'off', offsite_detail = $2, offsite_at = $3, offsite_key = null,
                fetch_wanted = false
         where id = $1 and offsite_status = 'done'",
        id.0,
        why,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An object whose backup is gone here.
pub(super) struct Leftover {
    pub(super) key: String,
    pub(super) state: Option<UploadState>,
}

pub(super) async fn leftovers(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Leftover>> {
    let rows = sqlx::query!(
        "select key, state from backup_offsite_leftovers where retry_at <= $1 order by retry_at limit $2",
        now,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let leftover = rows.into_iter().map(|it| Leftover {
        key: it.key,
        state: state(it.state),
    });
    Ok(leftover.collect())
}

/// An object that is to be deleted, as if its backup had been deleted now.
pub(super) async fn leave_over(
    conn: &mut PgConnection,
    key: &str,
    project: ProjectId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into backup_offsite_leftovers (key, project_id, retry_at) values ($1, $2, $3) on conflict do nothing",
        key,
        project.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn forget(conn: &mut PgConnection, key: &str) -> sqlx::Result<()> {
    sqlx::query!("delete from backup_offsite_leftovers where key = $1", key)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn postpone(
    conn: &mut PgConnection,
    key: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update backup_offsite_leftovers set attempts = attempts + 1,
                retry_at = $2::timestamptz + least(power(2, least(attempts, 10)), 360) * interval '1 minute'
         where key = $1",
        key,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Those whose copy is still to be made: what was encrypted for them is needed.
pub(super) async fn waiting(conn: &mut PgConnection) -> sqlx::Result<Vec<BackupId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar!(
        "select id from backups where offsite_status in ('pending', 'uploading', 'failed')"
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(BackupId).collect())
}

/// Asks for the copy to be fetched back.
pub(super) async fn want_fetch(conn: &mut PgConnection, id: BackupId) -> sqlx::Result<()> {
    sqlx::query!(
        "update backups set fetch_wanted = true where id = $1 and offsite_status = 'done'",
        id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A file is not replaced while it is verified.
pub(super) async fn next_fetch(conn: &mut PgConnection) -> sqlx::Result<Option<Backup>> {
    let id = sqlx::query_scalar!(
        "select id from backups where fetch_wanted and offsite_status = 'done' and file_name is not null
           and verification_status <> 'running' order by id limit 1"
    )
    .fetch_optional(&mut *conn)
    .await?;
    match id {
        Some(id) => backups::get(conn, BackupId(id)).await,
        None => Ok(None),
    }
}

/// The file is in its place, the very one that was made and read back; `false`
/// when its backup was deleted. One that was damaged is good again: only good
/// ones are copied.
pub(super) async fn fetched(
    conn: &mut PgConnection,
    id: BackupId,
    at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "update backups set fetch_wanted = false, offsite_detail = null,
                status = case status when 'failed' then 'good' else status end,
                detail = case status when 'failed' then null else detail end,
                finished_at = case status when 'failed' then null else finished_at end
         where id = $1",
        id.0,
    )
    .execute(&mut *conn)
    .await?;
    // What was said of the file that was here before.
    sqlx::query!(
        "update backups set verification_detail = null, verification_at = $2,
                verification_status = case verification_status when 'failed' then 'good' else verification_status end,
                verification_before = case verification_before when 'failed' then 'good' else verification_before end
         where id = $1 and verification_level = 'read' and 'failed' in (verification_status, verification_before)",
        id.0,
        at,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// Why it did not go well; `false` when its backup was deleted.
pub(super) async fn not_fetched(
    conn: &mut PgConnection,
    id: BackupId,
    why: &str,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "update backups set fetch_wanted = false, offsite_detail = $2 where id = $1",
        id.0,
        why,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// There is no bucket any more to fetch anything from.
pub(super) async fn drop_fetches(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("update backups set fetch_wanted = false where fetch_wanted")
        .execute(conn)
        .await?;
    Ok(())
}
