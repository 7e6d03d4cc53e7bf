//! The private PostgreSQL cluster under `data/postgres/`: the machine's own
//! server, run for us alone and reached through a private socket.
//!
//! Invariant: what is not an Openflow cluster is never written to, and a
//! cluster is never made anew once it exists.
//! Invariant: the server outlives a killed Openflow and is taken over by the
//! next one.
mod binaries;
mod error;
mod files;
mod folder;
mod init;
mod log;
mod owner;
mod program;
mod server;
mod socket;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Connection as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use binaries::Binaries;
pub use error::ClusterError;

use files::{DATABASE, ROLE, SUPERUSER};
use folder::{Folder, Found};
use log::Log;
use owner::Owner;
use server::{Launch, Server};

const LOG_CHECK_PERIOD: Duration = Duration::from_secs(60);
const RESTART_PAUSE: Duration = Duration::from_secs(2);

/// Where the cluster is and what runs it.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// `data/postgres`.
    pub folder: PathBuf,
    /// The only place to look for the server's programs; all usual ones if
    /// absent.
    pub bin_dir: Option<PathBuf>,
    /// The user that runs the server when we are root.
    pub user: Option<String>,
}

/// The running cluster. Dropped without [`Cluster::stop`], it goes on running.
pub struct Cluster {
    socket_folder: PathBuf,
    stop: CancellationToken,
    keeper: JoinHandle<()>,
}

impl Cluster {
    /// Finds it running, or starts it; makes it first when there is none. The
    /// server is started again whenever it ends by itself. The caller holds
    /// the data folder's lock.
    pub async fn start(settings: &ClusterSettings) -> Result<Self, ClusterError> {
        let folder = Folder::open(&settings.folder)?;
        let found = folder.look()?;
        let owner = Owner::decide(
            match &found {
                Found::Cluster { owner, .. } => Some(*owner),
                Found::Nothing => None,
            },
            settings.user.as_deref(),
            &folder.cluster,
        )?;
        let only = settings.bin_dir.as_deref();
        let binaries = match &found {
            Found::Cluster { version, .. } => {
                Binaries::of_major(version, only, &folder.cluster).await?
            }
            Found::Nothing => {
                let binaries = Binaries::newest(only).await?;
                init::make(&folder, &binaries, &owner).await?;
                binaries
            }
        };
        let mut launch = Launch {
            socket_folder: socket::folder(&folder.root, &owner)?,
            log: Log::new(&folder.log),
            folder,
            binaries,
            owner,
        };
        let server = take_over_or_run(&mut launch).await?;
        ensure_database(&launch.socket_folder).await?;
        let stop = CancellationToken::new();
        Ok(Self {
            socket_folder: launch.socket_folder.clone(),
            keeper: tokio::spawn(keep(server, launch, stop.clone())),
            stop,
        })
    }

    /// How to reach the cluster of that folder if it runs, without starting or
    /// keeping it: for commands beside a running `openflow up`.
    pub fn running(folder: &Path) -> Option<PgConnectOptions> {
        let survivor = server::survivor(&folder.join("cluster"))?;
        survivor
            .is_ready
            .then(|| options(&survivor.socket_folder, ROLE, DATABASE))
    }

    /// Connects as the owner of the database `openflow`, who is no superuser.
    pub fn options(&self) -> PgConnectOptions {
        options(&self.socket_folder, ROLE, DATABASE)
    }

    /// The folder with the server's socket, for `psql -h`.
    pub fn socket_folder(&self) -> &Path {
        &self.socket_folder
    }

    /// Stops the server: fast, within a bounded time.
    pub async fn stop(self) {
        self.stop.cancel();
        if self.keeper.await.is_err() {
            tracing::error!("the keeper of PostgreSQL panicked; the server may still run");
        }
    }
}

async fn take_over_or_run(launch: &mut Launch) -> Result<Server, ClusterError> {
    if let Some(survivor) = server::survivor(&launch.folder.cluster)
        && let Some(server) = Server::adopt(survivor.pid, &launch.folder.cluster).await
    {
        tracing::info!(
            "PostgreSQL was left running (pid {}) and is taken over",
            server.pid()
        );
        launch.socket_folder = survivor.socket_folder;
        return Ok(server);
    }
    launch.run().await
}

/// Starts the server again when it ends, keeps its log short, and stops it in
/// the end.
async fn keep(mut server: Server, launch: Launch, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return server.stop().await,
            () = tokio::time::sleep(LOG_CHECK_PERIOD) => {
                if let Err(error) = launch.log.rotate_when_full() {
                    tracing::warn!(%error, "cannot rotate PostgreSQL's log: {error}");
                }
            }
            () = server.ended() => {
                tracing::error!("PostgreSQL (pid {}) ended by itself; starting it again", server.pid());
                match run_again(&launch, &stop).await {
                    Some(again) => server = again,
                    None => return,
                }
            }
        }
    }
}

/// Tries until it succeeds; `None` when told to stop.
async fn run_again(launch: &Launch, stop: &CancellationToken) -> Option<Server> {
    while !stop.is_cancelled() {
        match launch.run().await {
            Ok(server) => return Some(server),
            Err(error) => tracing::error!(%error, "cannot start PostgreSQL again: {error}"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(RESTART_PAUSE) => {}
        }
    }
    None
}

fn options(socket_folder: &Path, role: &str, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(socket_folder)
        .port(5432)
        .ssl_mode(PgSslMode::Disable)
        .username(role)
        .database(database)
}

/// The role that the manager works as, and its database. `createrole` is for
/// the migration that makes `openflow_user`.
async fn ensure_database(socket_folder: &Path) -> Result<(), ClusterError> {
    let mut conn =
        PgConnection::connect_with(&options(socket_folder, SUPERUSER, "postgres")).await?;
    if !exists(&mut conn, "select 1 from pg_roles where rolname = $1", ROLE).await? {
        sqlx::query("create role openflow login createrole")
            .execute(&mut conn)
            .await?;
    }
    let find_database = "select 1 from pg_database where datname = $1";
    if !exists(&mut conn, find_database, DATABASE).await? {
        sqlx::query("create database openflow owner openflow")
            .execute(&mut conn)
            .await?;
    }
    conn.close().await?;
    Ok(())
}

async fn exists(
    conn: &mut PgConnection,
    query: &'static str,
    name: &str,
) -> Result<bool, sqlx::Error> {
    let row = sqlx::query(query).bind(name).fetch_optional(conn).await?;
    Ok(row.is_some())
}
