use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::kernel::{EditorSessionId, InstanceId, SessionId, UserId};

/// The kept secret of that name, or `fresh`, now kept.
pub(super) async fn secret_or(
    conn: &mut PgConnection,
    name: &str,
    fresh: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<u8>> {
    sqlx::query!(
        "insert into secrets (name, value_sealed, created_at) values ($1, $2, $3) on conflict do nothing",
        name,
        fresh,
        now,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query_scalar!("select value_sealed from secrets where name = $1", name)
        .fetch_one(conn)
        .await
}

pub(super) struct NewAccessToken {
    pub(super) hash: [u8; 32],
    pub(super) instance: InstanceId,
    pub(super) user: UserId,
    pub(super) session: Option<SessionId>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
}

pub(super) async fn insert_access_token(
    conn: &mut PgConnection,
    it: &NewAccessToken,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into access_tokens (token_hash, instance_id, user_id, session_id, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6)",
        it.hash.as_slice(),
        it.instance.0,
        it.user.0,
        it.session.map(|it| it.0),
        it.created_at,
        it.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) struct Redeemed {
    pub(super) user: UserId,
    pub(super) name: String,
    pub(super) is_admin: bool,
    pub(super) session: Option<SessionId>,
    pub(super) project: Uuid,
    pub(super) instance_name: String,
    /// In the instance's project; `None` when no longer a member.
    pub(super) role: Option<String>,
}

/// Takes the token out: of any number of callers at once, one gets it. The
/// instance must be the one it was minted for.
pub(super) async fn redeem(
    conn: &mut PgConnection,
    hash: &[u8; 32],
    instance: InstanceId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Redeemed>> {
    let row = sqlx::query!(
        r#"with taken as (
             delete from access_tokens
             where token_hash = $1 and instance_id = $2 and expires_at > $3
             returning instance_id, user_id, session_id
           )
           select taken.user_id, taken.session_id, users.name, users.is_admin, instances.project_id,
                  instances.name as instance_name,
                  project_members.role as "role?"
           from taken
           join users on users.id = taken.user_id and users.disabled_at is null
           join instances on instances.id = taken.instance_id and instances.desired <> 'absent'
           left join project_members
             on project_members.project_id = instances.project_id and project_members.user_id = taken.user_id"#,
        hash.as_slice(),
        instance.0,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Redeemed {
        user: UserId(row.user_id),
        name: row.name,
        is_admin: row.is_admin,
        session: row.session_id.map(SessionId),
        project: row.project_id,
        instance_name: row.instance_name,
        role: row.role,
    }))
}

pub(super) async fn insert_editor_session(
    conn: &mut PgConnection,
    id: EditorSessionId,
    instance: InstanceId,
    redeemed: &Redeemed,
    (created_at, expires_at): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into editor_sessions (id, instance_id, user_id, session_id, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6)",
        id.0,
        instance.0,
        redeemed.user.0,
        redeemed.session.map(|it| it.0),
        created_at,
        expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The instance whose magic token has this hash.
pub(super) async fn instance_of_magic(
    conn: &mut PgConnection,
    hash: &[u8; 32],
) -> sqlx::Result<Option<InstanceId>> {
    let id = sqlx::query_scalar!(
        "select id from instances where magic_token_hash = $1 and desired <> 'absent'",
        hash.as_slice()
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(InstanceId))
}

/// Removes what has expired.
pub(super) async fn purge(conn: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let tokens = sqlx::query!("delete from access_tokens where expires_at <= $1", now)
        .execute(&mut *conn)
        .await?;
    let editor = sqlx::query!("delete from editor_sessions where expires_at <= $1", now)
        .execute(&mut *conn)
        .await?;
    Ok(tokens.rows_affected() + editor.rows_affected())
}
