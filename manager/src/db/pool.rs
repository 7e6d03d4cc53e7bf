use std::time::Duration;

use sqlx::{
    PgConnection, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::MIGRATOR;
use crate::kernel::{Actor, UserActor};

/// A transaction; dropped without commit, it is rolled back.
pub type Tx = Transaction<'static, Postgres>;

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
const STATEMENT_TIMEOUT_MS: &str = "30000";
const CONNECTIONS_MAX: u32 = 20;

/// The database. There is no way to the pool but through a transaction that
/// says for whom it is.
#[derive(Clone, Debug)]
pub struct Db {
    pool: PgPool,
}

impl Db {
    /// Connects lazily: a database that is away is an error of each request,
    /// not of the start.
    pub fn connect(options: PgConnectOptions) -> Self {
        let options = options.application_name("openflow").options([
            ("statement_timeout", STATEMENT_TIMEOUT_MS),
            ("idle_in_transaction_session_timeout", STATEMENT_TIMEOUT_MS),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options);
        Self { pool }
    }

    /// For tests, which get their pool from `#[sqlx::test]`.
    pub fn from_pool(pool: PgPool) -> Self {
        Self { pool }
    }

    pub async fn migrate(&self) -> Result<(), sqlx::migrate::MigrateError> {
        MIGRATOR.run(&self.pool).await
    }

    /// As [`Db::migrate`], but no further than to `version`.
    pub async fn migrate_to(&self, version: i64) -> Result<(), sqlx::migrate::MigrateError> {
        MIGRATOR.run_to(version, &self.pool).await
    }

    /// The newest migration that was applied; `None` for an empty database.
    pub async fn schema_version(&self) -> sqlx::Result<Option<i64>> {
        let listed: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
            .fetch_one(&self.pool)
            .await?;
        if !listed {
            return Ok(None);
        }
        sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
            .fetch_one(&self.pool)
            .await
    }

    /// A transaction that sees and changes only what `actor` may: row-level
    /// security is the second lock behind the service's own check.
    pub async fn begin_as(&self, actor: &Actor) -> sqlx::Result<Tx> {
        match actor {
            Actor::User(user) => self.begin_as_user(user).await,
            Actor::Setup { .. } | Actor::System(_) => self.begin_system().await,
        }
    }

    async fn begin_as_user(&self, user: &UserActor) -> sqlx::Result<Tx> {
        let mut tx = self.pool.begin().await?;
        sqlx::query!(
            r#"select set_config('role', 'openflow_user', true) as "role",
                      set_config('openflow.user_id', $1, true) as "user_id",
                      set_config('openflow.is_admin', $2, true) as "is_admin""#,
            user.id.to_string(),
            user.is_admin.to_string(),
        )
        .fetch_one(&mut *tx)
        .await?;
        Ok(tx)
    }

    /// A transaction of the system itself: background work, signing in, and
    /// what the proxy and the broker ask.
    pub async fn begin_system(&self) -> sqlx::Result<Tx> {
        self.pool.begin().await
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> sqlx::Result<()> {
        sqlx::query!("select 1 as one")
            .fetch_one(&self.pool)
            .await?;
        Ok(())
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A connection of its own, out of the pool for good: for session locks.
    pub(super) async fn detached(&self) -> sqlx::Result<PgConnection> {
        Ok(self.pool.acquire().await?.detach())
    }
}
