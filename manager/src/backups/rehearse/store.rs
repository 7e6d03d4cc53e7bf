use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    backups::{VerificationLevel, VerificationStatus},
    kernel::BackupId,
};

/// Notes that the newest good backup is to be rehearsed of each instance for
/// which that went well last before `since`, and that was not tried since
/// `tried`. How many.
pub(super) async fn plan(
    conn: &mut PgConnection,
    since: DateTime<Utc>,
    tried: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "update backups set verification_status = 'pending', verification_wanted = 'rehearsed', verification_detail = null
         where verification_status not in ('pending', 'running')
           and id in (
             select distinct on (b.instance_id) b.id from backups b
             join instances i on i.id = b.instance_id and i.desired <> 'absent'
             where b.status = 'good' and b.file_name is not null
             order by b.instance_id, b.id desc)
           and not exists (
             select 1 from backups r where r.instance_id = backups.instance_id
               and r.verification_level = 'rehearsed' and r.verification_status = 'good' and r.verification_at > $1)
           and not (verification_level = 'rehearsed' and verification_at > $1)
           and not (verification_detail is not null and verification_at > $2)",
        since,
        tried,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

/// How it went.
pub(super) async fn end(
    conn: &mut PgConnection,
    id: BackupId,
    (status, level): (VerificationStatus, VerificationLevel),
    detail: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update backups set verification_status = $2, verification_level = $3, verification_detail = $4,
                verification_at = $5, verification_wanted = null
         where id = $1 and verification_status = 'running'",
        id.0,
        status.as_str(),
        level.as_str(),
        detail,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Numbers of the whole installation, for the metrics.
pub(in crate::backups) struct Figures {
    /// How many backups there are of each.
    pub(in crate::backups) counts: Vec<(VerificationStatus, i64)>,
    /// Seconds since a rehearsal went well last, of the living instance that
    /// has waited longest; one without any counts from its first good backup.
    pub(in crate::backups) oldest_seconds: f64,
}

pub(in crate::backups) async fn figures(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
) -> sqlx::Result<Figures> {
    let rows = sqlx::query!(
        r#"select verification_status as status, count(*) as "n!" from backups group by verification_status"#
    )
    .fetch_all(&mut *conn)
    .await?;
    let oldest = sqlx::query_scalar!(
        "select min(at) from (
           select coalesce(
             max(b.verification_at) filter (where b.verification_level = 'rehearsed' and b.verification_status = 'good'),
             min(b.created_at)) as at
           from backups b join instances i on i.id = b.instance_id and i.desired <> 'absent'
           where b.status = 'good' group by b.instance_id) as last"
    )
    .fetch_one(conn)
    .await?;
    let count = |status: VerificationStatus| {
        let row = rows.iter().find(|it| it.status == status.as_str());
        (status, row.map_or(0, |it| it.n))
    };
    Ok(Figures {
        counts: [
            VerificationStatus::None,
            VerificationStatus::Pending,
            VerificationStatus::Running,
            VerificationStatus::Good,
            VerificationStatus::Failed,
        ]
        .map(count)
        .to_vec(),
        oldest_seconds: oldest.map_or(0, |it| (now - it).num_seconds().max(0)) as f64,
    })
}
