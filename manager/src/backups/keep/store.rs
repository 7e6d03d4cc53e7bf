use sqlx::PgConnection;

use crate::backups::BackupStatus;

/// Numbers of the whole installation, for the metrics.
pub(super) struct Figures {
    /// How many there are of each status.
    pub(super) counts: Vec<(BackupStatus, i64)>,
    /// Seconds since the last good backup of the living instance that has waited longest; one without any counts from its
    /// creation.
    pub(super) oldest_good_seconds: f64,
    pub(super) bytes: i64,
}

pub(super) async fn figures(
    conn: &mut PgConnection,
    now: chrono::DateTime<chrono::Utc>,
) -> sqlx::Result<Figures> {
    let rows = sqlx::query!(
        r#"select status, count(*) as "n!", coalesce(sum(size_bytes) filter (where file_name is not null), 0)::bigint as "bytes!"
           from backups group by status"#
    )
    .fetch_all(&mut *conn)
    .await?;
    let oldest = sqlx::query_scalar!(
        r#"select min(coalesce(
             (select max(b.created_at) from backups b where b.instance_id = i.id and b.status = 'good' and b.trigger <> 'upload'),
             i.created_at))
           from instances i
           left join backup_policies p on p.instance_id = i.id
           where i.desired <> 'absent' and coalesce(p.enabled, true)"#
    )
    .fetch_one(conn)
    .await?;
    let age = oldest.map_or(0, |it| (now - it).num_seconds().max(0));
    let count = |status: BackupStatus| {
        let row = rows.iter().find(|it| it.status == status.as_str());
        (status, row.map_or(0, |it| it.n))
    };
    Ok(Figures {
        counts: [
            BackupStatus::Pending,
            BackupStatus::Running,
            BackupStatus::Good,
            BackupStatus::Partial,
            BackupStatus::Failed,
        ]
        .map(count)
        .to_vec(),
        oldest_good_seconds: age as f64,
        bytes: rows.iter().map(|it| it.bytes).sum(),
    })
}
