//! Holds the manager at a statement of its choice, so that a test can look
//! around, or do something, just before it.
use sqlx::{PgPool, Postgres, Transaction};

use super::instances::eventually;

const LOCK: i64 = 7_007;

/// Until it is released, no statement of that kind gets through.
pub(crate) struct Hold {
    pool: PgPool,
    lock: Transaction<'static, Postgres>,
}

impl Hold {
    /// `at` is as a trigger says it: `insert on snapshots`.
    pub(crate) async fn at(pool: &PgPool, at: &str) -> Self {
        let mut lock = pool.begin().await.unwrap();
        sqlx::query("select pg_advisory_xact_lock($1)")
            .bind(LOCK)
            .execute(&mut *lock)
            .await
            .unwrap();
        for statement in [
            format!(
                "create or replace function test_hold() returns trigger language plpgsql as
                 $$ begin perform pg_advisory_xact_lock({LOCK}); return null; end $$"
            ),
            format!(
                "create trigger test_hold before {at} for each statement execute function test_hold()"
            ),
        ] {
            let statement = sqlx::AssertSqlSafe(statement);
            sqlx::query(statement).execute(pool).await.unwrap();
        }
        let pool = pool.clone();
        Self { pool, lock }
    }

    /// Until somebody is held.
    pub(crate) async fn reached(&self) {
        eventually("the held statement is reached", async || {
            let held: bool = sqlx::query_scalar(
                "select exists (select 1 from pg_locks where locktype = 'advisory' and not granted and objid::bigint = $1
                   and database = (select oid from pg_database where datname = current_database()))",
            )
            .bind(LOCK)
            .fetch_one(&self.pool)
            .await
            .unwrap();
            held.then_some(())
        })
        .await;
    }

    pub(crate) async fn release(self) {
        self.lock.commit().await.unwrap();
    }
}
