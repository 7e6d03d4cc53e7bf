use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Origin, SESSION_LIFE, Session};
use crate::kernel::{SessionId, UserActor, UserId};

/// A session as the middleware needs it.
pub(super) struct Live {
    pub(super) id: SessionId,
    pub(super) last_seen_at: DateTime<Utc>,
    pub(super) user_id: UserId,
    pub(super) user_name: String,
    pub(super) is_admin: bool,
}

/// The session of that token, unless it is over or its user disabled.
pub(super) async fn live(
    conn: &mut PgConnection,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Live>> {
    let row = sqlx::query!(
        "select s.id, s.last_seen_at, u.id as user_id, u.name, u.is_admin
         from sessions s join users u on u.id = s.user_id
         where s.token_hash = $1 and s.expires_at > $2 and u.disabled_at is null",
        token_hash,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Live {
        id: SessionId(row.id),
        last_seen_at: row.last_seen_at,
        user_id: UserId(row.user_id),
        user_name: row.name,
        is_admin: row.is_admin,
    }))
}

/// Whether the actor is who they were, and their session, if they came with
/// one, goes on.
pub(super) async fn still(
    conn: &mut PgConnection,
    user: &UserActor,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
             select 1 from users where id = $1 and is_admin = $2 and disabled_at is null
           ) and ($3::uuid is null or exists (
             select 1 from sessions where id = $3 and expires_at > $4
           )) as "still!""#,
        user.id.0,
        user.is_admin,
        user.session.map(|it| it.0),
        now,
    )
    .fetch_one(conn)
    .await
}

pub(super) async fn insert(
    tx: &mut PgConnection,
    user: UserId,
    token_hash: &[u8],
    origin: &Origin,
    now: DateTime<Utc>,
) -> sqlx::Result<SessionId> {
    let id = SessionId::new();
    sqlx::query!(
        "insert into sessions (id, user_id, token_hash, created_at, last_seen_at, expires_at, address, user_agent)
         values ($1, $2, $3, $4, $4, $5, $6, $7)",
        id.0,
        user.0,
        token_hash,
        now,
        now + SESSION_LIFE,
        origin.address_text(),
        origin.user_agent(),
    )
    .execute(tx)
    .await?;
    Ok(id)
}

/// Ends the user's oldest sessions, so that `keep` are left.
pub(super) async fn trim(tx: &mut PgConnection, user: UserId, keep: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from sessions where id in (
           select id from sessions where user_id = $1 order by last_seen_at desc, id desc offset $2)",
        user.0,
        keep,
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(in crate::identity) async fn touch(
    tx: &mut PgConnection,
    id: SessionId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update sessions set last_seen_at = $2 where id = $1 and last_seen_at < $2",
        id.0,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The user's sessions, the one used last first.
pub(super) async fn list(
    conn: &mut PgConnection,
    user: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Session>> {
    let rows = sqlx::query!(
        "select id, created_at, last_seen_at, expires_at, address, user_agent from sessions
         where user_id = $1 and expires_at > $2 order by last_seen_at desc, id desc limit $3",
        user.0,
        now,
        crate::identity::model::SESSIONS_PER_USER_MAX,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Session {
            id: SessionId(row.id),
            created_at: row.created_at,
            last_seen_at: row.last_seen_at,
            expires_at: row.expires_at,
            address: row.address,
            user_agent: row.user_agent,
        })
        .collect())
}

/// Whether there was one of that id.
pub(super) async fn delete(
    tx: &mut PgConnection,
    user: UserId,
    id: SessionId,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "delete from sessions where id = $1 and user_id = $2",
        id.0,
        user.0
    )
    .execute(tx)
    .await?;
    Ok(result.rows_affected() == 1)
}

pub(super) async fn delete_by_token(tx: &mut PgConnection, token_hash: &[u8]) -> sqlx::Result<()> {
    sqlx::query!("delete from sessions where token_hash = $1", token_hash)
        .execute(tx)
        .await?;
    Ok(())
}

/// All of the user's sessions but that one.
pub(in crate::identity) async fn delete_others(
    tx: &mut PgConnection,
    user: UserId,
    keep: Option<SessionId>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from sessions where user_id = $1 and id is distinct from $2",
        user.0,
        keep.map(|it| it.0),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Launches of the user that nobody has redeemed yet.
pub(in crate::identity) async fn delete_launches(
    tx: &mut PgConnection,
    user: UserId,
) -> sqlx::Result<()> {
    sqlx::query!("delete from access_tokens where user_id = $1", user.0)
        .execute(tx)
        .await?;
    Ok(())
}

/// Ends the user's editor sessions but those that hang on the session kept.
pub(in crate::identity) async fn revoke_editors(
    tx: &mut PgConnection,
    user: UserId,
    keep: Option<SessionId>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update editor_sessions set revoked_at = $3
         where user_id = $1 and revoked_at is null and ($2::uuid is null or session_id is distinct from $2)",
        user.0,
        keep.map(|it| it.0),
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(in crate::identity) async fn delete_expired(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "delete from sessions where id in (select id from sessions where expires_at <= $1 limit $2)",
        now,
        limit,
    )
    .execute(tx)
    .await?;
    Ok(result.rows_affected())
}
