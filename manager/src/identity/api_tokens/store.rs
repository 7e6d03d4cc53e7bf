use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{ApiToken, NewToken, Scope};
use crate::{
    identity::model::TOKENS_PER_USER_MAX,
    kernel::{ApiTokenId, UserId},
};

/// A token as the middleware needs it.
pub(super) struct Live {
    pub(super) id: ApiTokenId,
    pub(super) scopes: Vec<Scope>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) last_used_at: Option<DateTime<Utc>>,
    pub(super) user_id: UserId,
    pub(super) user_name: String,
    pub(super) is_admin: bool,
}

/// The token of that hash, unless it is over or its user disabled.
pub(super) async fn live(
    conn: &mut PgConnection,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Live>> {
    let row = sqlx::query!(
        "select t.id, t.scopes, t.expires_at, t.last_used_at, u.id as user_id, u.name, u.is_admin
         from api_tokens t join users u on u.id = t.user_id
         where t.token_hash = $1 and (t.expires_at is null or t.expires_at > $2) and u.disabled_at is null",
        token_hash,
        now,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Live {
        id: ApiTokenId(row.id),
        scopes: scopes_of(&row.scopes)?,
        expires_at: row.expires_at,
        last_used_at: row.last_used_at,
        user_id: UserId(row.user_id),
        user_name: row.name,
        is_admin: row.is_admin,
    }))
}

pub(super) async fn count(conn: &mut PgConnection, user: UserId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "n!" from api_tokens where user_id = $1"#,
        user.0,
    )
    .fetch_one(conn)
    .await
}

pub(super) async fn insert(
    tx: &mut PgConnection,
    user: UserId,
    new: &NewToken,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<ApiTokenId> {
    let id = ApiTokenId::new();
    let scopes: Vec<String> = new.scopes.iter().map(|it| it.as_str().to_owned()).collect();
    sqlx::query!(
        "insert into api_tokens (id, user_id, name, token_hash, scopes, expires_at, created_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        id.0,
        user.0,
        new.name.as_str(),
        token_hash,
        &scopes,
        new.expires_at,
        now,
    )
    .execute(tx)
    .await?;
    Ok(id)
}

pub(in crate::identity) async fn touch(
    tx: &mut PgConnection,
    id: ApiTokenId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update api_tokens set last_used_at = $2
         where id = $1 and (last_used_at is null or last_used_at < $2)",
        id.0,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The user's tokens, expired ones too, the newest first.
pub(super) async fn list(conn: &mut PgConnection, user: UserId) -> sqlx::Result<Vec<ApiToken>> {
    let rows = sqlx::query!(
        "select id, name, scopes, expires_at, last_used_at, created_at from api_tokens
         where user_id = $1 order by id desc limit $2",
        user.0,
        TOKENS_PER_USER_MAX,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(ApiToken {
                id: ApiTokenId(row.id),
                name: row.name,
                scopes: scopes_of(&row.scopes)?,
                expires_at: row.expires_at,
                last_used_at: row.last_used_at,
                created_at: row.created_at,
            })
        })
        .collect()
}

/// The name of the one that was deleted.
pub(super) async fn delete(
    tx: &mut PgConnection,
    user: UserId,
    id: ApiTokenId,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "delete from api_tokens where id = $1 and user_id = $2 returning name",
        id.0,
        user.0,
    )
    .fetch_optional(tx)
    .await
}

pub(in crate::identity) async fn delete_all(
    tx: &mut PgConnection,
    user: UserId,
) -> sqlx::Result<()> {
    sqlx::query!("delete from api_tokens where user_id = $1", user.0)
        .execute(tx)
        .await?;
    Ok(())
}

fn scopes_of(texts: &[String]) -> sqlx::Result<Vec<Scope>> {
    texts.iter().map(|it| Scope::of_row(it)).collect()
}
