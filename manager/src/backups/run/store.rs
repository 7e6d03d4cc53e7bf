use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    backups::{Backup, BackupStatus, Outcome, Term, VerificationStatus, store as backups},
    kernel::{BackupId, InstanceId},
};

/// Takes the one that waits longest. What is being restored waits until that is
/// over, and what is restored waits until its backup is.
pub(super) async fn claim(
    conn: &mut PgConnection,
    term: Term,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Backup>> {
    let waiting = sqlx::query!(
        "select id, instance_id from backups b where status = 'pending'
           and not exists (select 1 from restores r where r.instance_id = b.instance_id and r.finished_at is null)
         order by id limit 1"
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(waiting) = waiting else {
        return Ok(None);
    };
    // A restore begins under this lock.
    sqlx::query!(
        "select id from instances where id = $1 for update",
        waiting.instance_id
    )
    .fetch_optional(&mut *conn)
    .await?;
    let result = sqlx::query!(
        "update backups b set status = 'running', claimed_by = $2, started_at = $3, done_bytes = null, total_bytes = null
         where id = $1 and status = 'pending'
           and not exists (select 1 from restores r where r.instance_id = b.instance_id and r.finished_at is null)",
        waiting.id,
        term.0,
        now,
    )
    .execute(&mut *conn)
    .await?;
    if result.rows_affected() == 0 {
        return Ok(None);
    }
    backups::get(conn, BackupId(waiting.id)).await
}

/// A sign of life; `false` when it is no longer wanted: the backup or its
/// instance was deleted, or another leader gave it up.
pub(super) async fn touch(
    conn: &mut PgConnection,
    id: BackupId,
    term: Term,
    progress: (i64, i64),
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "update backups b set done_bytes = $3, total_bytes = $4
         where id = $1 and status = 'running' and claimed_by = $2
           and exists (select 1 from instances i where i.id = b.instance_id and i.desired <> 'absent')",
        id.0,
        term.0,
        progress.0,
        progress.1,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// The file is about to get this name.
pub(super) async fn note_file(
    conn: &mut PgConnection,
    id: BackupId,
    term: Term,
    name: &str,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "update backups set file_name = $3 where id = $1 and status = 'running' and claimed_by = $2",
        id.0,
        term.0,
        name,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// It is whole, and was read back. `false` when it was no longer wanted.
pub(super) async fn finish(
    conn: &mut PgConnection,
    id: BackupId,
    term: Term,
    it: &Outcome,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let bytes = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
    let result = sqlx::query!(
        "update backups set status = $3, detail = $4, file_name = $5, size_bytes = $6, data_bytes = $7, files = $8,
                freeze_ms = $9, skipped = $10, sha256 = $11, about = $12, finished_at = $13, claimed_by = null,
                done_bytes = null, total_bytes = null, verification_status = 'good', verification_level = 'read',
                verification_wanted = null, verification_detail = null, verification_at = $13
         where id = $1 and status = 'running' and claimed_by = $2",
        id.0,
        term.0,
        it.status.as_str(),
        it.detail,
        it.file_name,
        bytes(it.size_bytes),
        bytes(it.data_bytes),
        bytes(it.files),
        it.freeze_ms.map(bytes),
        serde_json::json!(it.skipped),
        it.sha256,
        serde_json::json!(it.about),
        now,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// Nothing came of it; `false` when it was no longer wanted.
pub(super) async fn fail(
    conn: &mut PgConnection,
    id: BackupId,
    term: Term,
    why: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "update backups set status = 'failed', detail = $3, finished_at = $4, claimed_by = null, file_name = null,
                done_bytes = null, total_bytes = null
         where id = $1 and status = 'running' and claimed_by = $2",
        id.0,
        term.0,
        why,
        now,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// Puts it back into the queue.
pub(super) async fn release(conn: &mut PgConnection, id: BackupId, term: Term) -> sqlx::Result<()> {
    sqlx::query!(
        "update backups set status = 'pending', claimed_by = null, started_at = null, file_name = null,
                done_bytes = null, total_bytes = null
         where id = $1 and status = 'running' and claimed_by = $2",
        id.0,
        term.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Those that run under another term: whoever made them is dead.
pub(super) async fn orphans(conn: &mut PgConnection, term: Term) -> sqlx::Result<Vec<BackupId>> {
    let ids = sqlx::query_scalar!(
        "select id from backups where status = 'running' and claimed_by is distinct from $1 order by id",
        term.0
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(BackupId).collect())
}

/// Like [`fail`], for one of another term.
pub(super) async fn fail_orphan(
    conn: &mut PgConnection,
    id: BackupId,
    term: Term,
    why: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "update backups set status = 'failed', detail = $3, finished_at = $4, claimed_by = null, file_name = null,
                done_bytes = null, total_bytes = null
         where id = $1 and status = 'running' and claimed_by is distinct from $2",
        id.0,
        term.0,
        why,
        now,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// A backup's file is not there any more.
pub(in crate::backups) async fn lose_file(
    conn: &mut PgConnection,
    id: BackupId,
    why: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update backups set status = 'failed', detail = $2, file_name = null
         where id = $1 and status in ('good', 'partial') and offsite_status <> 'done'",
        id.0,
        why,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The instances whose backups wait although they are gone or going.
pub(super) async fn fail_of_deleted(
    conn: &mut PgConnection,
    why: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<InstanceId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar!(
        "update backups b set status = 'failed', detail = $1, finished_at = $2
         where status = 'pending'
           and not exists (select 1 from instances i where i.id = b.instance_id and i.desired <> 'absent')
         returning instance_id",
        why,
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(InstanceId).collect())
}

/// Takes the next backup that is to be read back or rehearsed.
pub(super) async fn claim_verification(conn: &mut PgConnection) -> sqlx::Result<Option<Backup>> {
    let id = sqlx::query_scalar!(
        "update backups set verification_status = 'running'
         where id = (select id from backups where verification_status = 'pending'
                     order by verification_wanted, id limit 1 for update skip locked)
         returning id"
    )
    .fetch_optional(&mut *conn)
    .await?;
    match id {
        Some(id) => backups::get(conn, BackupId(id)).await,
        None => Ok(None),
    }
}

/// Those that a dead leader was verifying wait again.
pub(super) async fn release_verifications(conn: &mut PgConnection) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "update backups set verification_status = 'pending'
         where verification_status = 'running'"
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

/// How it was read back. A backup that is `damaged` is good no more.
pub(super) async fn end_verification(
    conn: &mut PgConnection,
    id: BackupId,
    outcome: Result<(), (&str, bool)>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (status, detail, damaged) = match outcome {
        Ok(()) => (VerificationStatus::Good, None, false),
        Err((why, damaged)) => (VerificationStatus::Failed, Some(why), damaged),
    };
    sqlx::query!(
        "update backups set verification_status = $2, verification_detail = $3, verification_level = 'read',
                verification_wanted = null, verification_at = $4,
                status = case when $5 then $6 else status end, detail = case when $5 then $3 else detail end,
                finished_at = case when $5 then $4 else finished_at end
         where id = $1 and verification_status = 'running'",
        id.0,
        status.as_str(),
        detail,
        now,
        damaged,
        BackupStatus::Failed.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
