use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// Waits until no other transaction is about to make the first user.
pub(super) async fn lock(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!(
        r#"select 1 as "one!" from pg_advisory_xact_lock(hashtextextended('openflow.first_user', 0))"#
    )
    .fetch_one(tx)
    .await?;
    Ok(())
}

pub(super) async fn set_token(
    tx: &mut PgConnection,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into setup_token (token_hash, created_at) values ($1, $2)
         on conflict (only_row) do update set token_hash = excluded.token_hash, created_at = excluded.created_at",
        token_hash,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn is_token(conn: &mut PgConnection, token_hash: &[u8]) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select 1 from setup_token where token_hash = $1) as "is!""#,
        token_hash,
    )
    .fetch_one(conn)
    .await
}

/// Uses the token up; false when it is not the token, or was used. One
/// statement, so that of any number at once one alone gets true.
pub(super) async fn take_token(tx: &mut PgConnection, token_hash: &[u8]) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        "delete from setup_token where token_hash = $1 and not exists (select 1 from users)",
        token_hash,
    )
    .execute(tx)
    .await?;
    Ok(result.rows_affected() == 1)
}

pub(super) async fn drop_token(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("delete from setup_token").execute(tx).await?;
    Ok(())
}
