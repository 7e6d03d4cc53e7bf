use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{NewUser, User};
use crate::{
    db::is_violation,
    identity::Error,
    kernel::{PageRequest, ProjectId, UserId},
};

/// What signing in needs.
pub(in crate::identity) struct Credentials {
    pub(in crate::identity) id: UserId,
    pub(in crate::identity) name: String,
    pub(in crate::identity) is_admin: bool,
    pub(in crate::identity) password_hash: String,
}

/// Of the user with that email, disabled or not.
pub(in crate::identity) async fn credentials(
    conn: &mut PgConnection,
    email: &str,
) -> sqlx::Result<Option<Credentials>> {
    let row = sqlx::query!(
        "select id, name, is_admin, password_hash from users where lower(email) = lower($1)",
        email,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Credentials {
        id: UserId(row.id),
        name: row.name,
        is_admin: row.is_admin,
        password_hash: row.password_hash,
    }))
}

pub(super) async fn password_hash(conn: &mut PgConnection, id: UserId) -> sqlx::Result<String> {
    sqlx::query_scalar!("select password_hash from users where id = $1", id.0)
        .fetch_one(conn)
        .await
}

/// Locks the user; false when disabled or no longer of these credentials.
pub(in crate::identity) async fn lock_credentials(
    tx: &mut PgConnection,
    it: &Credentials,
) -> sqlx::Result<bool> {
    let row = sqlx::query!(
        "select id from users where id = $1 and password_hash = $2 and disabled_at is null for update",
        it.id.0,
        it.password_hash,
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.is_some())
}

/// Locks the user against changes and against counting their things twice at
/// once; false when there is none, or a disabled one.
pub(in crate::identity) async fn lock_active(
    tx: &mut PgConnection,
    id: UserId,
) -> sqlx::Result<bool> {
    let row = sqlx::query!(
        "select id from users where id = $1 and disabled_at is null for update",
        id.0,
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.is_some())
}

/// Of the user with that email.
pub(in crate::identity) async fn id_by_email(
    conn: &mut PgConnection,
    email: &str,
) -> sqlx::Result<Option<UserId>> {
    let id = sqlx::query_scalar!("select id from users where lower(email) = lower($1)", email)
        .fetch_optional(conn)
        .await?;
    Ok(id.map(UserId))
}

pub(in crate::identity) async fn any(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"select exists (select 1 from users) as "any!""#)
        .fetch_one(conn)
        .await
}

pub(super) async fn count(conn: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"select count(*) as "n!" from users"#)
        .fetch_one(conn)
        .await
}

/// Fails with [`Error::EmailTaken`].
pub(super) async fn insert(
    tx: &mut PgConnection,
    id: UserId,
    new: &NewUser,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let result = sqlx::query!(
        "insert into users (id, email, name, password_hash, is_admin, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $6)",
        id.0,
        new.email.as_str(),
        new.name.as_str(),
        new.password_hash,
        new.is_admin,
        now,
    )
    .execute(tx)
    .await;
    match result {
        Ok(_) => Ok(()),
        Err(error) if is_violation(&error, "users_email_key") => Err(Error::EmailTaken),
        Err(error) => Err(error.into()),
    }
}

pub(in crate::identity) async fn get(
    conn: &mut PgConnection,
    id: UserId,
) -> sqlx::Result<Option<User>> {
    let row = sqlx::query!(
        r#"select id, email, name, is_admin, disabled_at is not null as "is_disabled!", created_at
           from users where id = $1"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| User {
        id: UserId(row.id),
        email: row.email,
        name: row.name,
        is_admin: row.is_admin,
        is_disabled: row.is_disabled,
        created_at: row.created_at,
    }))
}

pub(super) async fn list(
    conn: &mut PgConnection,
    email: Option<&str>,
    page: PageRequest,
) -> sqlx::Result<Vec<User>> {
    let rows = sqlx::query!(
        r#"select id, email, name, is_admin, disabled_at is not null as "is_disabled!", created_at
           from users
           where ($1::text is null or lower(email) = lower($1)) and ($2::uuid is null or id > $2)
           order by id limit $3"#,
        email,
        page.after,
        page.fetch(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| User {
            id: UserId(row.id),
            email: row.email,
            name: row.name,
            is_admin: row.is_admin,
            is_disabled: row.is_disabled,
            created_at: row.created_at,
        })
        .collect())
}

/// Who administers the installation, locked until the transaction ends: so
/// that two of them cannot remove each other at the same time.
pub(super) async fn lock_active_admins(tx: &mut PgConnection) -> sqlx::Result<Vec<UserId>> {
    let ids = sqlx::query_scalar!(
        "select id from users where is_admin and disabled_at is null order by id for update"
    )
    .fetch_all(tx)
    .await?;
    Ok(ids.into_iter().map(UserId).collect())
}

pub(super) async fn lock(tx: &mut PgConnection, id: UserId) -> sqlx::Result<()> {
    sqlx::query!("select id from users where id = $1 for update", id.0)
        .fetch_optional(tx)
        .await?;
    Ok(())
}

pub(super) async fn update(
    tx: &mut PgConnection,
    after: &User,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update users set name = $2, is_admin = $3, updated_at = $5,
           disabled_at = case when $4 then coalesce(disabled_at, $5) end
         where id = $1",
        after.id.0,
        after.name,
        after.is_admin,
        after.is_disabled,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Where it is still `before` (any, when that is `None`); whether it was.
pub(super) async fn set_password(
    tx: &mut PgConnection,
    id: UserId,
    before: Option<&str>,
    hash: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "update users set password_hash = $3, updated_at = $4
         where id = $1 and ($2::text is null or password_hash = $2)",
        id.0,
        before,
        hash,
        now,
    )
    .execute(tx)
    .await?;
    Ok(result.rows_affected() == 1)
}

pub(super) async fn delete(tx: &mut PgConnection, id: UserId) -> sqlx::Result<()> {
    sqlx::query!("delete from users where id = $1", id.0)
        .execute(tx)
        .await?;
    Ok(())
}

/// A project that has no owner but this user.
pub(super) struct OnlyOwned {
    pub(super) id: ProjectId,
    pub(super) name: String,
    /// Others are in it, or it has instances.
    pub(super) is_used: bool,
}

/// Locks the user's projects, then says which hang on this user alone.
pub(super) async fn only_owned(
    tx: &mut PgConnection,
    user: UserId,
) -> sqlx::Result<Vec<OnlyOwned>> {
    sqlx::query!(
        "select id from projects where id in (select project_id from project_members where user_id = $1)
         order by id for update",
        user.0,
    )
    .fetch_all(&mut *tx)
    .await?;
    let rows = sqlx::query!(
        r#"select p.id, p.name,
             (exists (select 1 from project_members o where o.project_id = p.id and o.user_id <> $1)
              or exists (select 1 from instances i where i.project_id = p.id and i.desired <> 'absent')) as "is_used!"
           from projects p join project_members m on m.project_id = p.id
           where m.user_id = $1 and m.role = 'owner' and p.deleting_at is null and not exists (
             select 1 from project_members o
             where o.project_id = p.id and o.user_id <> $1 and o.role = 'owner')
           order by p.id"#,
        user.0,
    )
    .fetch_all(tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| OnlyOwned {
            id: ProjectId(row.id),
            name: row.name,
            is_used: row.is_used,
        })
        .collect())
}
