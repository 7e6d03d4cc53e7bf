//! Runs PostgreSQL's programs as the user that owns the cluster.
use std::{
    fs::File,
    io,
    os::fd::AsRawFd as _,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use tokio::process::{Child, Command};

use super::{Binaries, ClusterError, owner::Owner};

/// A program with a folder of the cluster. The folder is handed over as an
/// open handle and named `/proc/self/fd/N`: the server's user need not be able
/// to pass the folders above it, so that a checkout in a home of mode 0700
/// works and stays closed.
pub(super) struct Program {
    command: Command,
    folder: File,
}

impl Program {
    pub(super) fn new(
        binaries: &Binaries,
        name: &str,
        folder: &Path,
        owner: &Owner,
    ) -> io::Result<Self> {
        let folder = File::open(folder)?;
        let mut command = Command::new(binaries.dir.join(name));
        command
            .arg("-D")
            .arg(format!("/proc/self/fd/{}", folder.as_raw_fd()))
            // PGPORT, PGDATA and the like are not meant for this server.
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::null())
            // Ctrl-C in the terminal is for us; we stop the server in turn.
            .process_group(0);
        if owner.is_other {
            command.uid(owner.uid).gid(owner.gid);
        }
        Ok(Self { command, folder })
    }

    pub(super) fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.command.args(args);
        self
    }

    /// Starts it with its output in `log`; it outlives us.
    pub(super) fn spawn(mut self, log: File) -> io::Result<Child> {
        self.command.stdout(log.try_clone()?).stderr(log);
        self.inherit_folder()?;
        self.command.spawn()
    }

    /// Runs it to its end.
    pub(super) async fn run(
        mut self,
        name: &'static str,
        timeout: Duration,
    ) -> Result<(), ClusterError> {
        let failed = |how: String, output: String| ClusterError::Failed {
            program: name,
            how,
            output,
        };
        self.inherit_folder()
            .map_err(|it| failed(it.to_string(), String::new()))?;
        let output = self.command.kill_on_drop(true).output();
        match tokio::time::timeout(timeout, output).await {
            Ok(Ok(Output { status, .. })) if status.success() => Ok(()),
            Ok(Ok(output)) => Err(failed(
                output.status.to_string(),
                format!(" It said:\n  {}", words_of(&output).replace('\n', "\n  ")),
            )),
            Ok(Err(error)) => Err(failed(error.to_string(), String::new())),
            Err(_) => Err(failed(
                format!("not done after {} s", timeout.as_secs()),
                String::new(),
            )),
        }
    }

    /// Rust closes every handle on exec; this one is to stay open. Another
    /// child that is started at this very moment may get it too, without harm.
    fn inherit_folder(&self) -> io::Result<()> {
        fcntl(&self.folder, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(())
    }
}

fn words_of(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text.trim_end().to_owned()
}
