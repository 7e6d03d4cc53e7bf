use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Project;
use crate::{
    identity::Role,
    kernel::{PageRequest, ProjectId, UserActor, UserId},
};

/// The user's role (`None`: not a member) and whether the project is being
/// deleted; `None` when there is no such project.
pub(in crate::identity) async fn access(
    conn: &mut PgConnection,
    project: ProjectId,
    user: UserId,
) -> sqlx::Result<Option<(Option<Role>, bool)>> {
    let row = sqlx::query!(
        r#"select m.role as "role?", p.deleting_at is not null as "is_deleting!"
           from projects p left join project_members m on m.project_id = p.id and m.user_id = $2
           where p.id = $1"#,
        project.0,
        user.0,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let role = row.role.as_deref().map(Role::of_row).transpose()?;
    Ok(Some((role, row.is_deleting)))
}

pub(super) async fn insert(
    tx: &mut PgConnection,
    id: ProjectId,
    name: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into projects (id, name, created_at, updated_at) values ($1, $2, $3, $3)",
        id.0,
        name,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// How many projects the user owns.
pub(super) async fn count_owned(conn: &mut PgConnection, user: UserId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "n!" from project_members m join projects p on p.id = m.project_id
           where m.user_id = $1 and m.role = 'owner' and p.deleting_at is null"#,
        user.0,
    )
    .fetch_one(conn)
    .await
}

/// The user's projects, an administrator's are all; or the one of that id.
pub(super) async fn list(
    conn: &mut PgConnection,
    user: &UserActor,
    only: Option<ProjectId>,
    page: PageRequest,
) -> sqlx::Result<Vec<Project>> {
    let rows = sqlx::query!(
        r#"select p.id, p.name, p.created_at, p.updated_at, p.deleting_at, m.role as "role?",
             (select count(*) from instances i where i.project_id = p.id and i.desired <> 'absent') as "instance_count!"
           from projects p left join project_members m on m.project_id = p.id and m.user_id = $1
           where ($2 or m.role is not null) and ($3::uuid is null or p.id = $3) and ($4::uuid is null or p.id > $4)
           order by p.id limit $5"#,
        user.id.0,
        user.is_admin,
        only.map(|it| it.0),
        page.after,
        page.fetch(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let role = match row.role {
                Some(text) if !user.is_admin => Role::of_row(&text)?,
                _ => Role::Owner,
            };
            Ok(Project {
                id: ProjectId(row.id),
                name: row.name,
                role,
                instance_count: row.instance_count,
                created_at: row.created_at,
                updated_at: row.updated_at,
                deleting_at: row.deleting_at,
            })
        })
        .collect()
}

pub(super) async fn rename(
    tx: &mut PgConnection,
    id: ProjectId,
    name: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update projects set name = $2, updated_at = $3 where id = $1",
        id.0,
        name,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// From here on the project only empties: its instances shall be absent.
pub(in crate::identity) async fn mark_deleting(
    tx: &mut PgConnection,
    id: ProjectId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update projects set deleting_at = $2, updated_at = $2 where id = $1 and deleting_at is null",
        id.0,
        now,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update instances set desired = 'absent', updated_at = $2
         where project_id = $1 and desired <> 'absent'",
        id.0,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Instances that were created while their project's deletion began.
pub(in crate::identity) async fn empty_deleting(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "update instances set desired = 'absent', updated_at = $1
         where desired <> 'absent' and project_id in (select id from projects where deleting_at is not null)",
        now,
    )
    .execute(tx)
    .await?;
    Ok(result.rows_affected())
}

/// Projects that are being deleted and have no instance left.
pub(in crate::identity) async fn emptied(
    conn: &mut PgConnection,
    limit: i64,
) -> sqlx::Result<Vec<ProjectId>> {
    let ids = sqlx::query_scalar!(
        "select id from projects p where deleting_at is not null
           and not exists (select 1 from instances i where i.project_id = p.id)
         order by deleting_at limit $1",
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(ProjectId).collect())
}

/// Removes the row of a project that is being deleted, and tells its name.
pub(in crate::identity) async fn delete(
    tx: &mut PgConnection,
    id: ProjectId,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "delete from projects where id = $1 and deleting_at is not null returning name",
        id.0,
    )
    .fetch_optional(tx)
    .await
}
