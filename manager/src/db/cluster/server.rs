//! One running server process: started by us or found running.
use std::{path::Path, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::Child,
    time::{Instant, sleep},
};

use super::{
    Binaries, ClusterError,
    error::cannot,
    files,
    folder::{Folder, PidFile, is_alive, processes_in},
    log::Log,
    owner::Owner,
    program::Program,
};

/// Long enough to replay the log after a crash.
const READY_TIMEOUT: Duration = Duration::from_secs(300);
const FAST_STOP_TIMEOUT: Duration = Duration::from_secs(30);
const IMMEDIATE_STOP_TIMEOUT: Duration = Duration::from_secs(15);
const STRAYS_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
const POLL_SLOW: Duration = Duration::from_millis(500);

pub(super) struct Server {
    pid: i32,
    /// `None` when an earlier Openflow started it.
    child: Option<Child>,
}

/// All that is needed to start the server, again if need be.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub folder: Folder,
    pub binaries: Binaries,
    pub owner: Owner,
    pub socket_folder: std::path::PathBuf,
    pub log: Log,
}

/// The server that an earlier Openflow left running in `cluster`.
pub(super) fn survivor(cluster: &Path) -> Option<PidFile> {
    let file = PidFile::read(cluster)?;
    (is_alive(file.pid) && processes_in(cluster).contains(&file.pid)).then_some(file)
}

impl Launch {
    /// Starts the server and waits until it takes connections.
    pub(super) async fn run(&self) -> Result<Server, ClusterError> {
        let cluster = &self.folder.cluster;
        end_strays(cluster).await?;
        self.forget_stranger()?;
        files::write(cluster, &self.owner)?;
        let log_start = self.log.end();
        let log = self
            .log
            .append()
            .map_err(cannot("write", &self.folder.log))?;
        let arguments = files::arguments(&self.socket_folder);
        let child = Program::new(&self.binaries, "postgres", cluster, &self.owner)
            .map_err(cannot("open", cluster))?
            .args(arguments.iter().map(String::as_str))
            .spawn(log)
            .map_err(cannot("run", self.binaries.dir.join("postgres")))?;
        let pid = child.id().and_then(|it| i32::try_from(it).ok());
        let mut server = Server {
            pid: pid.unwrap_or_default(),
            child: Some(child),
        };
        match server.ready(cluster).await {
            Ok(()) => Ok(server),
            Err(how) => {
                server.stop().await;
                Err(ClusterError::Failed {
                    program: "postgres",
                    how,
                    output: self.log.tail(log_start),
                })
            }
        }
    }

    /// A pid file whose number now belongs to another process (after a reboot)
    /// would keep the server from starting. Nobody works in the folder: the
    /// caller holds its lock and has ended the strays.
    fn forget_stranger(&self) -> Result<(), ClusterError> {
        let cluster = &self.folder.cluster;
        let is_stale = PidFile::read(cluster).is_some_and(|it| is_alive(it.pid));
        if is_stale && processes_in(cluster).is_empty() {
            let path = cluster.join("postmaster.pid");
            std::fs::remove_file(&path).map_err(cannot("remove", path))?;
        }
        Ok(())
    }
}

impl Server {
    /// Takes a survivor over, once it is ready; `None` when it ended meanwhile.
    pub(super) async fn adopt(pid: i32, cluster: &Path) -> Option<Self> {
        let mut server = Self { pid, child: None };
        match server.ready(cluster).await {
            Ok(()) => Some(server),
            Err(how) => {
                tracing::warn!("the running PostgreSQL (pid {pid}) is of no use: {how}");
                server.stop().await;
                None
            }
        }
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    async fn ready(&mut self, cluster: &Path) -> Result<(), String> {
        let start = Instant::now();
        let mut told_seconds = 0;
        while start.elapsed() < READY_TIMEOUT {
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                return Err(status.to_string());
            }
            if !is_alive(self.pid) {
                return Err("it ended".to_owned());
            }
            if PidFile::read(cluster).is_some_and(|it| it.pid == self.pid && it.is_ready) {
                return Ok(());
            }
            let seconds = start.elapsed().as_secs();
            if told_seconds + 10 <= seconds {
                told_seconds = seconds;
                tracing::info!("PostgreSQL is not ready after {seconds} s; it may be recovering");
            }
            sleep(POLL).await;
        }
        Err(format!("not ready after {} s", READY_TIMEOUT.as_secs()))
    }

    /// Until the process has ended by itself.
    pub(super) async fn ended(&mut self) {
        match &mut self.child {
            Some(child) => _ = child.wait().await,
            None => {
                while is_alive(self.pid) {
                    sleep(POLL_SLOW).await;
                }
            }
        }
    }

    /// Fast shutdown: sessions are cut, everything is written. If that takes
    /// too long, immediate shutdown: the next start recovers from the log.
    pub(super) async fn stop(&mut self) {
        for (signal, timeout) in [
            (Signal::SIGINT, FAST_STOP_TIMEOUT),
            (Signal::SIGQUIT, IMMEDIATE_STOP_TIMEOUT),
            (Signal::SIGKILL, IMMEDIATE_STOP_TIMEOUT),
        ] {
            if !is_alive(self.pid) {
                break;
            }
            let _ = kill(Pid::from_raw(self.pid), signal); // it may have just ended
            if tokio::time::timeout(timeout, self.ended()).await.is_ok() {
                return;
            }
            tracing::warn!(
                "PostgreSQL did not stop {} s after {signal}",
                timeout.as_secs()
            );
        }
    }
}

/// Ends what a killed server or `initdb` left behind in the folder: two of
/// them on the same files would destroy them.
pub(super) async fn end_strays(folder: &Path) -> Result<(), ClusterError> {
    // Children of a dead server notice by themselves, mostly at once.
    for signal in [None, Some(Signal::SIGQUIT), Some(Signal::SIGKILL)] {
        let strays = processes_in(folder);
        if let Some(signal) = signal {
            for pid in &strays {
                let _ = kill(Pid::from_raw(*pid), signal); // it may have just ended
            }
        }
        let start = Instant::now();
        while start.elapsed() < STRAYS_TIMEOUT {
            if processes_in(folder).is_empty() {
                return Ok(());
            }
            sleep(POLL_SLOW).await;
        }
    }
    let pids = processes_in(folder);
    let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
    Err(ClusterError::StillInUse {
        folder: folder.to_owned(),
        pids: pids.join(", "),
    })
}
