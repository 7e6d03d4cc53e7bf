use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    backups::{Backup, Outcome, Term, VerificationLevel, VerificationStatus, store as backups},
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

/// Changes a backup that runs under that term; `false` when it does no more: it
/// was deleted, or another leader gave it up. The query macros take literals
/// only.
macro_rules! change_running {
    ($conn:expr, ($id:expr, $term:expr), $set:literal $(, $arg:expr)* $(,)?) => {
        sqlx::query!(
            "update backups set " + $set + " where id = $1 and status = 'running' and claimed_by is not distinct from $2",
            $id.0,
            $term
            $(, $arg)*
        )
        .execute($conn)
        .await
        .map(|it| it.rows_affected() > 0)
    };
}

/// The file will get this name.
pub(super) async fn note_file(
    conn: &mut PgConnection,
    id: BackupId,
    term: Term,
    name: &str,
) -> sqlx::Result<bool> {
    change_running!(conn, (id, term.0), "file_name = $3", name)
}

/// It is whole, and was read back.
pub(super) async fn finish(
    conn: &mut PgConnection,
    id: BackupId,
    term: Term,
    it: &Outcome,
    at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let bytes = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
    change_running!(
        conn,
        (id, term.0),
        "status = $3, detail = $4, file_name = $5, size_bytes = $6, data_bytes = $7, files = $8, freeze_ms = $9,
         skipped = $10, sha256 = $11, about = $12, finished_at = $13, claimed_by = null, done_bytes = null,
         total_bytes = null, verification_status = 'good', verification_level = 'read', verification_wanted = null,
         verification_detail = null, verification_at = $13, verification_before = null, verification_unable = null,
         verification_unable_at = null",
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
        at,
    )
}

/// Nothing came of it.
pub(super) async fn fail(
    conn: &mut PgConnection,
    id: BackupId,
    term: Option<Term>,
    why: &str,
    at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    change_running!(
        conn,
        (id, term.map(|it| it.0)),
        "status = 'failed', detail = $3, finished_at = $4, claimed_by = null, file_name = null, done_bytes = null,
         total_bytes = null",
        why,
        at,
    )
}

/// Puts it back into the queue.
pub(super) async fn release(
    conn: &mut PgConnection,
    id: BackupId,
    term: Term,
) -> sqlx::Result<bool> {
    change_running!(
        conn,
        (id, term.0),
        "status = 'pending', claimed_by = null, started_at = null, file_name = null, done_bytes = null,
         total_bytes = null"
    )
}

/// Those that run under another term, and which: whoever made them is dead.
pub(super) async fn orphans(
    conn: &mut PgConnection,
    term: Term,
) -> sqlx::Result<Vec<(BackupId, Option<Term>)>> {
    let rows = sqlx::query!(
        "select id, claimed_by from backups where status = 'running' and claimed_by is distinct from $1 order by id",
        term.0
    )
    .fetch_all(conn)
    .await?;
    let orphan = |id, claimed_by: Option<Uuid>| (BackupId(id), claimed_by.map(Term));
    Ok(rows
        .into_iter()
        .map(|it| orphan(it.id, it.claimed_by))
        .collect())
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

/// Takes the next backup that is to be read back or rehearsed; a file that is
/// being fetched is not looked at before it is there.
pub(super) async fn claim_verification(conn: &mut PgConnection) -> sqlx::Result<Option<Backup>> {
    let id = sqlx::query_scalar!(
        "update backups set verification_status = 'running'
         where id = (select id from backups where verification_status = 'pending' and not fetch_wanted
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

/// What was being verified waits again: one, or all that a dead leader had.
pub(super) async fn release_verifications(
    conn: &mut PgConnection,
    one: Option<BackupId>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update backups set verification_status = 'pending'
         where verification_status = 'running' and ($1::uuid is null or id = $1)",
        one.map(|it| it.0),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a verification says of a backup.
pub(super) struct Verdict<'a> {
    pub(super) status: VerificationStatus,
    pub(super) level: VerificationLevel,
    pub(super) detail: Option<&'a str>,
    /// The backup is good no more.
    pub(super) damaged: bool,
}

/// `false` when it was not being verified.
pub(super) async fn end_verification(
    conn: &mut PgConnection,
    id: BackupId,
    it: &Verdict<'_>,
    at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "update backups set verification_status = $2, verification_level = $3, verification_detail = $4,
                verification_at = $5, verification_wanted = null, verification_before = null,
                verification_unable = null, verification_unable_at = null,
                status = case when $6 then 'failed' else status end, detail = case when $6 then $4 else detail end,
                finished_at = case when $6 then $5 else finished_at end
         where id = $1 and verification_status = 'running'",
        id.0,
        it.status.as_str(),
        it.level.as_str(),
        it.detail,
        at,
        it.damaged,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// It could not be carried through: what was known of the backup holds on.
pub(super) async fn give_up_verification(
    conn: &mut PgConnection,
    id: BackupId,
    why: &str,
    at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update backups set verification_status = coalesce(verification_before, 'none'), verification_before = null,
                verification_wanted = null, verification_unable = $2, verification_unable_at = $3
         where id = $1 and verification_status = 'running'",
        id.0,
        why,
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}
