//! The reconciler's side of the row: what was seen.
use sqlx::PgConnection;

use super::model::Seen;
use crate::kernel::{InstanceId, StackId};

/// Writes what was seen. Touches no column that requests write.
pub(super) async fn write(conn: &mut PgConnection, id: InstanceId, it: &Seen) -> sqlx::Result<()> {
    sqlx::query!(
        "update instances set status = $2, status_detail = $3, upstream = $4, restart_done = $5, restart_needed = $6,
                safe_mode = $7, crash_count = $8, crashes_seen = $9, last_crash_at = $10, attempts = $11,
                retry_at = $12, seeded_at = $13, good_stack_id = $14, started_at = $15,
                notice = $16
         where id = $1",
        id.0,
        it.status.as_str(),
        it.detail,
        it.upstream,
        it.restart_done,
        it.restart_needed,
        it.safe_mode,
        it.crash_count,
        it.crashes_seen,
        it.last_crash_at,
        it.attempts,
        it.retry_at,
        it.seeded_at,
        it.good_stack.map(|it| it.0),
        it.started_at,
        it.notice,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The name and image of a stack.
pub(super) async fn stack_image(
    conn: &mut PgConnection,
    id: StackId,
) -> sqlx::Result<(String, String)> {
    let row = sqlx::query!("select name, image from stacks where id = $1", id.0)
        .fetch_one(conn)
        .await?;
    Ok((row.name, row.image))
}

/// Goes back to the stack that was last healthy, unless somebody chose yet
/// another one meanwhile. `false` when so.
pub(super) async fn roll_back(
    conn: &mut PgConnection,
    id: InstanceId,
    from: StackId,
    to: StackId,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "update instances set stack_id = $3, updated_at = now() where id = $1 and stack_id = $2",
        id.0,
        from.0,
        to.0
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// The last step of a deletion.
pub(super) async fn delete(conn: &mut PgConnection, id: InstanceId) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from instances where id = $1 and desired = 'absent'",
        id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}
