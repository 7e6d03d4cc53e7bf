use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Candidate;
use crate::{
    backups::{Keep, Policy},
    engines::Engine,
    kernel::{InstanceId, ProjectId},
};

fn bad(column: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("backup_policies.{column}").into())
}

struct Row {
    id: uuid::Uuid,
    project_id: uuid::Uuid,
    name: String,
    engine: String,
    version: String,
    enabled: Option<bool>,
    schedule: Option<String>,
    keep_daily: Option<i32>,
    keep_weekly: Option<i32>,
    keep_monthly: Option<i32>,
    counted_from: DateTime<Utc>,
}

impl TryFrom<Row> for Candidate {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let count = |it: i32| u32::try_from(it).map_err(|_| bad("keep"));
        let keep = match (row.keep_daily, row.keep_weekly, row.keep_monthly) {
            (Some(daily), Some(weekly), Some(monthly)) => Some(Keep {
                daily: count(daily)?,
                weekly: count(weekly)?,
                monthly: count(monthly)?,
            }),
            _ => None,
        };
        let schedule = row.schedule;
        Ok(Self {
            instance: InstanceId(row.id),
            project: ProjectId(row.project_id),
            name: row.name,
            engine: Engine::parse(&row.engine).ok_or_else(|| bad("engine"))?,
            engine_version: row.version,
            policy: row.enabled.map(|enabled| Policy {
                enabled,
                schedule,
                keep,
            }),
            counted_from: row.counted_from,
        })
    }
}

/// `select` of [`Row`] with the given rest: the query macros take literals only.
macro_rules! select {
    ($rest:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"select i.id, i.project_id, i.name, i.engine, s.version, p.enabled as "enabled?", p.schedule,
                      p.keep_daily as "keep_daily?", p.keep_weekly as "keep_weekly?", p.keep_monthly as "keep_monthly?",
                      coalesce(t.at, i.created_at) as "counted_from!"
               from instances i
               join stacks s on s.id = i.stack_id
               left join backup_policies p on p.instance_id = i.id
               left join backup_turns t on t.instance_id = i.id "# + $rest,
            $($arg),*
        )
    };
}

/// The living instances after `after` by id, none of which has a backup that
/// waits or runs.
pub(in crate::backups) async fn candidates(
    conn: &mut PgConnection,
    after: Option<InstanceId>,
    limit: i64,
) -> sqlx::Result<Vec<Candidate>> {
    select!(
        "where i.desired <> 'absent' and ($1::uuid is null or $1 < i.id)
           and not exists (select 1 from backups b where b.instance_id = i.id and b.status in ('pending', 'running'))
         order by i.id limit $2",
        after.map(|it| it.0),
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Candidate::try_from)
    .collect()
}

/// One instance, whatever its state; `None` when there is none.
pub(in crate::backups) async fn candidate(
    conn: &mut PgConnection,
    id: InstanceId,
) -> sqlx::Result<Option<Candidate>> {
    select!("where i.id = $1", id.0)
        .fetch_optional(conn)
        .await?
        .map(Candidate::try_from)
        .transpose()
}

pub(super) async fn set(
    conn: &mut PgConnection,
    (instance, project): (InstanceId, ProjectId),
    policy: &Policy,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let count = |it: u32| i32::try_from(it).unwrap_or(i32::MAX);
    sqlx::query!(
        "insert into backup_policies (instance_id, project_id, enabled, schedule, keep_daily, keep_weekly, keep_monthly, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (instance_id) do update set enabled = excluded.enabled, schedule = excluded.schedule,
           keep_daily = excluded.keep_daily, keep_weekly = excluded.keep_weekly, keep_monthly = excluded.keep_monthly,
           updated_at = excluded.updated_at",
        instance.0,
        project.0,
        policy.enabled,
        policy.schedule,
        policy.keep.map(|it| count(it.daily)),
        policy.keep.map(|it| count(it.weekly)),
        policy.keep.map(|it| count(it.monthly)),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn delete(conn: &mut PgConnection, id: InstanceId) -> sqlx::Result<()> {
    sqlx::query!("delete from backup_policies where instance_id = $1", id.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// The instance has had its turn at `at` (`taken`), or its turns are counted
/// anew from there.
pub(in crate::backups) async fn set_turn(
    conn: &mut PgConnection,
    (instance, project): (InstanceId, ProjectId),
    at: DateTime<Utc>,
    taken: bool,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into backup_turns (instance_id, project_id, at, taken) values ($1, $2, $3, $4)
         on conflict (instance_id) do update set at = excluded.at, taken = excluded.taken",
        instance.0,
        project.0,
        at,
        taken,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What came of an instance's last turn.
pub(super) struct LastTurn {
    /// When it was, if there is no good backup from since then.
    pub(super) in_vain: Option<DateTime<Utc>>,
    /// A backup of the instance waits or runs.
    pub(super) under_way: bool,
}

pub(super) async fn last_turn(conn: &mut PgConnection, id: InstanceId) -> sqlx::Result<LastTurn> {
    let in_vain = sqlx::query_scalar!(
        "select at from backup_turns t where instance_id = $1 and taken
           and not exists (select 1 from backups b where b.instance_id = t.instance_id and b.status = 'good'
                             and b.trigger <> 'upload' and t.at <= b.created_at)",
        id.0
    )
    .fetch_optional(&mut *conn)
    .await?;
    let under_way = sqlx::query_scalar!(
        r#"select exists (select 1 from backups where instance_id = $1 and status in ('pending', 'running')) as "it!""#,
        id.0
    )
    .fetch_one(conn)
    .await?;
    Ok(LastTurn { in_vain, under_way })
}
