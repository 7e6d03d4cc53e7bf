use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Member, NewMember};
use crate::{
    db::is_violation,
    identity::{Error, Role},
    kernel::{PageRequest, ProjectId, UserId},
};

/// Locks the project's row, so that two changes at once cannot leave it
/// without an owner. Does nothing for a stranger.
pub(in crate::identity) async fn lock_project(
    tx: &mut PgConnection,
    project: ProjectId,
) -> sqlx::Result<()> {
    sqlx::query!("select openflow_lock_project($1) as id", project.0)
        .fetch_one(tx)
        .await?;
    Ok(())
}

pub(in crate::identity) async fn insert_first(
    tx: &mut PgConnection,
    project: ProjectId,
    owner: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into project_members (project_id, user_id, role, created_at) values ($1, $2, 'owner', $3)",
        project.0,
        owner.0,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Fails with [`Error::UserNotFound`] or [`Error::AlreadyMember`].
pub(super) async fn insert(
    tx: &mut PgConnection,
    new: &NewMember,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let result = sqlx::query!(
        "insert into project_members (project_id, user_id, role, created_at) values ($1, $2, $3, $4)",
        new.project.0,
        new.user.0,
        new.role.as_str(),
        now,
    )
    .execute(tx)
    .await;
    match result {
        Ok(_) => Ok(()),
        Err(error) if is_violation(&error, "project_members_user_id_fkey") => {
            Err(Error::UserNotFound)
        }
        Err(error) if is_violation(&error, "project_members_pkey") => Err(Error::AlreadyMember),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn get(
    conn: &mut PgConnection,
    project: ProjectId,
    user: UserId,
) -> sqlx::Result<Option<Member>> {
    let row = sqlx::query!(
        "select u.id, u.email, u.name, m.role, m.created_at
         from project_members m join users u on u.id = m.user_id
         where m.project_id = $1 and m.user_id = $2",
        project.0,
        user.0,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Member {
        user: UserId(row.id),
        email: row.email,
        name: row.name,
        role: Role::of_row(&row.role)?,
        created_at: row.created_at,
    }))
}

pub(super) async fn list(
    conn: &mut PgConnection,
    project: ProjectId,
    page: PageRequest,
) -> sqlx::Result<Vec<Member>> {
    let rows = sqlx::query!(
        "select u.id, u.email, u.name, m.role, m.created_at
         from project_members m join users u on u.id = m.user_id
         where m.project_id = $1 and ($2::uuid is null or m.user_id > $2)
         order by m.user_id limit $3",
        project.0,
        page.after,
        page.fetch(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Member {
                user: UserId(row.id),
                email: row.email,
                name: row.name,
                role: Role::of_row(&row.role)?,
                created_at: row.created_at,
            })
        })
        .collect()
}

/// How many members and how many owners the project has.
pub(super) async fn count(conn: &mut PgConnection, project: ProjectId) -> sqlx::Result<(i64, i64)> {
    let row = sqlx::query!(
        r#"select count(*) as "members!", count(*) filter (where role = 'owner') as "owners!"
           from project_members where project_id = $1"#,
        project.0,
    )
    .fetch_one(conn)
    .await?;
    Ok((row.members, row.owners))
}

pub(super) async fn set_role(
    tx: &mut PgConnection,
    project: ProjectId,
    user: UserId,
    role: Role,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update project_members set role = $3 where project_id = $1 and user_id = $2",
        project.0,
        user.0,
        role.as_str(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn delete(
    tx: &mut PgConnection,
    project: ProjectId,
    user: UserId,
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from project_members where project_id = $1 and user_id = $2",
        project.0,
        user.0,
    )
    .execute(tx)
    .await?;
    Ok(())
}
