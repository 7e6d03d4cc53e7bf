use sqlx::PgConnection;

use super::{NewStage, Pipeline, Stage};
use crate::{
    db,
    kernel::{InstanceId, PipelineId, ProjectId},
    snapshots::Error,
};

pub(super) async fn get(conn: &mut PgConnection, id: PipelineId) -> sqlx::Result<Option<Pipeline>> {
    let row = sqlx::query!(
        "select id, project_id, name, created_at, updated_at from pipelines where id = $1",
        id.0
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Pipeline {
        id,
        project: ProjectId(row.project_id),
        name: row.name,
        stages: stages(conn, id).await?,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }))
}

/// Whether the instance is a stage of a pipeline that only owners promote to.
pub(super) async fn needs_owner(
    conn: &mut PgConnection,
    instance: InstanceId,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select 1 from pipeline_stages where instance_id = $1 and needs_owner) as "needs!""#,
        instance.0
    )
    .fetch_one(conn)
    .await
}

async fn stages(conn: &mut PgConnection, id: PipelineId) -> sqlx::Result<Vec<Stage>> {
    let rows = sqlx::query!(
        "select s.instance_id, s.needs_owner, i.name, i.subdomain
         from pipeline_stages s join instances i on i.id = s.instance_id
         where s.pipeline_id = $1 and i.desired <> 'absent' order by s.position",
        id.0
    )
    .fetch_all(conn)
    .await?;
    let stages = rows.into_iter().map(|row| Stage {
        instance: InstanceId(row.instance_id),
        instance_name: row.name,
        subdomain: row.subdomain,
        needs_owner: row.needs_owner,
    });
    Ok(stages.collect())
}

/// By name.
pub(super) async fn ids(
    conn: &mut PgConnection,
    project: ProjectId,
) -> sqlx::Result<Vec<PipelineId>> {
    let ids = sqlx::query_scalar!(
        "select id from pipelines where project_id = $1 order by name",
        project.0
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(PipelineId).collect())
}

/// How many the project has. Holds a lock until the transaction ends, so that
/// two at once cannot both pass the limit.
pub(super) async fn count(conn: &mut PgConnection, project: ProjectId) -> sqlx::Result<i64> {
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended('pipelines.count/' || $1::text, 0))",
        project.to_string()
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query_scalar!(
        r#"select count(*) as "n!" from pipelines where project_id = $1"#,
        project.0
    )
    .fetch_one(conn)
    .await
}

/// Without its stages. Fails with [`Error::PipelineNameTaken`].
pub(super) async fn insert(conn: &mut PgConnection, it: &Pipeline) -> Result<(), Error> {
    let result = sqlx::query!(
        "insert into pipelines (id, project_id, name, created_at, updated_at) values ($1, $2, $3, $4, $4)",
        it.id.0,
        it.project.0,
        it.name,
        it.created_at,
    )
    .execute(conn)
    .await;
    name_taken(result)
}

pub(super) async fn rename(conn: &mut PgConnection, it: &Pipeline) -> Result<(), Error> {
    let result = sqlx::query!(
        "update pipelines set name = $2, updated_at = $3 where id = $1",
        it.id.0,
        it.name,
        it.updated_at,
    )
    .execute(conn)
    .await;
    name_taken(result)
}

fn name_taken<T>(result: sqlx::Result<T>) -> Result<(), Error> {
    match result {
        Err(error) if db::is_violation(&error, "pipelines_name_key") => {
            Err(Error::PipelineNameTaken)
        }
        other => Ok(other.map(|_| ())?),
    }
}

/// In place of those that it had. Only live instances of the pipeline's own
/// project are taken; `false` when one of them is none.
pub(super) async fn set_stages(
    conn: &mut PgConnection,
    it: &Pipeline,
    stages: &[NewStage],
) -> sqlx::Result<bool> {
    sqlx::query!(
        "delete from pipeline_stages where pipeline_id = $1",
        it.id.0
    )
    .execute(&mut *conn)
    .await?;
    for (position, stage) in (0..).zip(stages) {
        let result = sqlx::query!(
            "insert into pipeline_stages (pipeline_id, project_id, instance_id, position, needs_owner)
             select $1, $2, id, $4, $5 from instances where id = $3 and project_id = $2 and desired <> 'absent'",
            it.id.0,
            it.project.0,
            stage.instance.0,
            position,
            stage.needs_owner,
        )
        .execute(&mut *conn)
        .await?;
        if result.rows_affected() == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) async fn delete(conn: &mut PgConnection, id: PipelineId) -> sqlx::Result<()> {
    sqlx::query!("delete from pipelines where id = $1", id.0)
        .execute(conn)
        .await?;
    Ok(())
}
