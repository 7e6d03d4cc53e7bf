//! The database of a command: the one of `DATABASE_URL`, or the private one.
use std::time::Duration;

use anyhow::{Context as _, bail};
use sqlx::{migrate::MigrateError, postgres::PgConnectOptions};
use tokio::time::Instant;

use super::{console::Step, lock::DataLock};
use crate::{
    config::Config,
    db::{self, Cluster, ClusterSettings, Db},
    kernel::{Kind, Secret},
};

/// A database server that starts beside us is given this long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const ANSWER_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Database {
    pub db: Db,
    /// Stopped in the end; `None` when it is not ours to stop.
    cluster: Option<Cluster>,
    /// The data folder's, when this is not for `openflow up`.
    _lock: Option<DataLock>,
}

impl Database {
    /// For `openflow up`, whose lock on the data folder is `_lock`.
    pub(super) async fn open(config: &Config, _lock: &DataLock) -> anyhow::Result<Self> {
        match &config.database.url {
            Some(url) => Self::connect(url).await,
            None => Self::start(config, None).await,
        }
    }

    /// For a command that may run beside `openflow up`: then its server is
    /// used and left running.
    pub(super) async fn open_beside(config: &Config) -> anyhow::Result<Self> {
        if let Some(url) = &config.database.url {
            return Self::connect(url).await;
        }
        match DataLock::try_take(&config.data)? {
            Ok(lock) => Self::start(config, Some(lock)).await,
            Err(holder) => {
                let Some(options) = Cluster::running(&config.data.postgres()) else {
                    bail!(
                        "another openflow ({holder}) is starting or stopping the database. Try again."
                    );
                };
                Ok(Self {
                    db: Db::connect(options),
                    cluster: None,
                    _lock: None,
                })
            }
        }
    }

    pub(super) async fn connect(url: &Secret) -> anyhow::Result<Self> {
        let options: PgConnectOptions =
            url.expose().parse().context("DATABASE_URL is not valid")?;
        let database = Self {
            db: Db::connect(options),
            cluster: None,
            _lock: None,
        };
        database.wait_for_answer().await?;
        Ok(database)
    }

    async fn start(config: &Config, lock: Option<DataLock>) -> anyhow::Result<Self> {
        let _step = Step::begin("Starting PostgreSQL");
        let settings = ClusterSettings {
            folder: config.data.postgres(),
            bin_dir: config.database.pg_bin_dir.clone(),
            user: config.database.pg_user.clone(),
        };
        let cluster = Cluster::start(&settings).await?;
        Ok(Self {
            db: Db::connect(cluster.options()),
            cluster: Some(cluster),
            _lock: lock,
        })
    }

    async fn wait_for_answer(&self) -> anyhow::Result<()> {
        let _step = Step::begin("Waiting for the database of DATABASE_URL");
        let start = Instant::now();
        loop {
            match self.db.ping().await {
                Ok(()) => return Ok(()),
                Err(error) if db::kind(&error) != Kind::Unavailable => {
                    return Err(error).context("the database of DATABASE_URL refused us");
                }
                Err(error) if ANSWER_TIMEOUT < start.elapsed() => {
                    return Err(error)
                        .context("the database of DATABASE_URL does not answer. Does it run?");
                }
                Err(_) => tokio::time::sleep(ANSWER_PAUSE).await,
            }
        }
    }

    pub(super) async fn migrate(&self) -> anyhow::Result<()> {
        let _step = Step::begin("Migrating the database");
        match self.db.migrate().await {
            Ok(()) => Ok(()),
            Err(MigrateError::VersionMissing(version)) => bail!(
                "the database is from a newer Openflow (it has migration {version}, which this one does not know). Use that version or a later one."
            ),
            Err(MigrateError::VersionMismatch(version)) => bail!(
                "migration {version} of the database differs from this Openflow's. Use an unmodified release."
            ),
            Err(error) => Err(error).context("cannot migrate the database"),
        }
    }

    pub(super) async fn close(self) {
        self.db.close().await;
        if let Some(cluster) = self.cluster {
            let _step = Step::begin("Stopping PostgreSQL");
            cluster.stop().await;
        }
    }
}
