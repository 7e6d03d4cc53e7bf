use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Entries, Plan, Restore, RestoreState, SourceKind};
use crate::{
    db,
    instances::Error,
    kernel::{InstanceId, PageRequest, ProjectId, RestoreId},
};

/// So many are given up at once; the others at the next turn.
const SILENT_MAX: i64 = 100;

struct Row {
    id: Uuid,
    instance_id: Uuid,
    project_id: Uuid,
    source_kind: String,
    source_id: Uuid,
    source_name: String,
    takes_back: bool,
    state: String,
    detail: Option<String>,
    done_bytes: Option<i64>,
    total_bytes: Option<i64>,
    requested_by: String,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

fn bad(column: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("restores.{column}").into())
}

impl TryFrom<Row> for Restore {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            id: RestoreId(row.id),
            instance: InstanceId(row.instance_id),
            project: ProjectId(row.project_id),
            source_kind: SourceKind::parse(&row.source_kind).ok_or_else(|| bad("source_kind"))?,
            source_id: row.source_id,
            source_name: row.source_name,
            takes_back: row.takes_back,
            state: RestoreState::parse(&row.state).ok_or_else(|| bad("state"))?,
            detail: row.detail,
            progress: row.done_bytes.zip(row.total_bytes),
            requested_by: row.requested_by,
            created_at: row.created_at,
            finished_at: row.finished_at,
        })
    }
}

/// `select` of [`Row`] with the given rest: the query macros take literals only.
macro_rules! select {
    ($rest:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Row,
            "select id, instance_id, project_id, source_kind, source_id, source_name, takes_back, state, detail, done_bytes,
                    total_bytes, requested_by, created_at, finished_at
             from restores " + $rest,
            $($arg),*
        )
    };
}

/// Fails with [`Error::RestoreUnderWay`] when another one is open.
pub(super) async fn insert(conn: &mut PgConnection, it: &Restore) -> Result<(), Error> {
    let result = sqlx::query!(
        "insert into restores (id, instance_id, project_id, source_kind, source_id, source_name, takes_back, state, requested_by,
                               created_at, touched_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)",
        it.id.0,
        it.instance.0,
        it.project.0,
        it.source_kind.as_str(),
        it.source_id,
        it.source_name,
        it.takes_back,
        it.state.as_str(),
        it.requested_by,
        it.created_at,
    )
    .execute(conn)
    .await;
    match result {
        Err(error) if db::is_violation(&error, "restores_open_key") => Err(Error::RestoreUnderWay),
        other => Ok(other.map(|_| ())?),
    }
}

/// Whether the slice above copies the instance's data at the moment.
pub(super) async fn backup_runs(
    conn: &mut PgConnection,
    instance: InstanceId,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select 1 from backups where instance_id = $1 and status = 'running') as "runs!""#,
        instance.0
    )
    .fetch_one(conn)
    .await
}

pub(super) async fn get(conn: &mut PgConnection, id: RestoreId) -> sqlx::Result<Option<Restore>> {
    select!("where id = $1", id.0)
        .fetch_optional(conn)
        .await?
        .map(Restore::try_from)
        .transpose()
}

/// Newest first.
pub(super) async fn list(
    conn: &mut PgConnection,
    instance: InstanceId,
    page: PageRequest,
) -> sqlx::Result<Vec<Restore>> {
    select!(
        "where instance_id = $1 and ($2::uuid is null or id < $2) order by id desc limit $3",
        instance.0,
        page.after,
        page.fetch(),
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Restore::try_from)
    .collect()
}

/// A sign of life; `false` when it is no longer being prepared.
pub(super) async fn touch(
    conn: &mut PgConnection,
    id: RestoreId,
    progress: (i64, i64),
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "update restores set done_bytes = $2, total_bytes = $3, touched_at = $4 where id = $1 and state = 'preparing'",
        id.0,
        progress.0,
        progress.1,
        now,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// A sign of life of a task that cannot tell how far it is.
pub(super) async fn alive(
    conn: &mut PgConnection,
    id: RestoreId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update restores set touched_at = $2 where id = $1 and state = 'preparing'",
        id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// After what was said before.
pub(super) async fn note(conn: &mut PgConnection, id: RestoreId, note: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "update restores set detail = concat_ws(' ', detail, $2::text) where id = $1 and state = 'preparing'",
        id.0,
        note
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Hands it to the reconciler; `false` when it was given up meanwhile.
pub(super) async fn stage(
    conn: &mut PgConnection,
    id: RestoreId,
    plan: &Plan,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let (state, entries) = match &plan.entries {
        Entries::Whole => (RestoreState::Stopping, None),
        Entries::Files(names) => (RestoreState::Stopping, Some(names.as_slice())),
        Entries::Handed => (RestoreState::Applying, Some(&[][..])),
    };
    let result = sqlx::query!(
        "update restores set state = $2, entries = $3, modules = $4, touched_at = $5
         where id = $1 and state = 'preparing'",
        id.0,
        state.as_str(),
        entries,
        serde_json::json!(plan.modules),
        now,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// The open restore that the reconciler has to carry on, and its plan.
pub(in crate::instances) async fn staged(
    conn: &mut PgConnection,
    instance: InstanceId,
) -> Result<Option<(Restore, Plan)>, Error> {
    let row = select!(
        "where instance_id = $1 and state in ('stopping', 'applying', 'starting', 'undoing')",
        instance.0
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let restore = Restore::try_from(row)?;
    let plan = sqlx::query!(
        "select entries, modules from restores where id = $1",
        restore.id.0
    )
    .fetch_one(conn)
    .await?;
    let plan = Plan {
        entries: match plan.entries {
            None => Entries::Whole,
            Some(names) if names.is_empty() => Entries::Handed,
            Some(names) => Entries::Files(names),
        },
        modules: serde_json::from_value(plan.modules).map_err(|_| bad("modules"))?,
    };
    Ok(Some((restore, plan)))
}

/// Takes a step, with the reason of the step if there is one.
pub(in crate::instances) async fn step(
    conn: &mut PgConnection,
    id: RestoreId,
    to: RestoreState,
    why: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let over = matches!(
        to,
        RestoreState::Done | RestoreState::Undone | RestoreState::Failed
    );
    sqlx::query!(
        "update restores set state = $2, detail = coalesce($3, detail), finished_at = $4 where id = $1 and finished_at is null",
        id.0,
        to.as_str(),
        why,
        over.then_some(now),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Nothing was touched; `false` when it is not being prepared any more.
pub(super) async fn fail(
    conn: &mut PgConnection,
    id: RestoreId,
    why: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "update restores set state = 'failed', detail = $2, finished_at = $3 where id = $1 and state = 'preparing'",
        id.0,
        why,
        now,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// Those being prepared without a sign of life since `before`, the oldest first.
pub(super) async fn silent(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
) -> sqlx::Result<Vec<Restore>> {
    select!(
        "where state = 'preparing' and touched_at < $1 order by id limit $2",
        before,
        SILENT_MAX,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Restore::try_from)
    .collect()
}

/// Gives up one without a sign of life since `before`; `false` when there was
/// one.
pub(super) async fn give_up(
    conn: &mut PgConnection,
    id: RestoreId,
    before: DateTime<Utc>,
    why: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "update restores set state = 'failed', detail = $3, finished_at = $4
         where id = $1 and state = 'preparing' and touched_at < $2",
        id.0,
        before,
        why,
        now,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// Whether the restore is under way.
pub(super) async fn is_open(conn: &mut PgConnection, id: RestoreId) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select 1 from restores where id = $1 and finished_at is null) as "open!""#,
        id.0
    )
    .fetch_one(conn)
    .await
}
