use sqlx::{Connection as _, PgConnection};

use super::Db;

/// "One at a time in the cluster": a session advisory lock on a connection of
/// its own. The lock falls with the connection, so a killed holder frees it.
pub struct Lease {
    conn: PgConnection,
}

impl Lease {
    /// Takes the lease of that name; `None` when another process has it.
    pub async fn try_take(db: &Db, name: &str) -> sqlx::Result<Option<Self>> {
        let mut conn = db.detached().await?;
        let taken = sqlx::query_scalar!(
            r#"select pg_try_advisory_lock(hashtextextended($1, 0)) as "taken!""#,
            name
        )
        .fetch_one(&mut conn)
        .await?;
        if taken {
            return Ok(Some(Self { conn }));
        }
        conn.close().await?;
        Ok(None)
    }

    /// Fails when the lease was lost with its connection.
    pub async fn check(&mut self) -> sqlx::Result<()> {
        self.conn.ping().await
    }

    pub async fn give_back(self) {
        // The lock falls with the connection, closed properly or not.
        let _ = self.conn.close().await;
    }
}
