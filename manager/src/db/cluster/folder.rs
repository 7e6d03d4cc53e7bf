//! What lies in `data/postgres/` and who uses it.
use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use super::{ClusterError, error::cannot};

/// Layout of the folder:
///
/// - `cluster/` PostgreSQL's own data directory
/// - `cluster.unfinished/` one that `initdb` has not finished; never holds data
/// - `postgres.log`, `postgres.log.1` what the server says
/// - `run/` the socket, when the path is short enough
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub root: PathBuf,
    pub cluster: PathBuf,
    pub unfinished: PathBuf,
    pub log: PathBuf,
}

const OURS: [&str; 5] = [
    "cluster",
    "cluster.unfinished",
    "postgres.log",
    "postgres.log.1",
    "run",
];

/// What is to be done with a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// A cluster; the text of its `PG_VERSION`, its owner and group.
    Cluster {
        version: String,
        owner: (u32, u32),
    },
}

impl Folder {
    /// Makes the folder, private to us, when it is absent.
    pub(super) fn open(root: &Path) -> Result<Self, ClusterError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(root).map_err(cannot("make", root))?;
        let root = root.canonicalize().map_err(cannot("open", root))?;
        Ok(Self {
            cluster: root.join("cluster"),
            unfinished: root.join("cluster.unfinished"),
            log: root.join("postgres.log"),
            root,
        })
    }

    /// Looks without touching. Whatever is not plainly a cluster of ours or an
    /// empty place is refused.
    pub(super) fn look(&self) -> Result<Found, ClusterError> {
        let foreign = |folder: &Path, why: String| ClusterError::Foreign {
            folder: folder.to_owned(),
            why,
        };
        for name in names_in(&self.root)? {
            if !OURS.contains(&name.as_str()) {
                return Err(foreign(&self.root, format!("it holds {name}")));
            }
        }
        if !self.cluster.exists() || names_in(&self.cluster)?.is_empty() {
            return Ok(Found::Nothing);
        }
        let file = self.cluster.join("PG_VERSION");
        let version = match fs::read_to_string(&file) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(foreign(
                    &self.cluster,
                    "there is no PG_VERSION in it".to_owned(),
                ));
            }
            // Also when it belongs to somebody else: its owner is told below.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => String::new(),
            Err(error) => return Err(cannot("read", file)(error)),
        };
        let owner = fs::metadata(&self.cluster).map_err(cannot("read", &self.cluster))?;
        Ok(Found::Cluster {
            version,
            owner: (owner.uid(), owner.gid()),
        })
    }
}

fn names_in(folder: &Path) -> Result<Vec<String>, ClusterError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // Another owner's cluster is not empty.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(vec!["?".to_owned()]);
        }
        Err(error) => return Err(cannot("read", folder)(error)),
    };
    entries
        .map(|it| it.map(|it| it.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()
        .map_err(cannot("read", folder))
}

/// Makes `rename` of an entry of the folder survive a power cut.
pub(super) fn sync(folder: &Path) -> Result<(), ClusterError> {
    File::open(folder)
        .and_then(|it| it.sync_all())
        .map_err(cannot("sync", folder))
}

/// PostgreSQL processes (the server, its children, `initdb`) that work in the
/// folder, whoever started them. A pid file may lie; an open folder does not.
pub(super) fn processes_in(folder: &Path) -> Vec<i32> {
    let Ok(wanted) = fs::metadata(folder) else {
        return Vec::new();
    };
    let wanted = (wanted.dev(), wanted.ino());
    let is_wanted =
        |path: PathBuf| fs::metadata(path).is_ok_and(|it| (it.dev(), it.ino()) == wanted);
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let proc = PathBuf::from(format!("/proc/{pid}"));
            let comm = fs::read_to_string(proc.join("comm")).unwrap_or_default();
            if !["postgres", "initdb"].contains(&comm.trim_end()) {
                return false;
            }
            let handles = fs::read_dir(proc.join("fd"))
                .into_iter()
                .flatten()
                .flatten();
            is_wanted(proc.join("cwd")) || handles.map(|it| it.path()).any(is_wanted)
        })
        .collect()
}

/// Whether the process exists and is not merely waiting to be reaped.
pub(super) fn is_alive(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state follows the name, which is in parentheses and may hold any.
    let state = stat.rsplit(") ").next().and_then(|it| it.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// `postmaster.pid`, as the server writes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PidFile {
    pub pid: i32,
    pub socket_folder: PathBuf,
    /// It takes connections.
    pub is_ready: bool,
}

impl PidFile {
    /// `None` when there is none, or it is not complete yet.
    pub(super) fn read(cluster: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(cluster.join("postmaster.pid")).ok()?)
    }

    /// Lines: pid, data directory, start time, port, socket folder, listen
    /// address, shared memory key, status.
    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().collect();
        Some(Self {
            pid: lines.first()?.trim().parse().ok()?,
            socket_folder: PathBuf::from(lines.get(4)?),
            is_ready: lines.get(7).is_some_and(|it| it.trim() == "ready"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_ready_only_when_it_says_so() {
        let text =
            "584\n/proc/self/fd/3\n1795219211\n5432\n/run/x\n\n 10125423        24\nready   \n";
        let expected = PidFile {
            pid: 584,
            socket_folder: "/run/x".into(),
            is_ready: true,
        };
        assert_eq!(PidFile::parse(text), Some(expected));
        let starting = PidFile::parse(&text.replace("ready", "starting"));
        assert!(starting.is_some_and(|it| !it.is_ready));
        assert_eq!(PidFile::parse("584\n"), None);
        assert_eq!(PidFile::parse(""), None);
    }

    #[test]
    fn we_are_alive_and_pid_zero_is_not() {
        assert!(is_alive(i32::try_from(std::process::id()).unwrap()));
        assert!(!is_alive(0));
    }
}
