use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::backups::VerificationStatus;

/// Notes that the newest good backup is to be rehearsed of each instance for
/// which that went well last before `since`, and that was not tried since
/// `tried`. How many.
pub(super) async fn plan(
    conn: &mut PgConnection,
    since: DateTime<Utc>,
    tried: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "update backups set verification_status = 'pending', verification_wanted = 'rehearsed',
                verification_before = verification_status
         where verification_status not in ('pending', 'running')
           and id in (
             select distinct on (b.instance_id) b.id from backups b
             join instances i on i.id = b.instance_id and i.desired <> 'absent'
             where b.status = 'good' and b.file_name is not null
             order by b.instance_id, b.id desc)
           and not exists (
             select 1 from backups r where r.instance_id = backups.instance_id
               and r.verification_level = 'rehearsed' and r.verification_at > $1
               and coalesce(r.verification_before, r.verification_status) = 'good')
           and not (verification_level = 'rehearsed' and verification_at > $1)
           and not (verification_status = 'failed' and verification_at > $2)
           and coalesce(verification_unable_at <= $2, true)",
        since,
        tried,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
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
             max(b.verification_at) filter (
               where b.verification_level = 'rehearsed' and coalesce(b.verification_before, b.verification_status) = 'good'),
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
